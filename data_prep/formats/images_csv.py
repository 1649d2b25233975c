"""A CSV file of images and their labels: what it says, and the jobs that it makes.

The column `label` holds one class, or the column `labels` findings separated by | (an empty one
and "No Finding" mean that there is none).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_prep.formats.candidates_csv import (
    Rows,
    class_index,
    classes_of,
    read_table,
    unknown,
    unused_columns,
)
from data_prep.formats.chestxray_names import NO_FINDING
from data_prep.splits.patients import patient_of
from data_prep.splits.table_splits import Allotment
from data_prep.types import Job, listed
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.tables import with_scans

OWN_PATIENTS = (
    'Every image counts as a patient of its own; where there are several of one, --patient_pattern '
    'or the column patient of a CSV file keeps them in one split'
)


@dataclass(frozen=True)
class ImageTable:
    """A table of labelled images.

    Attributes:
      path: of the file.
      rows: with their lines.
      classes: names by index, or the findings.
      task: multilabel if an image has any number of findings, instead of one class.
    """

    path: Path
    rows: Rows
    classes: tuple[str, ...]
    task: Literal['classification', 'multilabel']

    def label(self, line: int, text: str) -> int | tuple[int, ...]:
        """The class index, or 0 or 1 for each finding, that a cell says.

        Raises:
          PrepareError: it holds another name.
        """
        if self.task == 'classification':
            return class_index(self.path, line, text, self.classes)
        positives = findings(text)
        if stray := [name for name in positives if name not in self.classes]:
            raise unknown(self.path, line, 'finding', stray[0], self.classes)
        return tuple(int(name in positives) for name in self.classes)


def findings(text: str) -> list[str]:
    """The findings that a cell names."""
    names = [name.strip() for name in text.split('|')]
    return [name for name in names if name and name.lower() != NO_FINDING.lower()]


def read_image_table(
    path: Path, split_column: str | None, classes: Sequence[str] | None
) -> ImageTable:
    """Reads the table; without `classes` they are those that it holds.

    Raises:
      PrepareError: it is not such a table, or holds no or one class only.
    """
    rows = read_table(path, ('image',), split_column)
    columns = [name for name in ('label', 'labels') if name in rows[0][1]]
    if len(columns) != 1:
        there = ' and '.join(columns) or f'neither ({", ".join(rows[0][1])})'
        raise PrepareError(
            f'{path} needs either the column label, for one class an image, or the column labels, '
            f'for findings separated by |; found {there}'
        )
    if columns == ['labels']:
        named = {name for _, row in rows for name in findings(row['labels'])}
        if not named:
            raise PrepareError(f'{path} names no finding in its column labels; fill it in')
        return ImageTable(path, rows, tuple(classes or sorted(named)), 'multilabel')
    for line, row in rows:
        if not row['label']:
            raise PrepareError(
                f'{path}, row {line}: the column label is empty; fill it in or remove the row'
            )
        if '|' in row['label'] and row['label'] not in (classes or ()):
            raise PrepareError(
                f'{path}, row {line}: the label is {row["label"]!r}; name the column labels if an '
                'image may have several findings'
            )
    return ImageTable(path, rows, tuple(classes or classes_of(path, rows)), 'classification')


def list_jobs(
    table: ImageTable,
    images: Sequence[Scan],
    split_column: str | None,
    folds: int,
    seed: int,
    pattern: re.Pattern | None = None,
) -> tuple[list[Job], list[str]]:
    """Every image that the table names and that is there, and notes on what is skipped.

    Args:
      pattern: finds the patient in an image's id, if the table has no column patient.

    Raises:
      PrepareError: naming a row that contradicts another or the images, or no image is left; or
        both the pattern and the table tell the patients.
    """
    if pattern is not None and 'patient' in table.rows[0][1]:
        raise PrepareError(
            f'--patient_pattern and the column patient of {table.path} both tell the patients; '
            'leave --patient_pattern out or rename the column'
        )
    allotment = Allotment(table.path, 'image', split_column, folds, seed)
    absent: list[str] = []
    labels: dict[str, int | tuple[int, ...]] = {}
    image_of: dict[str, Scan] = {}
    lines: dict[str, int] = {}
    for line, row, image in with_scans(
        table.rows, images, table.path, 'source', 'image', 'image', absent
    ):
        if lines.setdefault(image.scan_id, line) != line:
            raise PrepareError(
                f'{table.path}, row {line}: the image {row["image"]} is listed in row '
                f'{lines[image.scan_id]} already; remove one of the rows'
            )
        allotment.add(line, row, image.scan_id, patient_of(image.scan_id, pattern, 'image'))
        text = row['labels' if table.task == 'multilabel' else 'label']
        labels[image.scan_id], image_of[image.scan_id] = table.label(line, text), image
    if not image_of:
        raise PrepareError(
            f'{table.path} lists {len(table.rows)} images and the source has none of them, such as '
            f'{absent[0]}; check --source, below which the column image names paths'
        )
    notes = unused_columns(table.path, table.rows, split_column)
    if absent:
        notes.append(f'Listed in {table.path.name}, but not there: {listed(absent)}')
    if unlisted := [image.shown for image in images if image.scan_id not in image_of]:
        notes.append(f'There, but not listed in {table.path.name}: {listed(unlisted)}')
    if 'patient' not in table.rows[0][1] and pattern is None:
        notes.append(OWN_PATIENTS)
    jobs = [
        Job(scan_id, *place, image_of[scan_id].shown, (image_of[scan_id], labels[scan_id]))
        for scan_id, place in allotment.places().items()
    ]
    return jobs, notes
