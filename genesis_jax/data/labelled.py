"""Labelled datasets: which records train, validate and test, chosen by patient.

The records are those of `genesis_jax.data`, with `label` (classification, multilabel) or `mask`
(segmentation); see data_prep/build/dataset.py.
"""

import dataclasses
import hashlib
import math
from typing import Any

from ml_collections import ConfigDict

from genesis_jax.data import reading, views
from genesis_jax.data.fit import check_shape
from genesis_jax.errors import UserError
from genesis_jax.tasks import TASKS

SPLITS = ('train', 'validation', 'test')
_ABOUT = ('task', 'classes', 'channels', 'modality', 'spacing', 'full_range', 'recipe')


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A labelled dataset, split.

    Attributes:
      train, validation, test: random-access sources of examples: records, seen as `data.view` says.
      cases: whole scans to test on instead of `test`, or None.
      shape: of an example, `(X, Y, Z, C)` or `(X, Y, C)`.
      record_shape: of a record; `shape` but for a view.
      about: what the dataset declares, see `Declaration` in data_prep/types.py.
      patients: names, by split.
    """

    train: 'Chosen | views.Viewed'
    validation: 'Chosen | views.Viewed'
    test: 'Chosen | views.Viewed'
    cases: 'Chosen | None'
    shape: tuple[int, ...]
    record_shape: tuple[int, ...]
    about: dict
    patients: dict[str, list[str]]

    @property
    def counts(self) -> dict[str, int]:
        """What trains and validates, and what a test predicts, by split."""
        sources = (self.train, self.validation, self.tested('test'))
        return dict(zip(SPLITS, map(len, sources), strict=True))

    def tested(self, split: str) -> Any:
        """What a test of a split predicts: whole scans or cubes instead of slices of them."""
        if split == 'test' and self.cases is not None:
            return self.cases
        source = getattr(self, split)
        volumes = TASKS[self.about['task']].dense and isinstance(source, views.Viewed)
        return source.source if volumes else source


class Chosen:
    """Some records of a dataset's splits, as one random-access source.

    Args:
      sources: the records of every split.
      places: `(split, index)` of the records chosen, by patient.

    Attributes:
      patients: whose each record is.
    """

    def __init__(self, sources, places):
        self._sources = sources
        self._places = [place for own in places.values() for place in own]
        self.patients = [patient for patient, own in places.items() for _ in own]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        split, place = self._places[index]
        return self._sources[split][place]


def open_labelled(config: ConfigDict, other: str | None = None) -> Labelled:
    """Opens the dataset that `config.data` names and splits it.

    A dataset of folds is tested on fold `data.fold` (0 where that is None); of the other patients a
    share of `data.validation_share` validates. Of the training patients `label_fraction` is kept:
    a smaller fraction is part of a larger one, and which patients come first depends on the seed.

    Args:
      other: the option that chooses another dataset, where the config is not to be changed.

    Raises:
      UserError: there is no such dataset, it is not labelled for the task, its records do not fit
        the network, or a split is empty.
    """
    builder = _open(config, other)
    about, stored = builder.info.metadata, builder.info.features['cube'].shape
    shape = check_shape(config, stored, other)
    by_patient = _places(about['records'])
    split_of = _split(about['records'], config.data)
    patients = {split: [p for p in by_patient if split_of[p] == split] for split in SPLITS}
    patients['train'] = _fraction(patients['train'], config.label_fraction, config.seed)
    for split in SPLITS:
        if not patients[split]:
            raise UserError(
                f'no patient is left for the {split} split of {config.data.name!r}; prepare it '
                'with more patients or other shares'
            )
    sources = {name: builder.as_data_source(name) for name in about['records']}
    every = TASKS[config.task].dense
    chosen = {
        split: views.viewed(
            Chosen(sources, {p: by_patient[p] for p in patients[split]}),
            config.data.view,
            stored,
            every,
        )
        for split in SPLITS
    }
    return Labelled(
        **chosen,
        cases=_cases(config.data, set(patients['test'])),
        shape=shape,
        record_shape=stored,
        about={key: about[key] for key in _ABOUT},
        patients=patients,
    )


def folds(config: ConfigDict) -> list[int] | list[None]:
    """The folds that `config` asks for: numbers, or `[None]` for a dataset of one fixed split."""
    names = _open(config).info.metadata['records']
    count = sum(name.startswith('fold_') for name in names)
    fold = config.data.fold
    if fold is None:
        return list(range(count)) or [None]
    if not count:
        raise UserError(
            f'config.data.fold={fold}: {config.data.name!r} has one fixed split; leave it out'
        )
    if not 0 <= fold < count:
        raise UserError(f'config.data.fold={fold}: expected one of the folds 0 to {count - 1}')
    return [fold]


def fingerprint(patient: str) -> str:
    """Twelve hexadecimal digits that stand for a patient where the name has no place."""
    return hashlib.sha256(patient.encode()).hexdigest()[:12]


def _open(config, other=None):
    data, task = config.data, config.task
    builder = reading.open_dataset(data, _of_others(config))
    about = builder.info.metadata or {}
    if about.get('task') != task:
        raise UserError(
            f'the dataset {data.name!r} in {data.dir!r} is for '
            f'{about.get("task") or "pre-training"} and config.task is {task}; choose another '
            + (other or '--config.data.name or --config')
        )
    return builder


def _of_others(config):
    """The preparation that makes a dataset of any name for such a task."""
    name = f'--name={config.data.name}'
    if config.task == 'segmentation':
        return f'nnunet {name} --source=FOLDER'
    if config.task == 'multilabel' or (config.dimensions == 2 and config.data.view is None):
        return f'images {name} --source=IMAGES --csv=LABELS.csv'
    return f'candidates {name} --source=SCANS --csv=POINTS.csv'


def _cases(data, patients):
    """Whole scans of these patients, or None if the dataset has none."""
    if reading.find_dataset(data.dir, f'{data.name}_cases') is None:
        return None
    builder = reading.open_dataset(data, '', name=f'{data.name}_cases')
    records = builder.info.metadata['records']
    sources = {name: builder.as_data_source(name) for name in records}
    places = _places(records)
    return Chosen(sources, {p: own for p, own in places.items() if p in patients})


def _places(records):
    """Where each patient's records are: `{patient: [(split, index), ...]}`."""
    places = {}
    for split, counts in records.items():
        first = 0
        for patient, count in counts:
            own = places.setdefault(patient, [])
            own += [(split, index) for index in range(first, first + count)]
            first += count
    return places


def _split(records, data):
    """The split of every patient; UserError if one is in two."""
    stored = {}
    for split, counts in records.items():
        for patient, _ in counts:
            if stored.setdefault(patient, split) != split:
                raise UserError(
                    f'patient {patient!r} of {data.name!r} is in {stored[patient]} and in '
                    f'{split}; prepare the dataset again, split by patient'
                )
    if set(records) <= set(SPLITS):
        return stored
    tested = f'fold_{data.fold or 0}'
    others = sorted((p for p in stored if stored[p] != tested), key=lambda p: _rank(p, 'val'))
    validating = set(others[: max(1, round(data.validation_share * len(others)))])
    names = {True: 'validation', False: 'train'}
    return {p: 'test' if stored[p] == tested else names[p in validating] for p in stored}


def _fraction(patients, fraction, seed):
    ranked = sorted(patients, key=lambda patient: _rank(patient, seed))
    count = math.ceil(round(fraction * len(ranked), 6))  # 0.07 * 100 is a little above 7
    kept = set(ranked[:count])
    return [patient for patient in patients if patient in kept]


def _rank(patient, salt):
    return hashlib.sha256(f'{salt} {patient}'.encode()).digest()
