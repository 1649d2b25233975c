"""What a fine-tuned network's test found: tables, `results.json`, the report of a run.

`results.json` of a run holds

- `task`, `dataset`, `classes`, `seed`, `fold` (null: one fixed split), `init`, `label_fraction`;
- `metrics`: numbers by name, null where there is none;
- `counted` (segmentation): by metric, on how many rows of `cases.csv` its mean rests, of how many;
- `froc` (two classes, scans tested whole): sensitivity by false positives a scan;
- `provenance`, `start`: what was loaded and what was not, in fields and in words;
- `recipe`: the config file and what differs from it;
- `examples` (of the test), `training_examples`, `patients` (by split);
- `epochs`, `best_step`, `validation_loss`;
- `superseded`: true while the run goes on, since its epochs or patience were raised.

Only `counted`, `froc`, `provenance`, `recipe` and `patients` may be missing of the others (of runs
of earlier versions).
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genesis_jax import config_json
from genesis_jax.metrics import AUC_INTERVAL, LUNA16_RATES, froc, segmentation_counts
from genesis_jax.runs.files import write_atomically, write_table
from genesis_jax.runs.workdir import RESULTS, SUPERSEDED
from genesis_jax.tasks import TASKS

Rows = Sequence[Mapping[str, Any]]
Counts = Mapping[str, Sequence[int]]


def describe(config, dataset, start, progress, metrics, rows: Rows, recipe) -> dict[str, Any]:
    """The results of a run, as JSON."""
    return {
        'task': config.task,
        'dataset': config.data.name,
        'classes': list(dataset.about['classes']),
        'seed': config.seed,
        'fold': config.data.fold,
        'init': config.init,
        'start': list(start.lines),
        'provenance': start.provenance.to_dict(),
        'recipe': recipe,
        'label_fraction': config.label_fraction,
        **measured(config.task, dataset.about['classes'], metrics, rows),
        'examples': dataset.counts['test'],
        'training_examples': dataset.counts['train'],
        'patients': {split: len(names) for split, names in dataset.patients.items()},
        'epochs': progress.last['epoch'],
        'best_step': progress.best_step,
        'validation_loss': progress.best_loss,
    }


def measured(
    task: str, classes: Sequence[str], metrics: Mapping[str, float], rows: Rows
) -> dict[str, Any]:
    """What a test found, as JSON: its metrics, and what they rest on."""
    result: dict[str, Any] = {'metrics': {name: _known(value) for name, value in metrics.items()}}
    if task == 'segmentation':
        result['counted'] = segmentation_counts(rows, classes)
    elif 'luna16_score' in metrics:
        names = ('scan_id', 'label', f'p_{classes[1]}')
        shares = froc(*([row[name] for row in rows] for name in names))
        pairs = zip(LUNA16_RATES, shares, strict=True)
        result['froc'] = {f'{rate:g}': _known(share) for rate, share in pairs}
    return result


def read(workdir: Path) -> dict[str, Any] | None:
    """The results of a run; None if it is not complete, or goes on after them."""
    file = workdir / RESULTS
    if not file.exists():
        return None
    result = json.loads(file.read_text('utf-8'))
    if result.get(SUPERSEDED):
        return None
    return result | {'metrics': config_json.rename(result['metrics'])}


def write(workdir: Path, result: Mapping[str, Any], rows: Rows) -> None:
    """Writes a run's tables, its report and, last, its results."""
    write_tables(workdir, result, rows)
    about = json.loads((workdir / 'config.json').read_text('utf-8'))
    lines = [
        f'# {result["dataset"]}: {result["task"]}, seed {result["seed"]}'
        + ('' if result['fold'] is None else f', tested on fold {result["fold"]}'),
        '',
        *table(result),
        '',
        *origin([result]),
        f'- {result["training_examples"]} training examples, {result["examples"]} tested',
        f'- epochs: {result["epochs"]}, best after step {result["best_step"]}, validation loss '
        f'{result["validation_loss"]:.5f}',
        f'- {about["devices"]} x {about["device"]}, config {about["hash"]} (`config.json`)',
        f'- model: `export/model`; test: `{TASKS[result["task"]].table}`; curves: `metrics.jsonl`',
    ]
    write_atomically(workdir / 'report.md', '\n'.join(lines) + '\n')
    write_atomically(workdir / RESULTS, json.dumps(result, indent=2) + '\n')


