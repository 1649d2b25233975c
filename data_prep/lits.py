"""LiTS 2017 to the dataset `lcs`: python -m data_prep.lits --source=DIR --data_dir=DIR

The source holds volume-N.nii and segmentation-N.nii (or .nii.gz) at any depth, as in its two
"Training Batch" folders. Liver and lesions are one class by default, as in the paper, which takes
scans 0-99 for training, 100-114 for validation and 115-129 for the test.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.build.masks import Reading
from data_prep.build.segmentation import (
    Plan,
    add_random_patches,
    random_patches,
    run_segmentation,
    segmentation_parser,
)
from data_prep.types import SPLITS, Files, Job
from genesis_jax.cli.arguments import number
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import unused, walk

_FILE = re.compile(r'(volume|segmentation)-(\d+)\.nii(\.gz)?', re.IGNORECASE)


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares LiTS and returns the exit status."""
    parser = segmentation_parser('data_prep.lits', 'Patches of the LiTS abdominal CT scans.', 'lcs')
    add_random_patches(parser)
    text = (
        'how many indices, from 0 on, train, validate and test; scans of higher indices are skipped'
    )
    otherwise = '%(default)s: scans 0-99, 100-114 and 115-129, as in the paper'
    parser.option('split', _counts, 'N,N,N', text, '100,15,15', otherwise)
    parser.switch('lesion', 'keep lesions as a class of their own (default: they count as liver)')
    args = parser.parse_args(argv)
    classes = ('background', 'liver', 'lesion') if args.lesion else ('background', 'liver')

    def make_plan() -> Plan:
        reading = Reading(
            modality='ct',
            channels=1,
            classes={0: 0, 1: 1, 2: len(classes) - 1},
            declared_by='LiTS',
            spacing=args.spacing,
            same_grid=args.same_grid,
            seed=args.seed,
        )
        jobs = list_jobs(args.source, args.split)
        notes = {'source': 'lits', 'split': args.split}
        lines = _left(args.source, jobs)
        return Plan(jobs, reading, classes, ('CT',), notes, 'lcs', lines)

    return run_segmentation(parser, args, make_plan, random_patches(args))


def list_jobs(source: Path, split: Sequence[int]) -> list[Job]:
    """Every scan with its labels, split by index; each is a patient."""
    files: dict[str, dict[int, Path]] = {'volume': {}, 'segmentation': {}}
    for path in (path for _, paths in walk(source) for path in paths):
        if match := _FILE.fullmatch(path.name):
            kind, index = match[1].lower(), int(match[2])
            if first := files[kind].get(index):
                raise PrepareError(f'{first} and {path} are the same {kind}; keep one of them')
            files[kind][index] = path
    volumes, labels = files.values()
    if not volumes:
        raise PrepareError(f'{source} holds no volume-N.nii or .nii.gz; check --source')
    for kind, index in _unpaired(volumes, labels):
        other = (volumes | labels)[index]
        raise PrepareError(
            f'{other.relative_to(source)} has no {kind}-{index}.nii or .nii.gz; add it or move the '
            'other away'
        )
    ends = [sum(split[: place + 1]) for place in range(3)]
    jobs = []
    for index in sorted(volumes):
        fold = next((place for place, end in enumerate(ends) if index < end), None)
        if fold is None:
            continue
        path = volumes[index]
        jobs.append(
            Job(
                scan_id=f'volume-{index}',
                patient=f'volume-{index}',
                split=SPLITS[fold],
                fold=fold,
                shown=path.relative_to(source).as_posix(),
                source=Files((path,), labels[index]),
            )
        )
    present = {job.split for job in jobs}
    for fold, name in enumerate(SPLITS):
        if name not in present:
            start = ends[fold] - split[fold]
            raise PrepareError(
                f'{source} holds no scan {start} to {ends[fold] - 1} for the split {name} (found: '
                f'{min(volumes)} to {max(volumes)}); add them or give another --split'
            )
    return jobs


def _left(source: Path, jobs: Sequence[Job]) -> list[str]:
    """Lines on scans beyond the split, and on files of other names."""
    named = [path for _, paths in walk(source) for path in paths if _FILE.fullmatch(path.name)]
    beyond = len(named) // 2 - len(jobs)
    lines = [f'Scans skipped, of indices beyond --split: {beyond}'] if beyond else []
    return lines + unused(source, named)


def _unpaired(volumes: dict[int, Path], labels: dict[int, Path]) -> list[tuple[str, int]]:
    """What is missing: its kind and index."""
    missing = [('segmentation', index) for index in sorted(set(volumes) - set(labels))]
    return missing + [('volume', index) for index in sorted(set(labels) - set(volumes))]


def _counts(text: str) -> tuple[int, ...]:
    words = text.split(',')
    if len(words) != 3:
        raise argparse.ArgumentTypeError(f'expected three numbers of scans, found {text!r}')
    return tuple(number(int, 1)(word) for word in words)


if __name__ == '__main__':
    sys.exit(main())
