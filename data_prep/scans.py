"""A folder of scans to a dataset: python -m data_prep.scans --source=DIR --name=N --modality=ct"""

import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.options import existing_folder, make_parser, run
from data_prep.prepare import Entry, PrepareError, digest
from data_prep.volumes import MODALITIES, find_scans


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares a folder of scans and returns the exit status."""
    parser = make_parser(
        'data_prep.scans',
        'Cubes of all scans below a folder: .mhd, .mha, .nii, .nii.gz, .nrrd, .nhdr, DICOM series.',
    )
    parser.add_argument(
        '--source',
        type=existing_folder,
        required=True,
        metavar='DIR',
        help='folder that holds the scans, at any depth',
    )
    parser.add_argument('--name', required=True, help='of the dataset: letters, digits and _')
    parser.add_argument(
        '--modality',
        choices=MODALITIES,
        required=True,
        help="ct: values are HU; mri, other: the window is the scan's own range",
    )
    parser.add_argument(
        '--validation_share',
        type=float,
        default=0.2,
        metavar='SHARE',
        help='of the scans, at least one (default: 0.2)',
    )
    args = parser.parse_args(argv)
    if not 0 < args.validation_share < 1:
        parser.error(
            f'--validation_share is {args.validation_share:g}; choose a share between 0 and 1'
        )
    return run(
        parser,
        args,
        name=args.name,
        modality=args.modality,
        list_entries=lambda: list_entries(args.source, args.validation_share, args.seed),
    )


def list_entries(source: Path, validation_share: float, seed: int) -> list[Entry]:
    """Every scan below the source, split by scan: fold 0 trains, fold 1 validates."""
    scans = find_scans(source)
    if not scans:
        raise PrepareError(
            f'{source} holds no scan (.mhd, .mha, .nii, .nii.gz, .nrrd, .nhdr or DICOM); '
            'check --source'
        )
    if len(scans) == 1:
        raise PrepareError(f'one scan found in {source}, at least two needed to split by scan')
    count = min(max(1, round(validation_share * len(scans))), len(scans) - 1)
    ranked = sorted(scans, key=lambda scan: digest(seed, f'split {scan.scan_id}'))
    return [
        Entry(scan, 'validation', 1) if rank < count else Entry(scan, 'train', 0)
        for rank, scan in enumerate(ranked)
    ]


if __name__ == '__main__':
    sys.exit(main())