def write_tables(folder: Path, result: Mapping[str, Any], rows: Rows, split: str = 'test') -> None:
    """Writes the rows of a test as CSV and prints its metrics."""
    file = folder / TASKS[result['task']].table
    write_table(file, rows)
    print('\n'.join(table(result, split)))
    print(f'each case: {file}')


def table(result: Mapping[str, Any], split: str = 'test') -> list[str]:
    """The metrics of a test in Markdown, with what they rest on."""
    task, metrics = result['task'], result['metrics']
    beside = 'counted' if task == 'segmentation' else '95 % interval'
    lines = [f'| {split} | | {beside} |', '| --- | --- | --- |']
    for name in ordered(metrics, task):
        beside = counted(result.get('counted', {}).get(name))
        if name == 'auc':
            beside = _range_of_auc(metrics)
        lines.append(f'| {title(name)} | {number(metrics[name])} | {beside} |')
    return [*lines, *_froc_table(result.get('froc')), *left_out(result.get('counted'))]


def origin(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines on what runs of one kind began with: recipe, weights, patients."""
    first = runs[0]
    counts = [run['patients'] for run in runs if 'patients' in run]
    if first.get('recipe'):
        yield f'- recipe: {first["recipe"]}'
    yield f'- start: {"; ".join(first["start"])}'
    ranges = [f'{_range([c[split] for c in counts])} {split}' for split in counts[:1] and counts[0]]
    patients = f'; patients: {", ".join(ranges)}' if ranges else ''
    yield f'- label fraction {first["label_fraction"]:g}{patients}'


def left_out(counts: Counts | None) -> Iterator[str]:
    """Lines on the rows that means leave out; `counts` as `counted` of `results.json`."""
    if not counts:
        return
    there, rows = counts['dice']
    near = counts['hd95'][0]
    lines = []
    if there < rows:
        lines.append(
            f'{rows - there} of {rows} rows are not counted: their class is neither in the truth '
            'nor in the prediction.'
        )
    if near < there:
        lines.append(
            f'HD95 leaves out {there - near} of {there} rows: missed, or found where there is '
            'nothing (Dice 0, no distance).'
        )
    yield from ['', *lines] if lines else []


def ordered(names: Iterable[str], task: str) -> list[str]:
    """Names of metrics in the order in which they are shown."""
    first = [name for name in TASKS[task].metrics if name in names]
    return first + [name for name in names if name not in (*first, *AUC_INTERVAL)]


def title(name: str) -> str:
    """A metric with its unit."""
    return f'{name} (mm)' if name == 'hd95' else name


def counted(pair: Sequence[int] | None) -> str:
    """`3 of 5`, or nothing."""
    return f'{pair[0]} of {pair[1]}' if pair else ''


def number(value: float | None) -> str:
    """Four digits, or a dash where there is no number."""
    return '–' if value is None or math.isnan(value) else f'{value:.4f}'


def _range_of_auc(metrics):
    ends = [metrics[name] for name in AUC_INTERVAL]
    return '–' if None in ends else '–'.join(map(number, ends))


def _froc_table(shares):
    if not shares:
        return []
    return [
        '',
        f'| false positives a scan | {" | ".join(shares)} |',
        f'| --- |{" --- |" * len(shares)}',
        f'| sensitivity | {" | ".join(map(number, shares.values()))} |',
    ]


def _range(values):
    low, high = min(values), max(values)
    return f'{low}' if low == high else f'{low}–{high}'


def _known(value):
    """A float, or None, since JSON has no NaN."""
    return None if math.isnan(value) else float(value)
