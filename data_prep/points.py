"""Labelled points of scans to cubes around them: what all lists of candidates share.

The source of a case is its scan and its points.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.crops import crop, outside, padding_of, prepare_image, to_index, to_world
from data_prep.identity import identity_of
from data_prep.labelled import Case, Item, Prepared
from data_prep.prepare import PrepareError
from data_prep.volumes import Modality, Scan, read_image


@dataclass(frozen=True)
class Points:
    """The labelled points of one scan, in the order of their rows.

    Attributes:
      rows: int [N], lines of the table, whose header is line 1.
      positions: float [N, 3], world mm or voxels of the stored scan.
      labels: int [N], class indices.
    """

    rows: np.ndarray
    positions: np.ndarray
    labels: np.ndarray

    def select(self, chosen: np.ndarray) -> 'Points':
        """The points where the bool [N] is True."""
        return Points(self.rows[chosen], self.positions[chosen], self.labels[chosen])


@dataclass(frozen=True)
class PointRule:
    """How cubes are cut around points.

    Attributes:
      size: voxels along x, y, z.
      spacing: mm to resample to; None keeps every scan's own.
      modality: decides unit, window and padding.
      in_voxels: positions are voxels of the scan as stored, instead of world mm.
      table: the table's name, for errors.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    modality: Modality
    in_voxels: bool
    table: str


def read_rows(
    table: Path, columns: Sequence[str], instead: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with its line; they hold at least these columns.

    Args:
      instead: columns that will do as well, all of them.

    Raises:
      PrepareError: the file is not there, not text, or lacks a column or a value.
    """
    try:
        with table.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.reader(file)
            found = [name.strip() for name in next(reader, ())]
            if instead and set(instead) <= set(found):
                columns = instead
            if missing := [name for name in columns if name not in found]:
                raise PrepareError(
                    f'{table} lacks the column {missing[0]} (found: {", ".join(found) or "none"}); '
                    f'its first line must name {", ".join(columns)}'
                    + (f', or {", ".join(instead)}' if instead else '')
                )
            for values in filter(None, reader):
                values += [''] * (len(found) - len(values))
                row = dict(zip(found, map(str.strip, values), strict=False))
                for name in columns:
                    if not row.get(name):
                        raise PrepareError(
                            f'{table}, row {reader.line_num}: the column {name} is empty; '
                            'fill it in or remove the row'
                        )
                yield reader.line_num, row
    except OSError as error:
        raise PrepareError(f'{table} cannot be read ({error.strerror}); check its name') from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PrepareError(f'{table} is not a CSV file ({error}); export it again') from None


def with_scans(
    rows: Iterable[tuple[int, Mapping[str, str]]],
    scans: Sequence[Scan],
    table: Path,
    option: str,
    column: str = 'scan',
    kind: str = 'scan',
    absent: list[str] | None = None,
) -> Iterator[tuple[int, Mapping[str, str], Scan]]:
    """Every row with the scan that its column `column` names.

    Args:
      option: of the command line, which gave the folder of the scans, without --.
      kind: what a scan is called.
      absent: takes the names of scans that are not there, whose rows are then passed over.

    Raises:
      PrepareError: there are several such scans, or none and nothing takes its name.
    """
    named = _scans_by_name(scans)
    for line, row in rows:
        found = named.get(row[column].replace('\\', '/').removeprefix('./'), [])
        if not found and absent is not None:
            absent.append(row[column])
            continue
        if not found:
            raise PrepareError(
                f'{table}, row {line}: the {option} has no {kind} {row[column]!r}; add it, correct '
                'the name or remove the row'
            )
        if len(found) > 1:
            shown = ' and '.join(scan.shown for scan in found[:2])
            raise PrepareError(
                f'{table}, row {line}: the {option} has {len(found)} {kind}s {row[column]!r} '
                f'({shown}); name the path of one below --{option}'
            )
        yield line, row, found[0]


def parse_position(table: Path, line: int, row: Mapping[str, str], names: Sequence[str]) -> list:
    """The three coordinates of a row."""
    try:
        position = [float(row[name]) for name in names]
    except ValueError:
        position = [math.nan]
    if not all(map(math.isfinite, position)):
        found = ', '.join(row[name] for name in names)
        raise PrepareError(
            f'{table}, row {line}: {", ".join(names)} are {found}, but must be numbers; correct it'
        )
    return position


def gather(rows: Sequence[tuple[int, Sequence[float], int]]) -> Points:
    """Points of (line, position, label) rows."""
    lines, positions, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Points(
        np.array(lines, int), np.array(positions, float).reshape(-1, 3), np.array(labels, int)
    )


def check_points(cases: Sequence[Case], rule: PointRule) -> None:
    """Refuses points outside their scans where the headers alone tell it, before any work.

    A header that cannot be read is left to the workers, which then skip the scan.
    """
    for case in cases:
        scan, points = case.source
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(scan.files[0]))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            continue
        if not scan.is_dicom and reader.GetDimension() == 3:
            _stored_indices(reader, case.shown, points, rule)


def cut_points(case: Case, rule: PointRule) -> Prepared:
    """Reads the scan of a case and cuts a cube around each of its points: what a worker does.

    Raises:
      ScanError: the scan cannot be used.
      PrepareError: a point lies outside of the scan.
    """
    scan, points = case.source
    stored = read_image(scan, rule.modality)
    centres = to_world(stored, _stored_indices(stored, case.shown, points, rule))
    image, window = prepare_image(stored, rule.modality)
    items = []
    for centre, label in zip(centres, points.labels, strict=True):
        cube, origin = crop(image, centre, rule.size, rule.spacing, padding_of(rule.modality))
        items.append(Item(cube[..., None], origin, int(label)))
    spacing = rule.spacing or image.GetSpacing()
    return Prepared(items, spacing, np.array([window]), identity=identity_of([stored]))


def _scans_by_name(scans: Sequence[Scan]) -> dict[str, list[Scan]]:
    """The scans of every name that a table may give: a path, or its last part."""
    paths: dict[str, list[Scan]] = {}
    lasts: dict[str, list[Scan]] = {}
    for scan in scans:
        folder = [scan.scan_id.rpartition('/')[0]] if scan.is_dicom else []
        names = {scan.scan_id, scan.shown, *folder}
        for name in names:
            paths.setdefault(name, []).append(scan)
        for name in {name.rpartition('/')[2] for name in names}:
            lasts.setdefault(name, []).append(scan)
    return lasts | paths  # a path means that file, whatever lies deeper


def _stored_indices(
    image: sitk.Image | sitk.ImageFileReader, shown: str, points: Points, rule: PointRule
) -> np.ndarray:
    """The points as continuous indices [N, 3] of the scan as stored."""
    indices = points.positions if rule.in_voxels else to_index(image, points.positions)
    stray = outside(image, indices)
    if stray.any():
        first = int(np.argmax(stray))
        found = ', '.join(f'{value:g}' for value in points.positions[first])
        where = '' if rule.in_voxels else f' (voxel {_joined(indices[first], ", ")})'
        raise PrepareError(
            f'{rule.table}, row {points.rows[first]}: the point {found}{where} lies outside its '
            f'scan {shown} of {_joined(image.GetSize(), " x ")} voxels; correct or remove the row'
            + ('' if rule.in_voxels else ', and check that coordinates are world mm in LPS')
        )
    return indices


def _joined(numbers: Sequence[float], glue: str) -> str:
    return glue.join(f'{number:.0f}' for number in numbers)
