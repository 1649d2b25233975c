r"""Axial slices of scans to a 2D dataset: python -m data_prep.slices --source=DIR

    python -m data_prep.slices --source=LUNA16 --data_dir=data
    python -m data_prep.slices --source=SCANS --name=mine --modality=mri --data_dir=data

A source that holds subset0 ... subset9 is LUNA16, whose folds split as in data_prep.luna16; any
other folder of scans is split by patient, as in data_prep.scans.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep import luna16, scans
from data_prep.build.dataset import prepare
from data_prep.build.options import (
    SCANS,
    add_image_size,
    add_modality,
    base_parser,
    destination,
    report,
)
from data_prep.build.summary import Summary
from data_prep.sampling.cubes import default_rule
from data_prep.splits.options import BY_FOLDER, add_patient_pattern, add_validation_share
from data_prep.types import Declaration, Job, Patch, Result
from genesis_jax.cli.arguments import Parser, number
from genesis_jax.imaging.fingerprints import voxel_hash
from genesis_jax.imaging.images import resized
from genesis_jax.imaging.slices import neighbours
from genesis_jax.imaging.volumes import (
    Modality,
    as_volume,
    oriented,
    read_image,
    resampled,
)


@dataclass(frozen=True)
class SliceCutter:
    """Which axial slices of a scan are taken, and how.

    Attributes:
      modality: decides unit, window and padding.
      size: pixels along x and y that a whole slice is resized to.
      channels: 1, or 3: each slice between the one below and the one above it (at the first and the
        last, that slice again).
      per_scan: slices at most, evenly spread over those that show enough.
      min_tissue: slices of this share of tissue or less are refused as air.
      spacing: mm to resample scans to first; None keeps every scan's own.
    """

    modality: Modality
    size: tuple[int, int] = (256, 256)
    channels: int = 1
    per_scan: int = 64
    min_tissue: float = 0.05
    spacing: tuple[float, float, float] | None = None

    def __call__(self, job: Job) -> Result:
        """The slices of one scan; their origin is the voxel 0, 0, z."""
        (scan,) = job.source
        stored = oriented(read_image(scan, self.modality))
        identity = voxel_hash([stored], self.modality)
        if self.spacing is not None:
            stored = resampled(stored, self.spacing, self.modality)
        volume = as_volume(stored, self.modality)
        rule = default_rule(self.modality).at_window(volume.window)
        usable = [
            bool((volume.voxels[:, :, z] >= rule.tissue_threshold).mean() > self.min_tissue)
            for z in range(volume.voxels.shape[2])
        ]
        taken = spread(np.flatnonzero(usable).tolist(), self.per_scan)
        images = np.empty((len(taken), *self.size, self.channels), np.int16)
        for image, z in zip(images, taken, strict=True):
            places = [z] if self.channels == 1 else neighbours(z, len(usable))
            for channel, place in enumerate(places):
                pixels = volume.clean(volume.voxels[:, :, place])
                image[..., channel] = np.rint(resized(pixels, self.size))
        scale = (*np.divide(volume.voxels.shape[:2], self.size), 1)
        return Result(
            [Patch(image, (0, 0, z)) for image, z in zip(images, taken, strict=True)],
            np.multiply(volume.spacing, scale).tolist(),
            np.tile(volume.window, (self.channels, 1)),
            identity=identity,
            tried=len(usable),
            air=len(usable) - sum(usable),
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares slices of scans and returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    folds = luna16.folds_of(parser, args)
    is_luna16 = any((args.source / f'subset{fold}').is_dir() for fold in range(10))
    _refuse_unused(parser, args, is_luna16)

    def work() -> Summary:
        if is_luna16:
            notes = ['Split: by the folds of LUNA16']
            jobs = luna16.list_jobs(args.source, folds, notes.append)
        else:
            jobs, notes = scans.list_jobs(
                args.source, args.validation_share, args.seed, args.patient_pattern
            )
        return prepare(
            jobs,
            cutter,
            declaration=Declaration(
                None, (), [args.modality.upper()] * args.channels, args.modality, args.spacing
            ),
            size=args.size,
            recipe={**vars(cutter), 'seed': args.seed},
            config='genesis_ct_2d',
            parts='slices',
            notes=notes,
            **destination(args),
        )

    cutter = SliceCutter(
        args.modality,
        args.size,
        args.channels,
        args.slices_per_scan,
        args.min_tissue,
        args.spacing,
    )
    return report(parser, args, work)


def _refuse_unused(parser: Parser, args: argparse.Namespace, is_luna16: bool) -> None:
    """Ends the program if an option was given that this source has no use for."""
    if is_luna16:
        if args.modality != 'ct':
            parser.error(f'{args.source} is LUNA16, which is CT; leave --modality out')
        parser.refuse(
            args,
            ('validation_share', 'patient_pattern'),
            f'is of other scans, and {args.source} is LUNA16, split by --train_folds and '
            '--validation_folds; leave it out',
        )
        return
    parser.refuse(
        args,
        ('train_folds', 'validation_folds'),
        f'is of LUNA16, and {args.source} holds no subset0 ... subset9; leave it out',
    )


def spread(places: Sequence[int], count: int) -> list[int]:
    """At most `count` of these places, evenly spread from the first to the last."""
    if len(places) <= count:
        return list(places)
    middles = (np.arange(count) + 0.5) * len(places) / count
    return [places[int(middle)] for middle in middles]


def _make_parser() -> Parser:
    parser = base_parser(
        'data_prep.slices',
        'Axial slices of LUNA16, or of all scans below a folder.',
        f'folder of LUNA16 (subset0 ... subset9), or of scans at any depth: {SCANS}',
        'luna16_slices',
    )
    add_modality(parser)
    add_image_size(parser)
    text = '3: each slice between its two neighbours'
    parser.option('channels', int, None, text, '1', choices=(1, 3))
    text = 'at most, evenly spread over those that are not refused'
    parser.option('slices_per_scan', number(int, 1), 'N', text, str(SliceCutter.per_scan))
    text = 'refuse slices of this share of tissue or less as air'
    otherwise = (
        "%(default)s; -1: none; tissue begins at -150 HU, if not CT at a tenth of the scan's window"
    )
    tissue = str(SliceCutter.min_tissue)
    parser.option('min_tissue', number(float, -1, 1), 'SHARE', text, tissue, otherwise)
    add_validation_share(parser, 'patients, if they are not of LUNA16')
    add_patient_pattern(
        parser, 'scan', '([^/]*)_visit', f'of LUNA16 its folds tell; else {BY_FOLDER}'
    )
    luna16.add_folds(parser)
    return parser


if __name__ == '__main__':
    sys.exit(main())
