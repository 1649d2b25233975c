"""BraTS 2013 to 2023 to the dataset `bms`: python -m data_prep.brats --source=DIR --data_dir=DIR

2017 to 2021: a folder per scan (in 2018 in HGG or LGG) with SCAN_{t1,t1ce,t2,flair,seg}.nii.gz.
2023: a folder per scan with SCAN-{t1n,t1c,t2w,t2f,seg}.nii.gz, such as BraTS-GLI-00000-000-t2f.
2013 (the VSD's layout): a folder per scan holds one folder per sequence, such as
VSD.Brain.XX.O.MR_Flair.54512, with a .mha in it, and one of the ground truth, VSD.Brain.XX.O.OT
or VSD.Brain_3more.XX.XX.OT. Scans are assigned to folds by patient.

The enhancing tumour is label 4, and in 2023 label 3, which in 2013 is core that does not enhance.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from data_prep.build.masks import Reading
from data_prep.build.segmentation import Plan, run_segmentation, segmentation_parser
from data_prep.sampling.patches import GridPatches
from data_prep.splits.draws import assign_folds
from data_prep.types import Files, Job
from genesis_jax.cli.arguments import number
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import unused, walk

CHANNELS = ('t1', 't1ce', 't2', 'flair')
_KINDS = {'t1n': 't1', 't1c': 't1ce', 't2w': 't2', 't2f': 'flair'}  # other names of the channels
_NIFTI = re.compile(
    rf'(?P<scan>.+)[_-](?P<kind>{"|".join((*CHANNELS, *_KINDS, "seg"))})\.nii(\.gz)?', re.IGNORECASE
)
_LABELS = re.compile(r'.*segm?\.nii(\.gz)?', re.IGNORECASE)  # as one case of 2020 has them
_VSD = re.compile(r'VSD\.Brain.*?\.(MR_(?P<kind>Flair|T1c|T1|T2)|(?P<truth>OT))\b.*\.mha', re.I)
# The last number of these names is the examination; in others, such as BraTS20_Training_001, the
# patient.
_EXAMINATION = re.compile(
    r'(.*(?:brats_(?:2013|tcia)_pat\d+|brats1[78]_\w+|brats-[a-z]+-\d+))[-_]\d+', re.IGNORECASE
)
_TREATED = re.compile(r'(.*/)?brats-gli-\d+-1\d\d', re.IGNORECASE)  # 2024, with other labels
_POSITIVE = {'whole': (1, 2, 3, 4), 'core': (1, 3, 4), 'enhancing': (3, 4)}
_IN_2013 = {**_POSITIVE, 'enhancing': (4,)}
# The published crops of 100 x 100 x 50 mm (voxels of 1 mm), resized to 64 x 64 x 32, are crops of
# 64 x 64 x 32 voxels of this spacing; so whole scans of this spacing look the same to the network.
_SPACING = '1.5625,1.5625,1.5625'


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares BraTS and returns the exit status."""
    parser = segmentation_parser(
        'data_prep.brats', 'Patches of the BraTS brain MRI scans.', 'bms', _SPACING
    )
    text = f'sequences of {", ".join(CHANNELS)}, in the order wanted'
    parser.option('channels', _channels, 'NAME,...', text, 'flair')
    text = 'what counts as tumour: all labels, all but oedema, or the enhancing part'
    parser.option('positive', tuple(_POSITIVE), None, text, 'whole')
    stride, content = f'{GridPatches.stride:g}', f'{GridPatches.min_content:g}'
    parser.option('stride', number(float, 0.1), 'MM', 'between patches', stride)
    text = 'keep patches in which this share of voxels is brain, that is, not the black around it'
    parser.option('min_brain', number(float, 0, 1), 'SHARE', text, content)
    parser.option('folds', number(int, 2), 'N', 'by patient', '3')
    args = parser.parse_args(argv)
    name = 'tumour' if args.positive == 'whole' else f'tumour_{args.positive}'

    def make_plan() -> Plan:
        jobs = list_jobs(args.source, args.channels, args.folds, args.seed)
        positive = _labels(args.positive, jobs)
        reading = Reading(
            modality='mri',
            channels=len(args.channels),
            classes={value: int(value in positive) for value in range(5)},
            declared_by='BraTS',
            spacing=args.spacing,
            full_range=True,
            same_grid=args.same_grid,
            seed=args.seed,
        )
        notes = {'source': 'brats', 'folds': args.folds}
        channels = [channel.upper() for channel in args.channels]
        used = [path for files in _find(args.source).values() for path in files.values()]
        lines = unused(args.source, used)
        lines += [
            f'Labels of {job.shown}, by the end of its name: {job.source.label.name}'
            for job in jobs
            if not any(names.fullmatch(job.source.label.name) for names in (_NIFTI, _VSD))
        ]
        return Plan(jobs, reading, ('background', name), channels, notes, 'bms', lines)

    rule = GridPatches(args.cube_size, args.stride, args.min_brain)
    return run_segmentation(parser, args, make_plan, rule)


