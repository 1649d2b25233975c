"""The command-line options that all preparations share, and the end that all of them come to."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from data_prep.build.cubes import CubeCutter, prepare_cubes
from data_prep.build.records import dataset_folder
from data_prep.build.regions import Regions
from data_prep.build.summary import Summary
from data_prep.sampling.cubes import CubeRule
from data_prep.types import Job
from genesis_jax.cli.arguments import _WORDS, Parser, existing_folder, number, path, sides, triple
from genesis_jax.errors import PrepareError, in_full
from genesis_jax.imaging.volumes import MODALITIES, Modality

SCANS = '.mhd, .mha, .nii, .nii.gz, .hdr, .nrrd, .nhdr, DICOM series'
_HALVINGS = {3: 3, 2: 5}  # how often the networks of 3D and 2D halve their input


def common_parser(module: str, description: str, source: str, name: str | None) -> Parser:
    """A parser with the options that images and scans share.

    Args:
      source: what its folder is.
      name: of the dataset by default; empty: one must be given; None: there is no such option.
    """
    parser = Parser(prog=f'python -m {module}', description=description)
    parser.option('source', existing_folder, 'DIR', source, required=True)
    if name is not None:
        text = 'of the dataset' if name else 'of the dataset: letters, digits and _'
        parser.option('name', str, None, text, name or None, required=not name)
    here = '%(default)s, in the current folder'
    parser.option('data_dir', path, 'DIR', 'folder of all datasets', 'data', here)
    parser.option('seed', number(int, 0), 'N', 'of all draws', '0')
    parser.option('workers', number(int, 1), 'N', 'processes', otherwise='one per core')
    return parser


def base_parser(
    module: str,
    description: str,
    source: str,
    name: str | None,
    spacing: str | None = None,
    otherwise: str = "every scan's own",
) -> Parser:
    """A parser with the options of every preparation of scans, labelled or not.

    Without a default `spacing`, `otherwise` says what the default is.
    """
    parser = common_parser(module, description, source, name)
    text = 'resample to this spacing in mm'
    parser.option('spacing', triple(float, 1e-3), 'X,Y,Z', text, spacing, spacing or otherwise)
    return parser


def make_parser(
    module: str, description: str, source: str, name: str, any_scans: bool = False
) -> Parser:
    """A parser with the options of every preparation of patches without labels.

    Args:
      any_scans: they need not be chest CTs, of which alone the paper's rule is: it is not the
        default, but `--rule=paper`.
    """
    parser = base_parser(module, description, source, name)
    about = '' if any_scans else " (defaults: the paper's rule)"
    group = parser.add_argument_group(f'patches{about}')
    add = partial(parser.option, group=group, default=None)
    whole, three, share = number(int, 1), triple(int, 0), number(float, -1, 1)
    text = 'voxels along x, y, z'
    add('cube_size', triple(int, 1), 'X,Y,Z', text, otherwise='64,64,32', dest='size')
    text = 'patches wanted from a scan'
    add('cubes_per_scan', whole, 'N', text, otherwise='32', dest='per_scan')
    add('tries', whole, 'N', 'starts drawn to find them', otherwise='1600')
    text = 'store the scans whole: trainings draw other patches in every epoch'
    parser.switch('volumes', text)
    if any_scans:
        text = (
            'anywhere: patches of any part of a scan but air; paper: those of the paper, for lungs '
            'in whole chest CTs'
        )
        parser.option('rule', ('anywhere', 'paper'), None, text, 'anywhere', group=group)

    def default(paper: str, anywhere: str) -> str:
        return f'{anywhere}; --rule=paper: {paper}' if any_scans else paper

    text = 'voxels left free before a patch'
    add('border_low', three, 'X,Y,Z', text, otherwise=default('100,100,30', '0,0,0'))
    text = 'voxels left free after a patch'
    add('border_high', three, 'X,Y,Z', text, otherwise=default('101,101,34', '0,0,0'))
    text = "a voxel from here on is tissue, in the scan's unit"
    otherwise = '-150 HU' + "; not CT: a tenth of the scan's window" * any_scans
    add('tissue_threshold', number(float), 'VALUE', text, otherwise=otherwise)
    text = 'refuse patches of this share of tissue or less; -1: none'
    add('min_tissue', share, 'SHARE', text, otherwise=default('0', '0.01; not CT: 0.1'))
    text = 'refuse patches of more tissue'
    add('max_tissue', number(float, 0, 1), 'SHARE', text, otherwise=default('0.15', '1'))
    return parser


def add_modality(parser: Parser, default: str | None = 'ct') -> None:
    """The option that says what values of scans mean; without a default it must be given."""
    text = "ct: values are HU; mri, other: the window is the scan's own range"
    parser.option('modality', MODALITIES, None, text, default, required=not default)


def add_cube_size(parser: Parser, default: str = '64,64,32') -> None:
    """The option of every labelled preparation for the size of its patches."""
    text = 'voxels along x, y, z, multiples of 8'
    parser.option('cube_size', network_sides(3), 'X,Y,Z', text, default)


def add_image_size(parser: Parser) -> None:
    """The option of every 2D preparation for the size of its records."""
    text = 'pixels along x and y, multiples of 32, to which every image is resized'
    how = 'linearly, antialiased; the aspect ratio is not kept'
    parser.option('size', network_sides(2), 'X,Y', f'{text} ({how})', '256,256')


def run(
    parser: Parser,
    args: argparse.Namespace,
    modality: Modality,
    rule: CubeRule,
    list_jobs: Callable[[], tuple[Sequence[Job], Sequence[str]]],
    channels: tuple[str, ...] = (),
    regions: Regions | None = None,
) -> int:
    """Prepares what the options ask for, prints the summary and returns the exit status.

    Options change parts of the `rule`. `list_jobs` gives the scans, and lines for the summary on
    how they were chosen.
    """
    options = {field.name: getattr(args, field.name) for field in fields(CubeRule)}
    chosen = {name: value for name, value in options.items() if value is not None}
    rule = replace(rule, **chosen)
    if rule.min_tissue >= rule.max_tissue:
        low, high = in_full(rule.min_tissue), in_full(rule.max_tissue)
        parser.error(
            f'--min_tissue is {low} and --max_tissue {high}, which refuses every patch; the first '
            'must be lower'
        )

    def work() -> Summary:
        jobs, notes = list_jobs()
        cutter = CubeCutter(modality, rule, args.spacing, args.seed, channels, regions or Regions())
        return prepare_cubes(jobs, cutter, volumes=args.volumes, notes=notes, **destination(args))

    return report(parser, args, work)


def destination(args: argparse.Namespace) -> dict[str, Any]:
    """What `build.dataset.prepare` is told by the options of every preparation."""
    return {'name': args.name, 'data_dir': args.data_dir, 'workers': args.workers}


def report(parser: Parser, args: argparse.Namespace, work: Callable[[], Summary]) -> int:
    """Runs a preparation, prints its summary or the one sentence why not; the exit status."""
    try:
        summary = work()
    except PrepareError as error:
        parser.fail(error)
    except OSError as error:
        parser.fail(f'cannot go on ({error}); check disk and permissions')
    except KeyboardInterrupt:
        parser.fail('interrupted, so no dataset was written', status=130)
    print(summary.text(dataset_folder(args.data_dir, args.name)))
    return int(bool(summary.missing_splits))


def network_sides(rank: int) -> Callable[[str], tuple[int, ...]]:
    """An argparse type: voxels x,y,z, or pixels x,y, that the networks of this rank take."""
    times = _HALVINGS[rank]
    divisor = 1 << times

    def parse(text: str) -> tuple[int, ...]:
        lengths = sides(int, 1, rank)(text)
        near = tuple(max(divisor, (side + divisor // 2) // divisor * divisor) for side in lengths)
        if near != lengths:
            raise argparse.ArgumentTypeError(
                f'the networks halve their input {_WORDS[times]} times, so every side must divide '
                f'by {divisor}, found {text!r}; the nearest is {",".join(map(str, near))}'
            )
        return lengths

    return parse
