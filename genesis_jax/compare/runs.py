"""Reads what fine-tunings left: a workdir is a method on a task.

A run is one seed; its folders are `seed_N`, or `seed_N_fold_K` for each fold.
"""

import csv
import io
import json
import re
import shlex
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genesis_jax import config_json
from genesis_jax.errors import UserError
from genesis_jax.provenance import Provenance

_RUN = re.compile(r'seed_(\d+)(?:_fold_(\d+))?')


@dataclass(frozen=True)
class Part:
    """What is in one folder: a complete run, or one fold of it."""

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
    provenance: Provenance  # what the runs began with
    label_fraction: float
    config: dict[str, object]  # by dotted names
    parts: tuple[Part, ...]  # of complete runs
    planned: int  # runs: the seeds begun
    folds: int  # of each run; 0: the task has none
    planned_folds: int

    @property
    def runs(self) -> int:
        """How many are complete."""
        return len({part.seed for part in self.parts})

    @property
    def task_name(self) -> str:
        """The name of the config's task, or the dataset's."""
        return str(self.config.get('task_name') or self.dataset)

    def values(self, metric: str) -> np.ndarray:
        """One value for each run, its mean over folds: `[runs]`, without NaN."""
        seeds: dict[int, list[float]] = defaultdict(list)
        for part in self.parts:
            seeds[part.seed].append(part.metrics.get(metric, np.nan))
        means = np.array([np.mean(folds) for folds in seeds.values()])
        return means[~np.isnan(means)]


@dataclass(frozen=True)
class Tested:
    """The rows of a test: examples (classification), or cases and classes (segmentation)."""

    patients: list[str]  # of each row, `[N]`
    values: np.ndarray  # `[N]`, what is compared by patient: Dice, or the Brier score; NaN: none
    distances: np.ndarray | None = None  # `[N]`, HD95
    labels: np.ndarray | None = None  # `[N]`, of several findings `[N, n]`
    probabilities: np.ndarray | None = None  # `[N]` of class 1 of two, or `[N, classes]`


def read_workdir(path: Path) -> Workdir:
    """The complete runs of a fine-tuning.

    Raises:
      UserError: it is none, nothing of it is complete, or its runs are not of one kind.
    """
    folders = sorted(folder for folder in path.glob('seed_*') if _RUN.fullmatch(folder.name))
    config = _config(path, folders)
    files = (folder / 'results.json' for folder in folders)
    held = {file.parent: _json(file) for file in files if file.is_file()}
    results_of = {folder: found for folder, found in held.items() if not found.get('superseded')}
    begun = [_seed_and_fold(folder) for folder in folders]
    planned = len({seed for seed, _ in begun})
    if not results_of:
        raise UserError(
            f'{path}: 0 of {planned} runs are complete; run its main.py command again, which '
            'goes on where it stopped'
        )
    first = _check_alike(results_of)
    _check_config(path, config, first)
    parts, folds = _complete(
        Part(folder, *_seed_and_fold(folder), _numbers(results['metrics']))
        for folder, results in results_of.items()
    )
    return Workdir(
        path=path,
        task=first['task'],
        dataset=first['dataset'],
        classes=tuple(first['classes']),
        init=str(first['init']),
        provenance=Provenance.from_dict(first),
        label_fraction=float(first['label_fraction']),
        config=config,
        parts=parts,
        planned=planned,
        folds=folds,
        planned_folds=len({fold for _, fold in begun} - {None}),
    )


def _config(path, folders):
    """The config of a workdir by dotted names, once it is one of a fine-tuning."""
    if not path.is_dir():
        raise UserError(f'there is no folder {path}; expected the --workdir of a fine-tuning')
    file = path / 'config.json'
    config = _json(file).get('config') or {} if file.is_file() else {}
    config = config_json.flatten(config_json.complete(config))
    if not folders and config.get('task') == 'restoration':
        raise UserError(
            f'{path} is the workdir of a pre-training, which has no test to compare; expected '
            f'those of fine-tunings from it (main.py … --config.init={shlex.quote(str(path))})'
        )
    if not folders or not file.is_file():
        inside = _RUN.fullmatch(path.name) and (path.parent / 'config.json').is_file()
        remedy = f'give {path.parent}, all runs of it' if inside else 'give that of a fine-tuning'
        raise UserError(
            f'{path} is not the workdir of a fine-tuning, which has config.json and folders '
            f'seed_0, seed_1, …; {remedy}'
        )
    return config


