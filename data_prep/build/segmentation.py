"""What preparations of whole labelled scans share: their options, and the call of the driver."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from data_prep.build.dataset import prepare
from data_prep.build.masks import Reading, cut_scan
from data_prep.build.options import add_cube_size, base_parser, destination, report
from data_prep.build.summary import Summary
from data_prep.sampling.patches import PatchRule, RandomPatches
from data_prep.types import Declaration, Job
from genesis_jax.cli.arguments import Parser, number


@dataclass(frozen=True)
class Plan:
    """What a source turned out to hold, and how its scans become patches.

    Attributes:
      classes: names by class index.
      channels: names.
      notes: more for the recipe in the metadata.
      config: of configs/, trains on the dataset.
      lines: for the summary, on how scans and classes were found.
    """

    jobs: Sequence[Job]
    reading: Reading
    classes: Sequence[str]
    channels: Sequence[str]
    notes: dict
    config: str
    lines: Sequence[str] = ()


def segmentation_parser(
    module: str,
    description: str,
    name: str = '',
    spacing: str | None = None,
    same_grid: bool = True,
) -> Parser:
    """A parser with the options of all these preparations; `name` and `spacing` are defaults.

    Args:
      same_grid: there is an option for files whose headers differ.
    """
    parser = base_parser(module, description, 'folder of the source', name, spacing)
    add_cube_size(parser)
    if not same_grid:
        return parser
    text = (
        "take the image's geometry for its labels (and other channels), whatever their headers "
        'say, if the sizes agree (default: refuse what differs)'
    )
    parser.switch('same_grid', text)
    return parser


def add_random_patches(parser: Parser) -> None:
    """The options of patches at random places."""
    per_scan, share = str(RandomPatches.per_scan), str(RandomPatches.foreground_share)
    parser.option('patches_per_scan', number(int, 1), 'N', 'patches of a scan', per_scan)
    text = (
        'of the patches, centred on a labelled voxel, each class with equal chance; the others lie '
        'anywhere'
    )
    parser.option('foreground_share', number(float, 0, 1), 'SHARE', text, share)


def random_patches(args: argparse.Namespace) -> RandomPatches:
    """The rule that these options ask for."""
    return RandomPatches(args.cube_size, args.patches_per_scan, args.foreground_share)


def run_segmentation(
    parser: Parser,
    args: argparse.Namespace,
    make_plan: Callable[[], Plan],
    rule: PatchRule,
) -> int:
    """Prepares patches and whole scans, prints the summary and returns the exit status."""

    def work() -> Summary:
        plan = make_plan()
        reading = plan.reading
        return prepare(
            plan.jobs,
            partial(cut_scan, reading=reading, rule=rule),
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
            config=plan.config,
            notes=plan.lines,
            **destination(args),
        )

    return report(parser, args, work)
