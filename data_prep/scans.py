"""A folder of scans to a dataset: python -m data_prep.scans --source=DIR --name=N --modality=ct"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.build.options import make_parser, run
from data_prep.splits.options import BY_FOLDER, add_patient_pattern, add_validation_share
from data_prep.splits.patients import (
    infer_patients,
    like_sequences,
    patient_of,
    split_by_patient,
    split_line,
)
from data_prep.types import Job
from genesis_jax.cli.arguments import existing_folder
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.label_files import without_labels
from genesis_jax.imaging.volumes import MODALITIES, find_scans


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares a folder of scans and returns the exit status."""
    parser = make_parser(
        'data_prep.scans',
        'Cubes of all scans below a folder: .mhd, .mha, .nii, .nii.gz, .nrrd, .nhdr, DICOM series. '
        'Files that are labels by their names (CASE_seg, CASE_mask, labelsTr/, ...) are left out.',
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
    add_validation_share(parser, 'patients')
    add_patient_pattern(parser, 'scan', '([^/]*)_visit', BY_FOLDER)
    args = parser.parse_args(argv)
    return run(
        parser,
        args,
        name=args.name,
        modality=args.modality,
        list_jobs=lambda: list_jobs(
            args.source, args.validation_share, args.seed, args.patient_pattern
        ),
    )


def list_jobs(
    source: Path, validation_share: float, seed: int, pattern: re.Pattern | None = None
) -> tuple[list[Job], list[str]]:
    """Every scan below the source, split by patient, and lines on what decided that.

    Files that are labels by their names are left out. Without a `pattern` that finds the patient in
    a scan's id, folders and files tell: see `patients.infer_patients`.

    Raises:
      PrepareError: there is no scan, one only, or they are of one patient.
    """
    scans = find_scans(source)
    if not scans:
        raise PrepareError(
            f'{source} holds no scan (.mhd, .mha, .nii, .nii.gz, .nrrd, .nhdr or DICOM); '
            'check --source'
        )
    scans, notes = without_labels(scans, source, 'name the folder of the scans with --source')
    if len(scans) == 1:
        raise PrepareError(f'one scan found in {source}, at least two needed to split by scan')
    if pattern is None:
        patients = infer_patients(scans)
    else:
        patients = {scan.scan_id: patient_of(scan.scan_id, pattern, 'scan') for scan in scans}
    jobs = split_by_patient(scans, patients, validation_share, seed, 'scans')
    return jobs, [*notes, *_how(patients, pattern)]


def _how(patients: Mapping[str, str], pattern: re.Pattern | None) -> list[str]:
    """Lines on what told the patients."""
    names = sorted(set(patients.values()))
    if pattern is not None:
        return [split_line(names)]
    if len(names) < len(patients):
        shown = ', '.join(names[:3]) + (', ...' if names[3:] else '')
        how = f'told by folders and files ({shown}); if they are not, give --patient_pattern'
        doubt = like_sequences(patients)
        return [split_line(names, how), *([doubt] if doubt else [])]
    return [
        'Split: by scan, each as a patient of its own; where there are several of one, '
        '--patient_pattern keeps them in one split'
    ]


if __name__ == '__main__':
    sys.exit(main())
