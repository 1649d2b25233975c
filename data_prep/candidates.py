"""Scans and a CSV file of labelled points to a dataset: the way in for anybody's candidates.

    python -m data_prep.candidates --source=DIR --csv=FILE --name=ecc

The defaults are those of the paper's ECC, candidates of pulmonary embolism in the private PE-CAD:
patches of 64x64x64 voxels, 20 mm across, three folds by patient.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_prep.build.dataset import prepare
from data_prep.build.options import (
    SCANS,
    add_cube_size,
    add_modality,
    base_parser,
    destination,
    report,
)
from data_prep.build.points import cut_points
from data_prep.build.summary import Summary
from data_prep.formats.candidates_csv import (
    Rows,
    class_index,
    classes_of,
    read_table,
    unused_columns,
)
from data_prep.splits.options import add_table_options, refuse_folds
from data_prep.splits.table_splits import Allotment
from data_prep.types import Declaration, Job
from genesis_jax.cli.arguments import Parser, number, path
from genesis_jax.imaging.points import PointRule, check_points, gather
from genesis_jax.imaging.scans import Scan, find_scans
from genesis_jax.imaging.tables import parse_position, with_scans

_COLUMNS = ('scan', 'x', 'y', 'z', 'label')


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares candidates and returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    refuse_folds(parser, args)
    if args.native and args.spacing:
        parser.error('--native and --spacing contradict each other; give one of them')
    spacing = args.spacing or (None if args.native else (args.extent / args.cube_size[0],) * 3)

    def work() -> Summary:
        rule = PointRule(
            args.cube_size, spacing, args.modality, args.coordinates == 'voxel', str(args.csv)
        )
        table = read_table(args.csv, _COLUMNS, args.split_column)
        classes = args.classes or classes_of(args.csv, table)
        told: list[str] = []
        scans = find_scans(args.source, told.append, [args.csv])
        jobs = list_jobs(scans, args.csv, table, classes, args.split_column, args.folds, args.seed)
        check_points([job.source for job in jobs], rule)
        channel = 'CT' if args.modality == 'ct' else args.modality.upper()
        return prepare(
            jobs,
            partial(cut_points, rule=rule),
            declaration=Declaration('classification', classes, (channel,), args.modality, spacing),
            size=args.cube_size,
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
            notes=[*told, *unused_columns(args.csv, table, args.split_column)],
            **destination(args),
        )

    return report(parser, args, work)


def _make_parser() -> Parser:
    parser = base_parser(
        'data_prep.candidates',
        'Patches around labelled points of any scans. The CSV file has the columns scan, x, y, z, '
        'label and, if a patient has several scans, patient (default: each scan is one).',
        f'folder that holds the scans, at any depth: {SCANS}',
        'ecc',
        otherwise='from --extent',
    )
    text = (
        'the points; scan is a path below the source, with or without the suffix; of a DICOM '
        'series, its folder or folder/series UID'
    )
    parser.option('csv', path, 'FILE', text, required=True)
    add_modality(parser)
    text = (
        'world: mm in LPS, as in DICOM and ITK (of RAS, as in NIfTI and 3D Slicer, negate x and '
        'y); voxel: indices from 0 along the axes of the file'
    )
    parser.option('coordinates', ('world', 'voxel'), None, text, 'world')
    add_table_options(parser)
    add_cube_size(parser, '64,64,64')
    text = (
        'of a patch along x: scans are resampled to this over its voxels along x, alike along all '
        'axes'
    )
    parser.option('extent', number(float, 1e-3), 'MM', text, '20')
    parser.switch('native', "keep every scan's own spacing")
    return parser


def list_jobs(
    scans: Sequence[Scan],
    table: Path,
    rows: Rows,
    classes: Sequence[str],
    split_column: str | None,
    folds: int,
    seed: int,
) -> list[Job]:
    """Every scan that the table names, with its points and its split.

    Raises:
      PrepareError: naming the row which has no scan, an unknown class or split, or contradicts
        another row about its patient or split.
    """
    points: dict[str, list] = {}
    allotment = Allotment(table, 'scan', split_column, folds, seed)
    scan_of: dict[str, Scan] = {}
    for line, row, scan in with_scans(rows, scans, table, 'source'):
        label = class_index(table, line, row['label'], classes)
        allotment.add(line, row, scan.scan_id, otherwise=scan.scan_id)
        position = parse_position(table, line, row, 'xyz')
        points.setdefault(scan.scan_id, []).append((line, position, label))
        scan_of[scan.scan_id] = scan
    return [
        Job(scan_id, *place, scan_of[scan_id].shown, (scan_of[scan_id], gather(points[scan_id])))
        for scan_id, place in allotment.places().items()
    ]


if __name__ == '__main__':
    sys.exit(main())
