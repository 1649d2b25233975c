r"""Axial slices of scans to a 2D dataset: python -m data_prep.slices --source=DIR

    python -m data_prep.slices --source=LUNA16 --data_dir=data
    python -m data_prep.slices --source=SCANS --name=mine --modality=mri --data_dir=data

A source that holds subset0 ... subset9 is LUNA16, whose folds split as in data_prep.luna16; any
other folder of scans is split by scan, as in data_prep.scans.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep import luna16, scans
from data_prep.cubes import Cubes, default_rule
from data_prep.image_files import resized
from data_prep.options import (
    Parser,
    add_image_size,
    base_parser,
    existing_folder,
    number,
    report,
)
from data_prep.prepare import Entry, Sampled, prepare
from data_prep.records import dataset_folder
from data_prep.split_options import add_validation_share
from data_prep.summary import Summary
from data_prep.volumes import MODALITIES, Modality, Scan, read_volume


@dataclass(frozen=True)
class SliceRecipe:
    """Which axial slices of a scan are taken, and how.

    Attributes:
      modality: decides unit, window and padding.
      size: pixels along x and y that a whole slice is resized to.
      channels: 1, or 3: each slice between the one below and the one above it (at the first and the
        last, that slice again).
      per_scan: slices at most, evenly spread over those that show enough.
      min_tissue: slices of this share of tissue or less are refused as air.
      spacing: mm to resample scans to first; None keeps every scan's own.
      seed: of the split.
    """

    modality: Modality
    size: tuple[int, int] = (256, 256)
    channels: int = 1
    per_scan: int = 64
    min_tissue: float = 0.05
    spacing: tuple[float, float, float] | None = None
    seed: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """X, Y, C."""
        return (*self.size, self.channels)

    def new_summary(self) -> Summary:
        """Counts of slices."""
        return Summary(1, parts='slices', config='genesis_ct_2d')

    def sample(self, scan: Scan) -> Sampled:
        """The slices of one scan; their origin is the voxel 0, 0, z."""
        volume = read_volume(scan, self.modality, self.spacing)
        rule = default_rule(self.modality).at_window(volume.window)
        shown = [
            bool((volume.voxels[:, :, z] >= rule.tissue_threshold).mean() > self.min_tissue)
            for z in range(volume.voxels.shape[2])
        ]
        places = spread(np.flatnonzero(shown), self.per_scan)
        images = np.empty((len(places), *self.shape), np.int16)
        for image, z in zip(images, places, strict=True):
            for channel, place in enumerate(self._channels(z, len(shown))):
                pixels = volume.clean(volume.voxels[:, :, place])
                image[..., channel] = np.rint(resized(pixels, self.size))
        origins = np.array([(0, 0, z) for z in places], np.int32).reshape(-1, 3)
        scale = (*np.divide(volume.voxels.shape[:2], self.size), 1)
        spacing = tuple(float(mm) for mm in np.multiply(volume.spacing, scale))
        cubes = Cubes(origins, images, len(shown), len(shown) - sum(shown), 0)
        return Sampled(cubes, spacing, volume.window)

    def _channels(self, z: int, depth: int) -> list[int]:
        """The slices that the channels of slice `z` show."""
        return [z] if self.channels == 1 else [max(z - 1, 0), z, min(z + 1, depth - 1)]


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares slices of scans and returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    folds = luna16.folds_of(parser, args)
    is_luna16 = any((args.source / f'subset{fold}').is_dir() for fold in range(10))
    if is_luna16 and args.modality != 'ct':
        parser.error(f'{args.source} is LUNA16, which is CT; leave --modality out')

    def list_entries() -> list[Entry]:
        if is_luna16:
            return luna16.list_entries(args.source, folds)
        return scans.list_entries(args.source, args.validation_share, args.seed)

    recipe = SliceRecipe(
        args.modality,
        args.size,
        args.channels,
        args.slices_per_scan,
        args.min_tissue,
        args.spacing,
        args.seed,
    )
    return report(
        parser,
        lambda: prepare(
            list_entries(),
            name=args.name,
            data_dir=args.data_dir,
            recipe=recipe,
            notes=['Split: by the folds of LUNA16' if is_luna16 else 'Split: by scan'],
            workers=args.workers,
        ),
        dataset_folder(args.data_dir, args.name),
    )


def spread(places: Sequence[int], count: int) -> list[int]:
    """At most `count` of these places, evenly spread from the first to the last."""
    if len(places) <= count:
        return [int(place) for place in places]
    middles = (np.arange(count) + 0.5) * len(places) / count
    return [int(places[int(middle)]) for middle in middles]


def _make_parser() -> Parser:
    parser = base_parser(
        'data_prep.slices', 'Axial slices of LUNA16, or of all scans below a folder.'
    )
    parser.add_argument(
        '--source',
        type=existing_folder,
        required=True,
        metavar='DIR',
        help='folder of LUNA16 (subset0 ... subset9), or of scans at any depth: .mhd, .mha, .nii, '
        '.nii.gz, .nrrd, .nhdr, DICOM series',
    )
    parser.add_argument(
        '--name', default='luna16_slices', help='of the dataset (default: luna16_slices)'
    )
    parser.add_argument(
        '--modality',
        choices=MODALITIES,
        default='ct',
        help="ct: values are HU; mri, other: the window is the scan's own range (default: ct)",
    )
    add_image_size(parser)
    parser.add_argument(
        '--channels',
        type=int,
        choices=(1, 3),
        default=1,
        help='3: each slice between its two neighbours (default: 1)',
    )
    parser.add_argument(
        '--slices_per_scan',
        type=number(int, 1),
        default=SliceRecipe.per_scan,
        metavar='N',
        help='at most, evenly spread over those that are not refused (default: '
        f'{SliceRecipe.per_scan})',
    )
    parser.add_argument(
        '--min_tissue',
        type=number(float, -1, 1),
        default=SliceRecipe.min_tissue,
        metavar='SHARE',
        help='refuse slices of this share of tissue or less as air; tissue begins at -150 HU, if '
        f"not CT at a tenth of the scan's window (default: {SliceRecipe.min_tissue}; -1: none)",
    )
    add_validation_share(parser, 'scans, if they are not LUNA16')
    luna16.add_folds(parser)
    return parser


if __name__ == '__main__':
    sys.exit(main())
