"""Reads what fine-tunings left: a workdir is a method on a task, its folders seed_* the runs."""

import csv
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genesis_jax.errors import UserError

_RUN = re.compile(r'seed_(\d+)(?:_fold_(\d+))?')
_PARTS_OF_A_RUN = {'export', 'checkpoints', 'best', 'encoder', 'encoder_decoder', 'model'}


@dataclass(frozen=True)
class Run:
    """A complete run."""

    folder: Path
    seed: int
    fold: int | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class Workdir:
    """The runs of one method at one share of the labels."""

    path: Path
    task: str
    dataset: str
    classes: tuple[str, ...]
    init: str
    label_fraction: float
    task_name: str  # the name of the config's task, or the dataset's
    runs: tuple[Run, ...]
    planned: int

    def values(self, metric):
        """One value for each seed, its mean over folds: `[seeds]`, without NaN.

        Seeds that lack folds which others have are left out, for folds differ in difficulty.
        """
        seeds = defaultdict(list)
        for run in self.runs:
            seeds[run.seed].append(run.metrics.get(metric, np.nan))
        folds = max(map(len, seeds.values()))
        means = np.array([np.mean(found) for found in seeds.values() if len(found) == folds])
        return means[~np.isnan(means)]


@dataclass(frozen=True)
class Tested:
    """The rows of a run's test: examples (classification), or cases and classes (segmentation)."""

    patients: tuple[str, ...]
    owners: np.ndarray  # `[N]`, an index among the patients
    values: np.ndarray  # `[N]`, what is compared by patient: Dice, or the Brier score
    distances: np.ndarray | None = None  # `[N]`, HD95
    labels: np.ndarray | None = None  # `[N]`
    probabilities: np.ndarray | None = None  # `[N]` of class 1 of two, or `[N, classes]`


def read_workdir(path):
    """The complete runs of a fine-tuning.

    Raises:
      UserError: it is none, nothing of it is complete, or its runs are not of one kind.
    """
    folders = sorted(folder for folder in path.glob('seed_*') if _RUN.fullmatch(folder.name))
    if not path.is_dir():
        raise UserError(f'there is no folder {path}; expected the --workdir of a fine-tuning')
    if not folders or not (path / 'config.json').is_file():
        inside = _RUN.fullmatch(path.name) and (path.parent / 'config.json').is_file()
        remedy = f'give {path.parent}, all runs of it' if inside else 'give that of a fine-tuning'
        raise UserError(
            f'{path} is not the workdir of a fine-tuning, which has config.json and folders '
            f'seed_0, seed_1, …; {remedy}'
        )
    config = _json(path / 'config.json').get('config', {})
    found = {
        folder: _json(folder / 'results.json')
        for folder in folders
        if (folder / 'results.json').is_file()
    }
    planned = _planned(folders)
    if not found:
        raise UserError(
            f'{path}: 0 of {planned} runs are complete; run its main.py command again, which '
            'goes on where it stopped'
        )
    fields = ('task', 'dataset', 'classes', 'init', 'label_fraction')
    first = next(iter(found.values()))
    for folder, results in found.items():
        for name in (*fields, 'seed', 'metrics'):
            if name not in results:
                raise UserError(f'{folder / "results.json"} has no {name!r}; run it again')
        for name in fields:
            if results[name] != first[name]:
                raise UserError(
                    f'{folder} has {name} {results[name]!r} and {next(iter(found))} has '
                    f'{first[name]!r}; one workdir holds runs of one kind'
                )
    runs = tuple(
        Run(folder, results['seed'], results.get('fold'), _numbers(results['metrics']))
        for folder, results in found.items()
    )
    return Workdir(
        path=path,
        task=first['task'],
        dataset=first['dataset'],
        classes=tuple(first['classes']),
        init=str(first['init']),
        label_fraction=float(first['label_fraction']),
        task_name=str(config.get('task_name') or first['dataset']),
        runs=tuple(sorted(runs, key=lambda run: (run.seed, run.fold or 0))),
        planned=planned,
    )


def short_name(init):
    """What a start is called: `scratch`, or the run that a path leads to."""
    parts = [part for part in Path(init).parts if part not in _PARTS_OF_A_RUN]
    return parts[-1] if parts else init


def read_tests(workdir):
    """What each run of a workdir was tested on, and how it did."""
    segmented = workdir.task == 'segmentation'
    return [
        _cases(run) if segmented else _predictions(run, workdir.classes) for run in workdir.runs
    ]


def _cases(run):
    file = run.folder / 'cases.csv'
    rows = _rows(file, ('patient', 'dice', 'hd95'))
    dice, distances = (_column(file, rows, name) for name in ('dice', 'hd95'))
    return Tested(*_owners(rows), values=dice, distances=distances)


def _predictions(run, classes):
    columns = [f'p_{name}' for name in (classes if len(classes) > 2 else classes[1:])]
    file = run.folder / 'predictions.csv'
    rows = _rows(file, ('patient', 'label', *columns))
    labels = _column(file, rows, 'label')
    probabilities = np.stack([_column(file, rows, name) for name in columns], axis=1)
    if len(columns) == 1:
        probabilities = probabilities[:, 0]
        errors = (probabilities - labels) ** 2
    else:
        wanted = np.arange(len(classes)) == labels[:, None]
        errors = np.sum((probabilities - wanted) ** 2, axis=1)
    return Tested(*_owners(rows), values=errors, labels=labels, probabilities=probabilities)


def _owners(rows):
    """The patients, and whose each row is."""
    places = {}
    owners = [places.setdefault(row['patient'], len(places)) for row in rows]
    return tuple(places), np.array(owners)


def _column(file, rows, name):
    """Numbers `[N]`; NaN where a cell is empty."""
    try:
        return np.array([row[name] or 'nan' for row in rows], float)
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{file}, column {name}: expected numbers ({error}); run it again'
        ) from None


def _planned(folders):
    """How many runs there will be, as far as can be seen: those begun, and their missing folds."""
    seeds, folds = zip(*(_RUN.fullmatch(folder.name).groups() for folder in folders), strict=True)
    return max(len(folders), len(set(seeds)) * len(set(folds)))


def _numbers(metrics):
    return {name: np.nan if value is None else float(value) for name, value in metrics.items()}


def _json(file):
    try:
        found = json.loads(file.read_text('utf-8'))
    except ValueError as error:
        raise UserError(f'{file} is not JSON ({error}); run its main.py command again') from None
    if not isinstance(found, dict):
        raise UserError(f'{file} holds a {type(found).__name__}; expected a JSON object')
    return found


def _rows(file, columns):
    """The rows of a CSV file that has these columns."""
    try:
        with file.open(newline='', encoding='utf-8') as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
    except FileNotFoundError:
        raise UserError(f'{file} is missing, which a complete run has; run it again') from None
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing or not rows:
        what = f'no column {missing[0]}' if missing else 'no rows'
        raise UserError(f'{file} has {what}; expected the columns {", ".join(columns)}')
    return rows
