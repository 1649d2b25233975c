"""What is known of fine-tuned networks: tables of their test, their report, the sum of all runs."""

import json
import math

import numpy as np

from genesis_jax.config import config_hash
from genesis_jax.workdir import RESULTS, common_config, write_atomically, write_table
from genesis_jax.workdir import describe as describe_config

_TABLES = {'classification': 'predictions.csv', 'segmentation': 'cases.csv'}
_MAIN = {  # shown first
    'classification': ('auc', 'average_precision', 'accuracy', 'luna16_score'),
    'segmentation': ('dice', 'iou', 'mean_iou_paper', 'hd95', 'surface_dice'),
}


def describe(config, dataset, start, progress, metrics):
    """The results of a run, as JSON."""
    return {
        'task': config.task,
        'dataset': config.data.name,
        'classes': list(dataset.about['classes']),
        'seed': config.seed,
        'fold': config.data.fold,
        'init': config.init,
        'start': list(start.lines),
        'label_fraction': config.label_fraction,
        'metrics': {name: float(value) for name, value in metrics.items()},
        'examples': dataset.counts['test'],
        'training_examples': dataset.counts['train'],
        'training_patients': len(dataset.patients['train']),
        'epochs': progress.last['epoch'],
        'best_step': progress.best_step,
        'validation_loss': progress.best_loss,
    }


def read(workdir):
    """The results of a complete run."""
    return json.loads((workdir / RESULTS).read_text('utf-8'))


def write(workdir, task, found, rows):
    """Writes a run's tables, its report and, last, its results."""
    write_tables(workdir, task, found['metrics'], rows)
    about = json.loads((workdir / 'config.json').read_text('utf-8'))
    lines = [
        f'# {found["dataset"]}: {task}, seed {found["seed"]}'
        + ('' if found['fold'] is None else f', tested on fold {found["fold"]}'),
        '',
        *_table(found['metrics'], task),
        '',
        f'- start: {"; ".join(found["start"])}',
        f'- {found["training_examples"]} training examples of {found["training_patients"]} '
        f'patients (label fraction {found["label_fraction"]:g}), {found["examples"]} tested',
        f'- epochs: {found["epochs"]}, best after step {found["best_step"]}, validation loss '
        f'{found["validation_loss"]:.5f}',
        f'- {about["devices"]} x {about["device"]}, config {about["hash"]} (`config.json`)',
        f'- model: `export/model`; test: `{_TABLES[task]}`; curves: `metrics.jsonl`',
    ]
    write_atomically(workdir / 'report.md', '\n'.join(lines) + '\n')
    write_atomically(workdir / RESULTS, json.dumps(found, indent=2) + '\n')


def write_tables(folder, task, metrics, rows):
    """Writes the rows of a test as CSV and prints its metrics."""
    write_table(folder / _TABLES[task], rows)
    print('\n'.join(_table(metrics, task)))
    print(f'each case: {folder / _TABLES[task]}')


def summarise(workdir, config):
    """Writes and prints the mean and standard deviation over all complete runs of a workdir."""
    found = [read(file.parent) for file in workdir.glob(f'seed_*/{RESULTS}')]
    found.sort(key=lambda r: (r['seed'], r['fold'] or 0))
    names = list(found[0]['metrics'])
    rows = [{'seed': r['seed'], 'fold': r['fold'], **r['metrics']} for r in found]
    write_table(workdir / 'results.csv', rows)
    config = common_config(config)
    about = describe_config(config)
    table = [f'| {len(found)} runs | mean | sd |', '| --- | --- | --- |']
    for name in _ordered(names, config.task):
        values = np.array([r['metrics'][name] for r in found], float)
        values = values[~np.isnan(values)]
        mean = values.mean() if values.size else math.nan
        spread = values.std(ddof=1) if values.size > 1 else math.nan
        table.append(f'| {name} | {_number(mean)} | {_number(spread)} |')
    lines = [
        f'# {config.data.name}: {config.task}, from {config.init}',
        '',
        *table,
        '',
        f'- runs: {", ".join(_name(r) for r in found)}',
        f'- {about["devices"]} x {about["device"]}, config {config_hash(config)}',
        '- each run: `results.csv`; compare: `python -m genesis_jax.compare` with the workdirs',
    ]
    write_atomically(workdir / 'report.md', '\n'.join(lines) + '\n')
    print('\n'.join(table))
    print(f'report: {workdir / "report.md"}')


def _name(result):
    return f'seed {result["seed"]}' + ('' if result['fold'] is None else f' fold {result["fold"]}')


def _table(metrics, task):
    rows = [f'| {name} | {_number(metrics[name])} |' for name in _ordered(metrics, task)]
    return ['| test | |', '| --- | --- |', *rows]


def _ordered(names, task):
    first = [name for name in _MAIN[task] if name in names]
    return first + [name for name in names if name not in first]


def _number(value):
    return '–' if math.isnan(value) else f'{value:.4f}'
