"""The tables of a study, made of the runs that are complete."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.study.plan import Layout, Study, rate_of, workdir
from benchmarks.study.robustness import CHANGES
from genesis_jax.compare import __main__ as compare
from genesis_jax.compare.statistics import spread
from genesis_jax.compare.writers import percent, spread_text, table_lines
from genesis_jax.runs.files import write_atomically

_SHARE = 0.95  # of the final Dice, whose step tells how fast a start learns


def write(study: Study, out: Path) -> str:
    """Writes the tables below `out/tables`; returns what was written, in words."""
    return '\n'.join(
        line
        for layout in study.layouts
        for target in layout.targets
        for line in LAYOUTS[layout.kind](study, layout, target, out)
    )


def _labels(study, layout, target, out):
    """All starts over the shares of the labels."""
    runs = list(_complete(study, layout, target, out))
    if not runs:
        yield f'{target}: no run is complete'
        return
    names = ','.join(start for start, _, _ in runs)
    table = out / 'tables' / (target if layout.kind == 'labels' else f'{target}_{layout.kind}')
    folders = (str(folder) for _, _, folder in runs)
    compare.main([*folders, f'--names={names}', f'--out={table}', '--overwrite'])
    for start in layout.starts:
        if rate := rate_of(study, out, target, start):
            yield f'{target} from {start}: learning rate {rate:g}, chosen on validation patients'
    yield f'{target}: {table / "comparison.md"}'


def _speed(study, layout, target, out):
    """The step at which the validation Dice comes within 5 % of its last value."""
    rows = []
    for start, fraction, folder in _complete(study, layout, target, out):
        steps = [steps_to_share(file) for file in sorted(folder.glob('seed_*/metrics.jsonl'))]
        rows.append([start, percent(fraction), spread_text(*spread(np.array(steps, float)))])
    head = ['start', 'labels', f'steps to {100 * _SHARE:g} % of the final Dice']
    return _write(out / 'tables' / f'{target}_speed.md', head, rows)


def steps_to_share(file: Path) -> int:
    """The first validated step of a `metrics.jsonl` with this share of the last validation Dice."""
    rows = map(json.loads, file.read_text('utf-8').splitlines())
    curve = [(row['step'], row['validation/dice']) for row in rows if 'validation/dice' in row]
    return next(step for step, dice in curve if dice >= _SHARE * curve[-1][1])


def _robustness(study, layout, target, out):
    """Dice under changes of intensity, and what is lost of it."""
    file = out / 'robustness' / f'{target}.csv'
    if not file.exists():
        yield f'{target}: {file} is not there yet'
        return
    dice = defaultdict(lambda: defaultdict(list))
    for row in csv.DictReader(file.read_text('utf-8').splitlines()):
        dice[row['workdir']][row['change']].append(float(row['dice']))
    rows = []
    for _, start, fraction in study.runs_of(layout):
        of_start = dice[workdir(out, target, start, fraction).name]
        cells = [spread_text(*spread(100 * np.array(of_start[change]))) for change in CHANGES]
        rows.append([start, percent(fraction), *cells])
    yield from _write(
        out / 'tables' / f'{target}_robustness.md', ['start', 'labels', *CHANGES], rows
    )


def _complete(
    study: Study, layout: Layout, target: str, out: Path
) -> Iterator[tuple[str, float, Path]]:
    """Start, share of the labels and workdir of the runs of a target that are complete."""
    for name, start, fraction in study.runs_of(layout):
        folder = workdir(out, target, start, fraction)
        if name == target and (folder / 'results.csv').exists():
            yield start, fraction, folder


def _write(file, head, rows):
    write_atomically(file, '\n'.join(table_lines(head, rows)))
    yield f'{file.stem}: {file}'


LAYOUTS = {'labels': _labels, 'probe': _labels, 'speed': _speed, 'robustness': _robustness}