def list_jobs(source: Path, channels: Sequence[str], folds: int, seed: int) -> list[Job]:
    """Every scan of either layout, with the files of these channels."""
    files_of = _find(source)
    if not files_of:
        raise PrepareError(
            f'{source} holds no CASE_flair.nii.gz, no CASE-t2f.nii.gz and no VSD.Brain....mha; '
            'check --source'
        )
    for scan_id, files in files_of.items():
        for kind in (*channels, 'seg'):
            if kind not in files:
                raise PrepareError(
                    f'{scan_id} has no file of {"its labels" if kind == "seg" else kind} (found: '
                    f'{", ".join(sorted(files))}); add it or move the scan away'
                )
        if _TREATED.fullmatch(scan_id):
            raise PrepareError(
                f'{scan_id} is of BraTS 2024 by its name, whose label 4 is a resection cavity; '
                'move it away, or prepare it with data_prep.nnunet'
            )
    patients = {scan_id: _EXAMINATION.sub(r'\1', scan_id) for scan_id in files_of}
    fold_of = assign_folds(patients.values(), folds, seed)
    return [
        Job(
            scan_id=scan_id,
            patient=patient,
            split=f'fold_{fold_of[patient]}',
            fold=fold_of[patient],
            shown=scan_id,
            source=Files(
                tuple(files_of[scan_id][kind] for kind in channels), files_of[scan_id]['seg']
            ),
        )
        for scan_id, patient in patients.items()
    ]


def _labels(positive: str, jobs: Sequence[Job]) -> tuple[int, ...]:
    """The values that count."""
    old = [job for job in jobs if job.source.label.name.lower().startswith('vsd.')]
    if positive == 'enhancing' and 0 < len(old) < len(jobs):
        raise PrepareError(
            f'{old[0].shown} is of BraTS 2013, where label 3 is core that does not enhance, and '
            'others are of later years, where it enhances; prepare them apart'
        )
    return (_IN_2013 if old else _POSITIVE)[positive]


def _find(source: Path) -> dict[str, dict[str, Path]]:
    """Files by kind, by scan; a scan is named by its folder below the source."""
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    others: dict[Path, list[Path]] = defaultdict(list)  # that are labels by the end of their names
    for path in (path for _, paths in walk(source) for path in paths):
        folder = path.parent
        if match := _NIFTI.fullmatch(path.name):
            kind = _KINDS.get(match['kind'].lower(), match['kind'].lower())
            if folder.name != match['scan']:
                folder = folder / match['scan']
        elif match := _VSD.fullmatch(path.name):
            kind = 'seg' if match['truth'] else match['kind'].lower()
            kind = _KINDS.get(kind, kind)
            if _VSD.fullmatch(f'{folder.name}.mha'):
                folder = folder.parent
        else:
            if _LABELS.fullmatch(path.name):
                others[path.parent].append(path)
            continue
        scan_id = folder.relative_to(source).as_posix()
        scan_id = source.resolve().name if scan_id == '.' else scan_id
        if first := files[scan_id].get(kind):
            raise PrepareError(
                f'{first.relative_to(source)} and {path.relative_to(source)} are the same of one '
                'scan; keep one of them'
            )
        files[scan_id][kind] = path
    _take_labels(files, others)
    return dict(files)


def _take_labels(files: dict[str, dict[str, Path]], others: dict[Path, list[Path]]) -> None:
    """Gives a scan without labels the only other file of labels in the folder that it has alone."""
    scans: dict[Path, list[dict[str, Path]]] = defaultdict(list)
    for own in files.values():
        for folder in {path.parent for path in own.values()}:
            scans[folder].append(own)
    for folder, labels in others.items():
        if len(labels) == len(scans[folder]) == 1:
            scans[folder][0].setdefault('seg', labels[0])


def _channels(text: str) -> tuple[str, ...]:
    words = tuple(text.lower().split(','))
    if not set(words) <= set(CHANNELS) or len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(
            f'expected different names of {", ".join(CHANNELS)}, found {text!r}'
        )
    return words


if __name__ == '__main__':
    sys.exit(main())
