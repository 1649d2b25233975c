"""A folder of scans to a dataset: python -m data_prep.scans --source=DIR --name=N --modality=ct

    python -m data_prep.scans --source=BRATS --name=brats --modality=mri --channels=t1,flair
    python -m data_prep.scans --source=CTS --name=heart --modality=ct --inside=HEARTS

A scan is one file or DICOM series; with --channels it is a file for each channel, named by it
(CASE_t1, CASE_t1ce, ...) or numbered as in nnU-Net (CASE_0000, CASE_0001, ...), or one 4D file.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.build.options import SCANS, add_modality, make_parser, run
from data_prep.build.regions import add_regions, regions_of, with_masks
from data_prep.sampling.cubes import CubeRule, default_rule
from data_prep.splits.options import BY_FOLDER, add_patient_pattern, add_validation_share
from data_prep.splits.patients import how_split, infer_patients, patient_of, split_by_patient
from data_prep.types import Job, listed
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.label_files import without_labels
from genesis_jax.imaging.scans import Scan, find_scans

_CHANNEL = re.compile(r'(?P<scan>.+)[-_.](?P<end>[^-_./]+)')  # at the end of a scan's id


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares a folder of scans and returns the exit status."""
    parser = make_parser(
        'data_prep.scans',
        f'Patches of all scans below a folder: {SCANS}. '
        'Files that are labels by their names (CASE_seg, CASE_mask, labelsTr/, ...) are skipped.',
        'folder that holds the scans, at any depth',
        '',
        any_scans=True,
    )
    add_modality(parser, None)
    text = (
        'of a scan: its files end in these names (CASE_t1, CASE_flair) or in 0000, 0001, ... in '
        'this order; or it is one 4D file'
    )
    otherwise = 'every file is a scan of one channel'
    parser.option('channels', _channels, 'NAME,...', text, otherwise=otherwise)
    add_regions(parser)
    add_validation_share(parser, 'patients')
    add_patient_pattern(parser, 'scan', '([^/]*)_visit', BY_FOLDER)
    args = parser.parse_args(argv)
    channels, regions = args.channels or (), regions_of(parser, args)
    if args.rule == 'paper' and args.modality != 'ct':
        parser.error(
            f'--rule=paper is of chest CTs and --modality is {args.modality}; leave one of them out'
        )
    rule = CubeRule() if args.rule == 'paper' else default_rule(args.modality)

    def list_masked_jobs() -> tuple[list[Job], list[str]]:
        jobs, notes = list_jobs(
            args.source, args.validation_share, args.seed, args.patient_pattern, channels,
            [folder for folder in (args.inside, args.leave_out) if folder],
        )  # fmt: skip
        jobs, more = with_masks(jobs, args)
        return jobs, [*notes, *more]

    return run(parser, args, args.modality, rule, list_masked_jobs, channels, regions)


def list_jobs(
    source: Path,
    validation_share: float,
    seed: int,
    pattern: re.Pattern | None = None,
    channels: Sequence[str] = (),
    masks: Sequence[Path] = (),
) -> tuple[list[Job], list[str]]:
    """Every scan below the source, split by patient, and lines on what decided that.

    Files that are labels by their names are skipped, and with `channels` those of none of them; and
    all below the folders of `masks` that lie below the source. Without a `pattern` that finds the
    patient in a scan's id, folders and files tell: see `patients.infer_patients`.

    Raises:
      PrepareError: there is no scan, one only, or they are of one patient.
    """
    notes: list[str] = []
    scans = find_scans(source, notes.append)
    inner = {folder.resolve() for folder in masks} - {source.resolve(), *source.resolve().parents}
    scans = [scan for scan in scans if inner.isdisjoint(scan.files[0].resolve().parents)]
    if not scans:
        raise PrepareError(
            f'{source} holds no scan (.mhd, .mha, .nii, .nii.gz, .hdr, .nrrd, .nhdr or DICOM); '
            'check --source'
        )
    scans, lines = without_labels(scans, source, 'name the folder of the scans with --source')
    notes += lines
    files: dict[str, tuple[Scan | None, ...]] = {scan.scan_id: (scan,) for scan in scans}
    if channels and (grouped := group_channels(scans, channels)):
        used = {file for own in grouped.values() for file in own}
        if other := [scan.shown for scan in scans if scan not in used]:
            notes.append(f'Skipped, as of no channel by their names: {listed(other)}')
        files = grouped
        named = {scan_id: next(filter(None, own)) for scan_id, own in files.items()}
        scans = [replace(scan, scan_id=scan_id) for scan_id, scan in named.items()]
    if len(scans) == 1:
        raise PrepareError(f'one scan found in {source}, at least two needed to split by scan')
    if pattern is None:
        patients = infer_patients(scans)
    else:
        patients = {scan.scan_id: patient_of(scan.scan_id, pattern, 'scan') for scan in scans}
    jobs = split_by_patient(scans, patients, validation_share, seed, 'scans')
    jobs = [replace(job, source=files[job.scan_id]) for job in jobs]
    return jobs, [*notes, *how_split(patients, pattern)]


def group_channels(
    scans: Sequence[Scan], channels: Sequence[str]
) -> dict[str, tuple[Scan | None, ...]]:
    """The files of every scan, one per channel, by what their names have in common.

    None stands for a file that is not there. Nothing, if no name ends in a channel or its number.

    Raises:
      PrepareError: two files are the same channel of a scan.
    """
    grouped: dict[str, list[Scan | None]] = {}
    for endings in ([name.lower() for name in channels], [f'{n:04}' for n in range(len(channels))]):
        for scan in scans:
            match = _CHANNEL.fullmatch(scan.scan_id)
            if not match or match['end'].lower() not in endings:
                continue
            name, place = match['scan'], endings.index(match['end'].lower())
            files = grouped.setdefault(name, [None] * len(channels))
            if first := files[place]:
                raise PrepareError(
                    f'{first.shown} and {scan.shown} are both {channels[place]} of {name}; '
                    'keep one of them'
                )
            files[place] = scan
        if grouped:
            break
    return {name: tuple(files) for name, files in grouped.items()}


def _channels(text: str) -> tuple[str, ...]:
    """An argparse type: names of channels."""
    names = tuple(text.split(','))
    alike = len({name.lower() for name in names}) < len(names)
    if alike or not all(re.fullmatch('[A-Za-z0-9]+', name) for name in names):
        raise argparse.ArgumentTypeError(
            f'expected different names of letters and digits, found {text!r}'
        )
    return names


if __name__ == '__main__':
    sys.exit(main())
