"""The tables of a study, made of the runs that are complete."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.study.plan import Places, Run, rate_of, runs_of
from benchmarks.study.robustness import CHANGES
from benchmarks.study.spec import Layout, Study
from genesis_jax.compare import __main__ as compare
from genesis_jax.compare.statistics import spread
from genesis_jax.compare.writers import percent, spread_text, table_lines
from genesis_jax.runs.files import write_atomically

_SHARE = 0.95  # of the final Dice, whose step tells how fast a start learns


def write(study: Study, places: Places) -> str:
    """Writes the tables below `out/tables`; returns what was written, in words."""
    lines = []
    for layout in study.layouts:
        planned = runs_of(study, layout, places)
        runs = [run for run in planned if _is_complete(places, run)]
        if len(runs) < len(planned):
            lines.append(f'{layout.kind}: {len(runs)} of {len(planned)} methods are complete')
        lines += LAYOUTS[layout.kind](study, layout, places, runs)
    return '\n'.join(lines)


def _is_complete(places, run):
    return (places.workdir(run) / 'results.csv').exists()


def _by_target(layout, runs):
    """`(target, its runs)`, of those that have some."""
    for target in layout.starts:
        if own := [run for run in runs if run.target == target]:
            yield target, own


def _labels(study: Study, layout: Layout, places: Places, runs: list[Run]):
    """Each target: its starts over the shares of the labels."""
    for target, own in _by_target(layout, runs):
        table = places.out / 'tables' / f'{layout.kind}_{target}'
        first = layout.starts[target][0]
        if not any(run.start == first for run in own):
            yield f'{target}: no run from {first} is complete'
            continue
        _compare(table, places, own, [run.start for run in own], f'--baseline={first}')
        tuned = own if len(study.targets[target].rates) > 1 else []
        for start, run in {run.start: run for run in tuned}.items():
            rate = rate_of(study, places, run)
            yield f'{target} from {start}: learning rate {rate:g}, chosen on validation'
        yield f'{layout.kind}, {target}: {table / "comparison.md"}'


def _papers(study, layout, places, runs):
    """A table of the papers, over all targets."""
    if runs:
        table = places.out / 'tables' / layout.kind
        # In 2D the papers' names are those of what was loaded.
        names = None if layout.kind in ('table4', 'figure2') else [run.start for run in runs]
        _compare(table, places, runs, names, f'--layout={layout.kind}')
        yield f'{layout.kind}: {table / layout.kind}.md'


def _compare(table, places, runs, names, *options):
    named = [f'--names={",".join(names)}'] if names else []
    folders = (str(places.workdir(run)) for run in runs)
    compare.main([*folders, *named, *options, f'--out={table}', '--overwrite'])


def _speed(study, layout, places, runs):
    """The step at which the validation Dice comes within 5 % of its last value."""
    for target, own in _by_target(layout, runs):
        rows = []
        for run in own:
            files = sorted(places.workdir(run).glob('seed_*/metrics.jsonl'))
            steps = np.array([steps_to_share(file) for file in files])
            rows.append([run.start, percent(run.fraction), spread_text(*spread(steps))])
        head = ['start', 'labels', f'steps to {100 * _SHARE:g} % of the final Dice']
        yield _write(places.out / 'tables' / f'speed_{target}.md', head, rows)


def steps_to_share(file: Path) -> float:
    """The first validated step of a `metrics.jsonl` with this share of the last Dice, or NaN."""
    rows = map(json.loads, file.read_text('utf-8').splitlines())
    curve = [(row['step'], row['validation/dice']) for row in rows if 'validation/dice' in row]
    return next((step for step, dice in curve if dice >= _SHARE * curve[-1][1]), float('nan'))


def _robustness(study, layout, places, runs):
    """Dice under changes of intensity."""
    for target, own in _by_target(layout, runs):
        file = places.out / 'robustness' / f'{target}.csv'
        if not file.exists():
            continue
        dice = defaultdict(list)
        for row in csv.DictReader(file.read_text('utf-8').splitlines()):
            dice[row['workdir'], row['change']].append(100 * float(row['dice']))
        rows = []
        for run in own:
            values = (np.array(dice[places.workdir(run).name, change]) for change in CHANGES)
            cells = [spread_text(*spread(value)) for value in values]
            rows.append([run.start, percent(run.fraction), *cells])
        head = ['start', 'labels', *CHANGES]
        yield _write(places.out / 'tables' / f'robustness_{target}.md', head, rows)


def _write(file, head, rows):
    write_atomically(file, '\n'.join(table_lines(head, rows)))
    return f'{file.stem}: {file}'


LAYOUTS = {
    **dict.fromkeys(('labels', 'longer', 'probe'), _labels),
    'speed': _speed,
    'robustness': _robustness,
    **dict.fromkeys(('table2', 'table3', 'table4', 'figure2'), _papers),
}
