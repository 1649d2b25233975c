"""Scans and a CSV file of labelled points to a dataset: the way in for anybody's candidates.

    python -m data_prep.candidates --source=DIR --csv=FILE --name=ecc

The defaults are those of the paper's ECC, candidates of pulmonary embolism in the private PE-CAD:
cubes of 64x64x64 voxels, 20 mm across, three folds by patient.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.candidates_table import Rows, classes_of, read_table, unused_columns
from data_prep.labelled import FIXED_SPLITS, Case, Declaration, deal, prepare_labelled
from data_prep.options import (
    Parser,
    add_cube_size,
    base_parser,
    existing_folder,
    folder,
    number,
    report,
)
from data_prep.points import (
    PointRule,
    check_points,
    cut_points,
    gather,
    parse_position,
    with_scans,
)
from data_prep.prepare import PrepareError
from data_prep.records import dataset_folder
from data_prep.volumes import MODALITIES, Scan, find_scans

_FOLD = re.compile(r'(?:fold_)?([0-9]{1,3})')


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares candidates and returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    if args.native and args.spacing:
        parser.error('--native and --spacing contradict each other; give one of them')
    spacing = args.spacing or (None if args.native else (args.extent / args.cube_size[0],) * 3)

    def prepare():
        rule = PointRule(
            args.cube_size, spacing, args.modality, args.coordinates == 'voxel', str(args.csv)
        )
        table = read_table(args.csv, args.split_column)
        classes = args.classes or classes_of(args.csv, table)
        cases = list_cases(
            find_scans(args.source), args.csv, table, classes, args.split_column, args.folds,
            args.seed,
        )  # fmt: skip
        check_points(cases, rule)
        channel = 'CT' if args.modality == 'ct' else args.modality.upper()
        return prepare_labelled(
            cases,
            partial(cut_points, rule=rule),
            name=args.name,
            data_dir=args.data_dir,
            declaration=Declaration('classification', classes, (channel,), args.modality, spacing),
            cube_size=args.cube_size,
            recipe={
                'source': 'candidates',
                'table': args.csv.name,
                'size': args.cube_size,
                'coordinates': args.coordinates,
                'split_column': args.split_column,
                'folds': None if args.split_column else args.folds,
                'seed': args.seed,
            },
            config='ecc' if args.name == 'ecc' else 'classify',
            notes=unused_columns(args.csv, table, args.split_column),
            workers=args.workers,
        )

    return report(parser, prepare, dataset_folder(args.data_dir, args.name))


def _make_parser() -> Parser:
    parser = base_parser(
        'data_prep.candidates',
        'Cubes around labelled points of any scans. The CSV file has the columns scan, x, y, z, '
        'label and, if a patient has several scans, patient (default: each scan is one).',
        otherwise='from --extent',
    )
    parser.add_argument(
        '--source',
        type=existing_folder,
        required=True,
        metavar='DIR',
        help='folder that holds the scans, at any depth: .mhd, .mha, .nii, .nii.gz, .nrrd, .nhdr, '
        'DICOM series',
    )
    parser.add_argument(
        '--csv',
        type=folder,
        required=True,
        metavar='FILE',
        help='the points; scan is a path below the source, with or without the suffix; of a DICOM '
        'series, its folder or folder/series UID',
    )
    parser.add_argument('--name', default='ecc', help='of the dataset (default: ecc)')
    parser.add_argument(
        '--modality',
        choices=MODALITIES,
        default='ct',
        help="ct: values are HU; mri, other: the window is the scan's own range (default: ct)",
    )
    parser.add_argument(
        '--coordinates',
        choices=('world', 'voxel'),
        default='world',
        help='world: mm in LPS, as in DICOM and ITK (of RAS, as in NIfTI and 3D Slicer, negate x '
        'and y); voxel: indices from 0 along the axes of the file (default: world)',
    )
    parser.add_argument(
        '--classes',
        type=_names,
        metavar='NAME,NAME,...',
        help='class names by index; the CSV holds names or indices (default: as in the CSV, 0 '
        'negative and 1 positive, else in alphabetical order)',
    )
    parser.add_argument(
        '--folds',
        type=number(int, 2),
        default=3,
        metavar='K',
        help='to deal the patients into (default: 3)',
    )
    parser.add_argument(
        '--split_column',
        metavar='COLUMN',
        help='of the CSV, instead of --folds: train, validation, test; or fold numbers from 0',
    )
    add_cube_size(parser, default=(64, 64, 64))
    parser.add_argument(
        '--extent',
        type=number(float, 1e-3),
        default=20.0,
        metavar='MM',
        help='of a cube along x: scans are resampled to this over its voxels along x, alike along '
        'all axes (default: 20)',
    )
    parser.add_argument('--native', action='store_true', help="keep every scan's own spacing")
    return parser


def list_cases(
    scans: Sequence[Scan],
    table: Path,
    rows: Rows,
    classes: Sequence[str],
    split_column: str | None,
    folds: int,
    seed: int,
) -> list[Case]:
    """Every scan that the table names, with its points and its split.

    Raises:
      PrepareError: naming the row which has no scan, an unknown class or split, or contradicts
        another row about its patient or split.
    """
    indices = {name: index for index, name in enumerate(classes)}
    indices |= {str(index): index for index in range(len(classes)) if str(index) not in indices}
    points: dict[str, list] = {}
    patients, splits = _Once(table, 'scan', 'patient'), _Once(table, 'patient', 'split')
    found: dict[str, Scan] = {}
    for line, row, scan in with_scans(rows, scans, table, 'source'):
        if row['label'] not in indices:
            raise PrepareError(
                f'{table}, row {line}: the label is {row["label"]!r}, expected one of '
                f'{", ".join(classes)}; correct it or give --classes'
            )
        if 'patient' in row and not row['patient']:
            raise PrepareError(f'{table}, row {line}: the column patient is empty; fill it in')
        patient = row.get('patient') or scan.scan_id
        patients.set(scan.scan_id, patient, line)
        if split_column:
            splits.set(patient, _split(table, line, row[split_column]), line)
        position = parse_position(table, line, row, 'xyz')
        points.setdefault(scan.scan_id, []).append((line, position, indices[row['label']]))
        found[scan.scan_id] = scan
    if split_column:
        _check_alike(table, splits.values)
        split_of = {patient: split for patient, (split, _) in splits.values.items()}
    else:
        dealt = deal({patient for patient, _ in patients.values.values()}, folds, seed)
        split_of = {patient: f'fold_{fold}' for patient, fold in dealt.items()}
    cases = []
    for scan_id, scan in found.items():
        patient = patients.values[scan_id][0]
        split = split_of[patient]
        number = FIXED_SPLITS.index(split) if split in FIXED_SPLITS else int(split[5:])
        source = (scan, gather(points[scan_id]))
        cases.append(Case(scan_id, patient, split, number, scan.shown, source))
    return cases


class _Once:
    """What rows say about a key, which must be the same everywhere."""

    def __init__(self, table: Path, key: str, value: str):
        self._table, self._key, self._value = table, key, value
        self.values: dict[str, tuple[Any, int]] = {}

    def set(self, key: str, value: str, line: int) -> None:
        known, first = self.values.setdefault(key, (value, line))
        if known != value:
            raise PrepareError(
                f'{self._table}, row {line}: the {self._key} {key} has the {self._value} {value}, '
                f'but {known} in row {first}; it can have one only'
            )


def _split(table: Path, line: int, text: str) -> str:
    if text in FIXED_SPLITS:
        return text
    match = _FOLD.fullmatch(text)
    if not match:
        raise PrepareError(
            f'{table}, row {line}: the split is {text!r}, expected {", ".join(FIXED_SPLITS)} or a '
            'fold number from 0 to 999; correct it'
        )
    return f'fold_{int(match[1])}'


def _check_alike(table: Path, splits: Mapping[str, tuple[str, int]]) -> None:
    """Refuses names and fold numbers in one table."""
    first: dict[bool, tuple[str, int]] = {}
    for split, line in splits.values():
        first.setdefault(split in FIXED_SPLITS, (split, line))
    if len(first) == 2:
        (split, line), (other, other_line) = first.values()
        raise PrepareError(
            f'{table}, row {other_line}: the split is {other}, but {split} in row {line}; give '
            'every row a name of a split, or every row a fold number'
        )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(','))
    if len(names) < 2 or '' in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f'expected at least two different names, found {text!r}')
    return names


if __name__ == '__main__':
    sys.exit(main())
