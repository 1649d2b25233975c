"""DICOM series and their SEG or RTSTRUCT, as hospitals keep them: python -m data_prep.dicom_labels

    python -m data_prep.dicom_labels --source=ARCHIVE --name=organs --modality=ct \
        --classes=liver,kidney

They may lie anywhere below the source: labels are matched to series by the series, images or frame
of reference that they name. Series without labels are passed over. Classes are names of segments
and ROIs; a scan that lacks one has background there.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from data_prep.build.masks import Reading
from data_prep.build.options import add_modality
from data_prep.build.segmentation import (
    Plan,
    add_random_patches,
    random_patches,
    run_segmentation,
    segmentation_parser,
)
from data_prep.splits.draws import assign_folds
from data_prep.splits.options import BY_FOLDER, add_patient_pattern
from data_prep.splits.patients import how_split, infer_patients, patient_of
from data_prep.types import Job, LabelledSeries, listed
from genesis_jax.cli.arguments import number
from genesis_jax.errors import PrepareError, ScanError
from genesis_jax.imaging.dicom_labels import LabelFile, match, read_label_file
from genesis_jax.imaging.scans import Scan, find_with_objects
from genesis_jax.imaging.seg_reading import name_key

_HIGHEST_CLASS = 254


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares labelled DICOM series and returns the exit status."""
    parser = segmentation_parser(
        'data_prep.dicom_labels',
        'Patches of DICOM series that have a DICOM SEG or RTSTRUCT, at any depth.',
        same_grid=False,
    )
    add_random_patches(parser)
    add_modality(parser, None)
    text = (
        'names of segments or ROIs, in any case, by class index from 1 on; a voxel of several is '
        'of the last, which the summary counts'
    )
    parser.option('classes', _names, 'NAME,...', text, otherwise='all, in alphabetical order')
    parser.option('folds', number(int, 2), 'N', 'folds by patient', '5')
    add_patient_pattern(parser, 'scan', '(.*)/', BY_FOLDER)
    args = parser.parse_args(argv)

    def make_plan() -> Plan:
        labelled, lines = find_labelled(args.source)
        classes = args.classes or _all_names(labelled.values())
        patients = _patients(list(labelled), args.patient_pattern)
        fold_of = assign_folds(patients.values(), args.folds, args.seed)
        jobs = []
        for scan, files in labelled.items():
            patient = patients[scan.scan_id]
            fold = fold_of[patient]
            source = LabelledSeries(scan, tuple(files), classes)
            jobs.append(Job(scan.scan_id, patient, f'fold_{fold}', fold, scan.shown, source))
        reading = Reading(
            modality=args.modality,
            channels=1,
            classes={index: index for index in range(len(classes) + 1)},
            declared_by='--classes',
            spacing=args.spacing,
            seed=args.seed,
        )
        lines = [
            *lines,
            *_lines(labelled.values(), classes),
            *how_split(patients, args.patient_pattern),
        ]
        names = ['background', *classes]
        return Plan(
            jobs, reading, names, [args.modality.upper()], {'source': 'dicom'}, 'segment', lines
        )

    return run_segmentation(parser, args, make_plan, random_patches(args))


