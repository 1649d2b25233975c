"""Which split the patients of a table are in: as one of its columns says, or assigned to folds."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.splits.draws import assign_folds
from data_prep.types import SPLITS
from genesis_jax.errors import PrepareError

_FOLD = re.compile(r'(?:fold_)?([0-9]{1,3})')


class Allotment:
    """The patients of a table's scans or images, and their splits.

    Args:
      table: for messages.
      column: of the table, that names a scan.
      split_column: of the table; None: patients are assigned to folds.
      folds, seed: of the assignment.
    """

    def __init__(
        self, table: Path, column: str, split_column: str | None, folds: int, seed: int
    ) -> None:
        self._table, self._column = table, split_column
        self._folds, self._seed = folds, seed
        self._patients = _Once(table, column, 'patient')
        self._splits = _Once(table, 'patient', 'split')

    def add(self, line: int, row: Mapping[str, str], scan_id: str, otherwise: str) -> None:
        """Takes note of a row of a scan, which is of the patient `otherwise` if the row has none.

        Raises:
          PrepareError: the row contradicts another about its patient or split, or the patient is
            empty.
        """
        if 'patient' in row and not row['patient']:
            raise PrepareError(
                f'{self._table}, row {line}: the column patient is empty; fill it in'
            )
        patient = row.get('patient') or otherwise
        self._patients.set(scan_id, patient, line)
        if self._column:
            self._splits.set(patient, _split(self._table, line, row[self._column]), line)

    def places(self) -> dict[str, tuple[str, str, int]]:
        """The patient, the split and its number, by scan.

        Raises:
          PrepareError: names and fold numbers are mixed, or there are too few patients.
        """
        patients = {scan_id: patient for scan_id, (patient, _) in self._patients.values.items()}
        if self._column:
            _check_alike(self._table, self._splits.values)
            splits = {patient: split for patient, (split, _) in self._splits.values.items()}
        else:
            folds = assign_folds(patients.values(), self._folds, self._seed)
            splits = {patient: f'fold_{fold}' for patient, fold in folds.items()}
        return {
            scan_id: (patient, splits[patient], _number(splits[patient]))
            for scan_id, patient in patients.items()
        }


class _Once:
    """What rows say about a key, which must be the same everywhere."""

    def __init__(self, table: Path, key: str, value: str) -> None:
        self._table, self._key, self._value = table, key, value
        self.values: dict[str, tuple[Any, int]] = {}

    def set(self, key: str, value: str, line: int) -> None:
        known, first = self.values.setdefault(key, (value, line))
        if known != value:
            raise PrepareError(
                f'{self._table}, row {line}: the {self._key} {key} has the {self._value} {value}, '
                f'but {known} in row {first}; it can have one only'
            )


def _number(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else int(split[5:])


def _split(table: Path, line: int, text: str) -> str:
    if text in SPLITS:
        return text
    match = _FOLD.fullmatch(text)
    if not match:
        raise PrepareError(
            f'{table}, row {line}: the split is {text!r}, expected {", ".join(SPLITS)} or a '
            'fold number from 0 to 999; correct it'
        )
    return f'fold_{int(match[1])}'


def _check_alike(table: Path, splits: Mapping[str, tuple[str, int]]) -> None:
    """Refuses names and fold numbers in one table."""
    first: dict[bool, tuple[str, int]] = {}
    for split, line in splits.values():
        first.setdefault(split in SPLITS, (split, line))
    if len(first) == 2:
        (split, line), (other, other_line) = first.values()
        raise PrepareError(
            f'{table}, row {other_line}: the split is {other}, but {split} in row {line}; give '
            'every row a name of a split, or every row a fold number'
        )
