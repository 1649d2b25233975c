"""A folder of scans to a dataset: python -m data_prep.scans --source=DIR --name=N --modality=ct"""

import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.options import existing_folder, make_parser, run
from data_prep.prepare import Entry, PrepareError, validating
from data_prep.split_options import add_validation_share
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
    add_validation_share(parser, 'scans')
    args = parser.parse_args(argv)
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
    held_out = validating((scan.scan_id for scan in scans), validation_share, seed)
    return [
        Entry(scan, 'validation', 1) if scan.scan_id in held_out else Entry(scan, 'train', 0)
        for scan in scans
    ]


if __name__ == '__main__':
    sys.exit(main())