def find_labelled(source: Path) -> tuple[dict[Scan, list[LabelFile]], list[str]]:
    """The DICOM series below a folder that have labels, with these, and lines on all else.

    Raises:
      PrepareError: there is none.
    """
    lines: list[str] = []
    scans, objects = find_with_objects(source, lines.append)
    if others := [scan.shown for scan in scans if not scan.is_dicom]:
        lines.append(f'Passed over, as no DICOM: {len(others)} ({listed(others)})')
        scans = [scan for scan in scans if scan.is_dicom]
    files: list[LabelFile] = []
    for kind, paths in sorted(objects.items()):
        passed = 0
        for path in paths:
            try:
                file = read_label_file(path)
            except ScanError as error:
                lines.append(f'{path.relative_to(source).as_posix()} {error}')
                continue
            passed += file is None
            files += [file] if file else []
        if passed:
            lines.append(f'Passed over, as DICOM of another kind: {kind}, {passed}')
    if copies := len(files) - len({file.uid for file in files}):
        lines.append(f'Copies of label files, left out: {copies}')
    owned, strays = match(scans, files)
    labelled = {scan: owned[scan.scan_id] for scan in scans if scan.scan_id in owned}
    if not labelled:
        raise PrepareError(
            f'{source} holds {len(scans)} DICOM series and {len(files)} SEG or RTSTRUCT, none of '
            'which names one of the series; add what is missing or check --source'
        )
    if strays:
        names = listed([file.path.relative_to(source).as_posix() for file in strays])
        lines.append(f'Labels of no series here: {len(strays)} ({names})')
    if without := [scan.shown for scan in scans if scan not in labelled]:
        lines.append(f'Series without labels, passed over: {len(without)} ({listed(without)})')
    return labelled, lines


def _patients(scans: Sequence[Scan], pattern: re.Pattern | None) -> dict[str, str]:
    if pattern is None:
        return infer_patients(scans)
    return {scan.scan_id: patient_of(scan.scan_id, pattern, 'scan') for scan in scans}


def _all_names(labelled: Iterable[Sequence[LabelFile]]) -> tuple[str, ...]:
    """Every name in the files, as it is written first, in alphabetical order."""
    first: dict[str, str] = {}
    for files in labelled:
        for file in files:
            for name in file.names:
                first.setdefault(name_key(name), name)
    first.pop('background', None)
    if not first:
        raise PrepareError(
            'the labels hold no segment and no ROI with a closed contour; add labels that do or '
            'check --source'
        )
    if len(first) > _HIGHEST_CLASS:
        raise PrepareError(
            f'the labels have {len(first)} names, and a dataset at most {_HIGHEST_CLASS} classes; '
            'choose some with --classes'
        )
    return tuple(first[key] for key in sorted(first))


def _lines(labelled: Collection[Sequence[LabelFile]], classes: Sequence[str]) -> list[str]:
    """What the labels are called, and how often; what is left out and what is missing.

    Raises:
      PrepareError: no file holds any of the classes.
    """
    held = [{name_key(name): name for file in files for name in file.names} for files in labelled]
    counts = Counter(key for names in held for key in names)
    shown = {key: name for names in reversed(held) for key, name in names.items()}
    every = ', '.join(f'{shown[key]} {counts[key]}' for key in sorted(counts))
    keys = [name_key(name) for name in classes]
    if not any(counts[key] for key in keys):
        raise PrepareError(
            f'no labels are called {", ".join(classes)}; they are called (with numbers of scans): '
            f'{every or "nothing"}; correct --classes'
        )
    lines = [f'Labels, with numbers of scans: {every}']
    unfilled = Counter(
        name for files in labelled for name in {one for file in files for one in file.unfilled}
    )
    if unfilled:
        names = listed([f'{name} {unfilled[name]}' for name in sorted(unfilled)])
        lines.append(f'No labels, as ROIs without a closed contour, with numbers of scans: {names}')
    if left := sorted(set(counts) - set(keys)):
        lines.append(f'Left out, as not in --classes: {listed([shown[key] for key in left])}')
    used = sum(not names.keys().isdisjoint(keys) for names in held)
    for name, key in zip(classes, keys, strict=True):
        if lacking := used - counts[key]:
            lines.append(f'Scans without {name}, where it counts as background: {lacking}')
    return lines


def _names(text: str) -> tuple[str, ...]:
    """An argparse type: different names, in any case."""
    names = tuple(name.strip() for name in text.split(','))
    keys = {name_key(name) for name in names}
    if len(keys - {'', 'background'}) < len(names):
        raise argparse.ArgumentTypeError(
            f'expected different names, none of them background, found {text!r}'
        )
    return names


if __name__ == '__main__':
    sys.exit(main())