def _check_alike(results_of):
    """The first of some results (by folder), which all have the same kind."""
    fields = ('task', 'dataset', 'classes', 'init', 'label_fraction')
    first_folder, first = next(iter(results_of.items()))
    for folder, results in results_of.items():
        for name in (*fields, 'metrics'):
            if name not in results:
                raise UserError(f'{folder / "results.json"} has no {name!r}; run it again')
        for name in fields:
            if results[name] != first[name]:
                raise UserError(
                    f'{folder} has {name} {results[name]!r} and {first_folder} has '
                    f'{first[name]!r}; one workdir holds runs of one kind'
                )
    return first


def _check_config(path, config, results):
    """Raises UserError if config.json is not that of the runs beside it."""
    for field, name in (('task', 'task'), ('data.name', 'dataset')):
        if config.get(field, results[name]) != results[name]:
            raise UserError(
                f'{path / "config.json"} has {field} {config[field]!r}, but the runs beside it '
                f'have {results[name]!r}: another command has replaced it; put theirs back, or '
                'fine-tune in a new workdir'
            )


def _complete(parts):
    """`(parts of complete runs in their order, folds of each)`.

    Complete is what has as many folds as any, and the same, for folds differ in difficulty.
    """
    seeds: dict[int, dict[int | None, Part]] = defaultdict(dict)
    for part in parts:
        seeds[part.seed][part.fold] = part
    most = max(seeds.values(), key=len).keys()
    runs = [seeds[seed] for seed in sorted(seeds) if seeds[seed].keys() == most]
    order = sorted(most, key=lambda fold: fold or 0)
    return tuple(run[fold] for run in runs for fold in order), len(most - {None})


def _seed_and_fold(folder: Path) -> tuple[int, int | None]:
    seed, _, fold = folder.name.removeprefix('seed_').partition('_fold_')
    return int(seed), int(fold) if fold else None


def read_tests(workdir: Workdir) -> list[Tested]:
    """What each part of a workdir was tested on, and how it did."""
    read = {'segmentation': _cases, 'multilabel': _findings}.get(workdir.task, _predictions)
    return [read(part, workdir.classes) for part in workdir.parts]


def _cases(part, _):
    patients, dice, distances = _columns(part.folder / 'cases.csv', ('dice', 'hd95')).values()
    return Tested(patients, values=dice, distances=distances)


def _predictions(part, classes):
    names = [f'p_{name}' for name in (classes if len(classes) > 2 else classes[1:])]
    columns = _columns(part.folder / 'predictions.csv', ('label', *names))
    patients, labels, *probabilities = columns.values()
    if len(names) == 1:
        (graded,) = probabilities
        return Tested(patients, (graded - labels) ** 2, labels=labels, probabilities=graded)
    graded = np.stack(probabilities, axis=1)
    one_hot = np.arange(len(classes)) == labels[:, None]
    errors = np.sum((graded - one_hot) ** 2, axis=1)
    return Tested(patients, errors, labels=labels, probabilities=graded)


def _findings(part, findings):
    names = [f'{kind}_{name}' for kind in ('label', 'p') for name in findings]
    patients, *columns = _columns(part.folder / 'predictions.csv', names).values()
    labels, probabilities = np.split(np.stack(columns, axis=1), 2, axis=1)
    errors = np.mean((probabilities - labels) ** 2, axis=1)
    return Tested(patients, errors, labels=labels, probabilities=probabilities)


def _numbers(metrics):
    return {
        name: np.nan if value is None else float(value)
        for name, value in config_json.rename(metrics).items()
    }


def _json(file):
    try:
        content = json.loads(file.read_text('utf-8'))
    except ValueError as error:
        raise UserError(f'{file} is not JSON ({error}); run its main.py command again') from None
    if not isinstance(content, dict):
        raise UserError(f'{file} holds a {type(content).__name__}; expected a JSON object')
    return content


def _columns(file, names):
    """Of a CSV file, by name: `patient`, a list, and these, numbers `[N]`, NaN where empty.

    pandas would tell neither which column is absent nor which holds no numbers, and would read a
    patient called NA as none.
    """
    names = ('patient', *names)
    try:
        # (newline='' keeps what quoted cells hold; files in a bucket cannot be opened so)
        reader = csv.DictReader(io.StringIO(file.read_bytes().decode(), newline=''))
        rows = list(reader)
    except FileNotFoundError:
        raise UserError(f'{file} is missing, which a complete run has; run it again') from None
    missing = [name for name in names if name not in (reader.fieldnames or ())]
    if missing or not rows:
        what = f'no column {missing[0]}' if missing else 'no rows'
        raise UserError(f'{file} has {what}; expected the columns {", ".join(names)}')
    columns = {'patient': [row['patient'] for row in rows]}
    for name in names[1:]:
        try:
            columns[name] = np.array([row[name] or 'nan' for row in rows], float)
        except ValueError as error:
            raise UserError(
                f'{file}, column {name}: expected numbers ({error}); run it again'
            ) from None
    return columns
