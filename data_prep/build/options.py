"""The command-line options that all preparations share."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from data_prep.build.cubes import CubeCutter, prepare_cubes
from data_prep.build.records import dataset_folder
from data_prep.build.summary import Summary
from data_prep.sampling.cubes import CubeRule, default_rule
from data_prep.types import Job
from genesis_jax.cli.arguments import (
    _WORDS,
    Parser,
    existing_file,
    existing_folder,
    number,
    path,
    sides,
    triple,
)
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.volumes import Modality

_RULE_FIELDS = {field.name for field in fields(CubeRule)}
_HALVINGS = {3: 3, 2: 5}  # how often the networks of 3D and 2D halve their input


def base_parser(
    module: str,
    description: str,
    spacing: tuple[float, float, float] | None = None,
    otherwise: str = "every scan's own",
) -> Parser:
    """A parser with the options of every preparation of scans, labelled or not.

    Without a default `spacing`, `otherwise` says what the default is.
    """
    parser = common_parser(module, description)
    own = ','.join(map(str, spacing)) if spacing else otherwise
    parser.add_argument(
        '--spacing',
        type=triple(float, 1e-3),
        default=spacing,
        metavar='X,Y,Z',
        help=f'resample to this spacing in mm (default: {own})',
    )
    return parser


def common_parser(module: str, description: str) -> Parser:
    """A parser with the options that images and scans share."""
    parser = Parser(prog=f'python -m {module}', description=description)
    parser.add_argument(
        '--data_dir',
        type=path,
        default=Path('data'),
        metavar='DIR',
        help='folder of all datasets (default: data, in the current folder)',
    )
    parser.add_argument(
        '--seed', type=number(int, 0), default=0, metavar='N', help='of all draws (default: 0)'
    )
    parser.add_argument(
        '--workers', type=number(int, 1), metavar='N', help='processes (default: one per core)'
    )
    return parser


def make_parser(module: str, description: str) -> Parser:
    """A parser with the options of every preparation of cubes without labels."""
    parser = base_parser(module, description)
    cubes = parser.add_argument_group("cubes (defaults: the paper's rule for CT)")
    cubes.add_argument(
        '--cube_size',
        dest='size',
        type=triple(int, 1),
        metavar='X,Y,Z',
        help='voxels along x, y, z (default: 64,64,32)',
    )
    cubes.add_argument(
        '--cubes_per_scan',
        dest='per_scan',
        type=number(int, 1),
        metavar='N',
        help='cubes wanted from a scan (default: 32)',
    )
    cubes.add_argument(
        '--tries',
        type=number(int, 1),
        metavar='N',
        help='starts drawn to find them (default: 1600)',
    )
    cubes.add_argument(
        '--border_low',
        type=triple(int, 0),
        metavar='X,Y,Z',
        help='voxels left free before a cube (default: 100,100,30; not CT: 0,0,0)',
    )
    cubes.add_argument(
        '--border_high',
        type=triple(int, 0),
        metavar='X,Y,Z',
        help='voxels left free after a cube (default: 101,101,34; not CT: 0,0,0)',
    )
    cubes.add_argument(
        '--tissue_threshold',
        type=number(float),
        metavar='VALUE',
        help="a voxel from here on is tissue, in the scan's unit (default: -150 HU; "
        "not CT: a tenth of the scan's window)",
    )
    cubes.add_argument(
        '--min_tissue',
        type=number(float, -1, 1),
        metavar='SHARE',
        help='refuse cubes of this share of tissue or less (default: 0; not CT: 0.1; -1: none)',
    )
    cubes.add_argument(
        '--max_tissue',
        type=number(float, 0, 1),
        metavar='SHARE',
        help='refuse cubes of more tissue (default: 0.15; not CT: 1)',
    )
    return parser


def add_cube_size(parser: Parser, default: tuple[int, int, int] = (64, 64, 32)) -> None:
    """The option of every labelled preparation for the size of its cubes."""
    parser.add_argument(
        '--cube_size',
        type=network_sides(3),
        default=default,
        metavar='X,Y,Z',
        help='voxels of a cube along x, y, z, multiples of 8 '
        f'(default: {",".join(map(str, default))})',
    )


def run(
    parser: Parser,
    args: argparse.Namespace,
    *,
    name: str,
    modality: Modality,
    list_jobs: Callable[[], tuple[Sequence[Job], Sequence[str]]],
    channels: tuple[str, ...] = (),
) -> int:
    """Prepares what the options ask for, prints the summary and returns the exit status.

    `list_jobs` gives the scans, and lines for the summary on how they were chosen.
    """
    given = {key: value for key, value in vars(args).items() if value is not None}
    chosen = {key: value for key, value in given.items() if key in _RULE_FIELDS}
    rule = replace(default_rule(modality), **chosen)
    if rule.min_tissue >= rule.max_tissue:
        parser.error(
            f'--min_tissue is {rule.min_tissue:g} and --max_tissue {rule.max_tissue:g}, which '
            'refuses every cube; the first must be lower'
        )

    def work() -> Summary:
        jobs, notes = list_jobs()
        return prepare_cubes(
            jobs,
            CubeCutter(modality, rule, args.spacing, args.seed, channels),
            name=name,
            data_dir=args.data_dir,
            notes=notes,
            workers=args.workers,
        )

    return report(parser, work, dataset_folder(args.data_dir, name))


def report(parser: Parser, work: Callable[[], Summary], dataset: Path) -> int:
    """Runs a preparation, prints its summary or the one sentence why not; the exit status."""
    try:
        summary = work()
    except PrepareError as error:
        parser.fail(error)
    except OSError as error:
        parser.fail(f'cannot go on ({error}); check disk and permissions')
    except KeyboardInterrupt:
        parser.fail('interrupted, so no dataset was written', status=130)
    print(summary.text(dataset))
    return int(bool(summary.missing_splits))


def network_sides(rank: int) -> Callable[[str], tuple[int, ...]]:
    """An argparse type: voxels x,y,z, or pixels x,y, that the networks of this rank take."""
    times = _HALVINGS[rank]
    divisor = 1 << times

    def parse(text: str) -> tuple[int, ...]:
        asked = sides(int, 1, rank)(text)
        near = tuple(max(divisor, (side + divisor // 2) // divisor * divisor) for side in asked)
        if near != asked:
            raise argparse.ArgumentTypeError(
                f'the networks halve their input {_WORDS[times]} times, so every side must divide '
                f'by {divisor}, found {text!r}; the nearest is {",".join(map(str, near))}'
            )
        return asked

    return parse


def add_image_size(parser: Parser) -> None:
    """The option of every 2D preparation for the size of its records."""
    parser.add_argument(
        '--size',
        type=network_sides(2),
        default=(256, 256),
        metavar='X,Y',
        help='pixels along x and y, multiples of 32, to which every image is resized (linearly, '
        'antialiased; another aspect ratio is stretched; default: 256,256)',
    )


def add_image_source(parser: Parser, holds: str, csv: str) -> None:
    """The options of every preparation of images for their folder and the table of their labels.

    Args:
      holds: what is in the folder.
      csv: what the table tells, and what holds without one.
    """
    parser.add_argument(
        '--source',
        type=existing_folder,
        required=True,
        metavar='DIR',
        help=f'folder that holds {holds}',
    )
    parser.add_argument('--csv', type=existing_file, metavar='FILE', help=csv)
