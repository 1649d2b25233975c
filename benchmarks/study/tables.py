"""The tables of a study, made of the runs that are complete."""

from pathlib import Path

from benchmarks.study.plan import Study, rate_of, workdir
from genesis_jax.compare import __main__ as compare


def write(study: Study, out: Path) -> str:
    """Writes the tables below `out/tables`; returns what was written, in words."""
    return '\n'.join(
        line for layout in study.layouts for line in LAYOUTS[layout.kind](study, layout, out)
    )


def _labels(study, layout, out):
    """Each target: all starts over the shares of the labels."""
    for target in layout.targets:
        runs = [
            (name, folder)
            for fraction in layout.fractions
            for name in layout.starts
            if (folder := workdir(out, target, name, fraction)).joinpath('results.csv').exists()
        ]
        if not runs:
            yield f'{target}: no run is complete'
            continue
        names, folders = zip(*runs, strict=True)
        table = out / 'tables' / target
        compare.main(
            [*map(str, folders), f'--names={",".join(names)}', f'--out={table}', '--overwrite']
        )
        for name in layout.starts:
            if rate := rate_of(study, out, target, name):
                yield f'{target} from {name}: learning rate {rate:g}, chosen on validation patients'
        yield f'{target}: {table / "comparison.md"}'


LAYOUTS = {'labels': _labels}
