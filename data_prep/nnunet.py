"""Any dataset in nnU-Net's or the Medical Decathlon's layout: python -m data_prep.nnunet --name=N

    python -m data_prep.nnunet --source=Dataset004_Hippocampus --name=hippocampus --data_dir=data

The source holds dataset.json, imagesTr and labelsTr. nnU-Net (version 2) has one file per channel,
imagesTr/CASE_0000.nii.gz; the Decathlon one 4D file per scan, listed in dataset.json.

If labelsTs is there, its scans are the test split, and training scans are split into train and
validation. Else the scans are assigned to folds by patient, or as splits_final.json in the source
says, nnU-Net's own file.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.build.masks import Reading
from data_prep.build.segmentation import (
    Plan,
    add_random_patches,
    random_patches,
    run_segmentation,
    segmentation_parser,
)
from data_prep.formats.dataset_json import DatasetJson, list_files, read_dataset_json, read_splits
from data_prep.splits.draws import assign_folds, pick_validation
from data_prep.splits.options import add_patient_pattern, add_validation_share
from data_prep.splits.patients import patient_of
from data_prep.types import SPLITS, Files, Job
from genesis_jax.cli.arguments import number
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import unused
from genesis_jax.imaging.volumes import MODALITIES

_FOLDS = 5  # as nnU-Net
_DESCRIPTIONS = ('dataset.json', 'splits_final.json')


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares a dataset of these layouts and returns the exit status."""
    parser = segmentation_parser(
        'data_prep.nnunet', "Patches of scans in nnU-Net's or the Medical Decathlon's layout."
    )
    add_random_patches(parser)
    text = 'ct: values are HU; mri, other: the window is the robust range of each channel'
    otherwise = 'ct if dataset.json calls every channel CT, else mri or other'
    parser.option('modality', MODALITIES, None, text, otherwise=otherwise)
    text = 'folds by patient of the training scans'
    otherwise = (
        f'{_FOLDS}, or those of splits_final.json; none if labelsTs holds a test set, which this '
        'option leaves unused'
    )
    parser.option('folds', number(int, 2), 'N', text, otherwise=otherwise)
    add_validation_share(parser, 'training patients, if labelsTs holds a test set')
    add_patient_pattern(parser, 'scan', '(.*)_visit')
    args = parser.parse_args(argv)

    def make_plan() -> Plan:
        declared = read_dataset_json(args.source)
        reading = Reading(
            modality=args.modality or declared.modality,
            channels=len(declared.channels),
            classes={value: index for index, value in enumerate(declared.labels.values())},
            declared_by='dataset.json',
            spacing=args.spacing,
            same_grid=args.same_grid,
            seed=args.seed,
        )
        jobs = list_jobs(
            args.source, declared, args.folds, args.validation_share, args.patient_pattern,
            args.seed,
        )  # fmt: skip
        notes = {'source': 'nnunet', 'dataset': declared.name}
        classes = list(declared.labels)
        used = [path for job in jobs for path in (*job.source.images, job.source.label)]
        known = [args.source / name for name in _DESCRIPTIONS]
        lines = unused(args.source, used, known)
        return Plan(jobs, reading, classes, declared.channels, notes, declared.config, lines)

    return run_segmentation(parser, args, make_plan, random_patches(args))


def list_jobs(
    source: Path,
    declared: DatasetJson,
    folds: int | None,
    validation_share: float,
    pattern: re.Pattern | None,
    seed: int,
) -> list[Job]:
    """Every labelled scan and its split; see the module."""
    training = list_files(source, declared, 'Tr')
    test = list_files(source, declared, 'Ts') if folds is None else {}
    patients = {scan_id: patient_of(scan_id, pattern, 'scan') for scan_id in [*training, *test]}
    if both := sorted(set(training) & set(test)):
        raise PrepareError(f'the scan {both[0]} is in labelsTr and in labelsTs; remove one of them')
    if test:
        placed = _fixed(training, test, patients, validation_share, seed)
    else:
        placed = (None if folds else read_splits(source, list(training))) or {}
        if not placed:
            fold_of = assign_folds(patients.values(), folds or _FOLDS, seed)
            placed = {scan_id: fold_of[patients[scan_id]] for scan_id in training}
    named = SPLITS if test else [f'fold_{fold}' for fold in range(1 + max(placed.values()))]
    files = training | test
    return [
        Job(
            scan_id=scan_id,
            patient=patients[scan_id],
            split=named[fold],
            fold=fold,
            shown=files[scan_id].label.relative_to(source).as_posix(),
            source=files[scan_id],
        )
        for scan_id, fold in placed.items()
    ]


def _fixed(
    training: Mapping[str, Files],
    test: Mapping[str, Files],
    patients: Mapping[str, str],
    validation_share: float,
    seed: int,
) -> dict[str, int]:
    """0, 1 or 2 for train, validation, test, by scan."""
    groups = {patients[scan_id] for scan_id in training}
    if len(groups) < 2:
        raise PrepareError('labelsTr holds one patient only; training and validation need two')
    held_out = pick_validation(groups, validation_share, seed)
    placed = {scan_id: int(patients[scan_id] in held_out) for scan_id in training}
    return placed | dict.fromkeys(test, 2)


if __name__ == '__main__':
    sys.exit(main())
