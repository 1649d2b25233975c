"""What preparations of whole labelled scans share: their options, and the call of the driver."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from data_prep.build.dataset import prepare
from data_prep.build.masks import Reading, cut_scan
from data_prep.build.options import add_cube_size, base_parser, report
from data_prep.build.records import dataset_folder
from data_prep.sampling.patches import PatchRule, RandomPatches
from data_prep.types import Declaration, Job
from genesis_jax.cli.arguments import Parser, existing_folder, number


@dataclass(frozen=True)
class Plan:
    """What a source turned out to hold, and how its scans become patches.

    Attributes:
      classes: names by class index.
      channels: names.
      notes: more for the recipe in the metadata.
    """

    jobs: Sequence[Job]
    reading: Reading
    classes: Sequence[str]
    channels: Sequence[str]
    notes: dict


def segmentation_parser(
    module: str,
    description: str,
    name: str | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> Parser:
    """A parser with the options of all these preparations; `name` and `spacing` are defaults."""
    parser = base_parser(module, description, spacing)
    parser.add_argument(
        '--source', type=existing_folder, required=True, metavar='DIR', help='folder of the source'
    )
    said = f' (default: {name})' if name else ': letters, digits and _'
    parser.add_argument('--name', default=name, required=name is None, help=f'of the dataset{said}')
    add_cube_size(parser)
    parser.add_argument(
        '--same_grid',
        action='store_true',
        help="take the image's geometry for its labels (and other channels), whatever their "
        'headers say, if the sizes agree (default: refuse what differs)',
    )
    return parser


def add_random_patches(parser: Parser) -> None:
    """The options of patches at random places."""
    parser.add_argument(
        '--patches_per_scan',
        type=number(int, 1),
        default=RandomPatches.per_scan,
        metavar='N',
        help=f'patches of a scan (default: {RandomPatches.per_scan})',
    )
    parser.add_argument(
        '--foreground_share',
        type=number(float, 0, 1),
        default=RandomPatches.foreground_share,
        metavar='SHARE',
        help='of the patches, centred on a labelled voxel, each class with equal chance; the '
        f'others lie anywhere (default: {RandomPatches.foreground_share})',
    )


def random_patches(args: argparse.Namespace) -> RandomPatches:
    """The rule that these options ask for."""
    return RandomPatches(args.cube_size, args.patches_per_scan, args.foreground_share)


def run_segmentation(
    parser: Parser,
    args: argparse.Namespace,
    make_plan: Callable[[], Plan],
    rule: PatchRule,
    config: str,
) -> int:
    """Prepares patches and whole scans, prints the summary and returns the exit status."""

    def work():
        plan = make_plan()
        reading = plan.reading
        return prepare(
            plan.jobs,
            partial(cut_scan, reading=reading, rule=rule),
            name=args.name,
            data_dir=args.data_dir,
            declaration=Declaration(
                'segmentation',
                plan.classes,
                plan.channels,
                reading.modality,
                reading.spacing,
                reading.full_range,
            ),
            size=rule.size,
            recipe={
                **plan.notes,
                'patches': {'kind': type(rule).__name__, **asdict(rule)},
                'label_values': {str(value): index for value, index in reading.classes.items()},
                'seed': reading.seed,
            },
            config=config,
            workers=args.workers,
        )

    return report(parser, work, dataset_folder(args.data_dir, args.name))
