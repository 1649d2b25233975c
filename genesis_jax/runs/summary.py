"""All runs of a fine-tuning in one table. A run is a seed; with folds, its mean over them."""

import math
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from genesis_jax.config import config_hash
from genesis_jax.runs import results
from genesis_jax.runs.files import write_atomically, write_table
from genesis_jax.runs.workdir import RESULTS, common_config, describe


def summarise(workdir: Path, config: ConfigDict) -> None:
    """Writes and prints the mean and standard deviation over all complete runs of a workdir."""
    ended = [results.read(file.parent) for file in workdir.glob(f'seed_*/{RESULTS}')]
    complete_runs = [result for result in ended if result is not None]
    complete_runs.sort(key=lambda r: (r['seed'], r['fold'] or 0))
    rows = [{'seed': r['seed'], 'fold': r['fold'], **r['metrics']} for r in complete_runs]
    write_table(workdir / 'results.csv', rows)
    config = common_config(config)
    about = describe(config)
    table = _table(complete_runs, config.task)
    lines = [
        f'# {config.data.name}: {config.task}, from {config.init}',
        '',
        *table,
        '',
        *results.origin(complete_runs),
        f'- runs: {", ".join(_name(r) for r in complete_runs)}',
        f'- {about["devices"]} x {about["device"]}, config {config_hash(config)}',
        '- each run: `results.csv`; compare: `python -m genesis_jax.compare` with the workdirs',
    ]
    write_atomically(workdir / 'report.md', '\n'.join(lines) + '\n')
    print('\n'.join(table))
    print(f'report: {workdir / "report.md"}')


def _table(complete_runs, task):
    seeds = {}
    for result in complete_runs:
        seeds.setdefault(result['seed'], []).append(result)
    folds = max(map(len, seeds.values()))
    # Folds differ in difficulty: the mean over some of them is another number.
    runs = [members for members in seeds.values() if len(members) == folds]
    counts = _counts([member for members in runs for member in members])
    head = [_heading(len(runs), folds), 'mean', 'sd']
    if folds > 1:
        head[2:] = ['sd over runs', 'sd over folds']
    head += ['counted'] * bool(counts)
    lines = [f'| {" | ".join(head)} |', '|' + ' --- |' * len(head)]
    for name in results.ordered(complete_runs[0]['metrics'], task):
        # [runs, folds]
        values = np.array([[r['metrics'].get(name) for r in members] for members in runs], float)
        cells = _cells(name, values) + [results.counted(counts.get(name))] * bool(counts)
        lines.append(f'| {" | ".join(cells)} |')
    lines += results.left_out(counts)
    if short := [str(seed) for seed, members in seeds.items() if len(members) < folds]:
        lines += ['', f'Skipped, for they lack folds that others have: seeds {", ".join(short)}.']
    return lines


def _heading(runs, folds):
    many = 's' * (runs != 1)
    return f'{runs} run{many} (seed{many}) x {folds} folds' if folds > 1 else f'{runs} run{many}'


def _cells(name, values):
    """Title, mean, sd over runs and, of several folds, the sd over folds (mean over runs)."""
    means = values.mean(axis=1)
    known = ~np.isnan(means)
    label = results.title(name)
    if 0 < known.sum() < len(known):
        label += f', {known.sum()} of {len(known)} runs'
    cells = [label, _mean(means[known]), _sd(means[known])]
    if values.shape[1] > 1:
        cells.append(_mean(values[known].std(axis=1, ddof=1)))
    return cells


def _mean(values):
    return results.number(values.mean() if values.size else math.nan)


def _sd(values):
    return results.number(values.std(ddof=1) if values.size > 1 else math.nan)


def _counts(runs):
    """On how many rows the means of all runs rest; nothing where a run does not tell."""
    if not all('counted' in result for result in runs):
        return {}
    names = runs[0]['counted']
    return {name: np.sum([r['counted'][name] for r in runs], axis=0).tolist() for name in names}


def _name(result):
    return f'seed {result["seed"]}' + ('' if result['fold'] is None else f' fold {result["fold"]}')
