r"""Predicts on scans, or on images, with a fine-tuned network.

    python -m genesis_jax.predict --model=runs/lcs/seed_0 --input=SCANS --output=DIR
    python -m genesis_jax.predict --model=runs/ncc/seed_0 --input=SCANS --output=DIR \
        --candidates=POINTS.csv
    python -m genesis_jax.predict --model=runs/dxc/seed_0 --input=IMAGES --output=DIR
    python -m genesis_jax.predict --model=runs/lcs --mirror --input=SCANS --output=DIR

The last line averages the probabilities of all runs in a workdir, and of all mirror images.
A segmentation is written per scan, in its own geometry and format (NIfTI for DICOM, or with
--format=seg a DICOM SEG), with its volumes in summary.csv; of a classification, predictions.csv.
"""

import contextlib
import sys
from collections.abc import Sequence

from genesis_jax import parallel
from genesis_jax.cli.arguments import Parser, add_networks, count, path, share
from genesis_jax.errors import UserError, need
from genesis_jax.inference import ensemble
from genesis_jax.inference.sliding import whole_batch


def main(argv: Sequence[str] | None = None) -> int:
    """Predicts as the arguments say; returns the exit status, 1 if any scan failed."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        parallel.start()
        outcome = _predict(args)
    except UserError as error:
        parser.fail(error)
    except KeyboardInterrupt:
        parser.fail('interrupted; the scans told above are complete', 130)
    print(outcome.text())
    return int(bool(outcome.skipped))


def _make_parser():
    parser = Parser(
        prog='python -m genesis_jax.predict',
        description='Predicts on scans, or on images, with a fine-tuned network.',
    )
    add_networks(parser)
    option = parser.option
    text = (
        'a scan, a DICOM folder, or a folder of scans at any depth; of several channels, '
        'files named CASE_0000, CASE_0001, ... or one 4D file; label files in a folder '
        '(segmentation-N, labelsTr/, CASE_seg, CASE_mask) are skipped; for a network trained on '
        'images, an image (PNG, JPEG, TIFF, BMP) or a folder of them'
    )
    option('input', path, 'PATH', text, required=True)
    option('output', path, 'DIR', 'folder for the results', required=True)
    text = (
        'classification in scans: CSV of points with the columns scan (path below --input, or its '
        "last part), x, y, z (world mm, LPS); or LUNA16's own, such as candidates_V2.csv"
    )
    option('candidates', path, 'FILE', text)
    text = 'of neighbouring windows along each axis'
    option('overlap', share, 'SHARE', text, otherwise="the training's")
    text = 'windows, patches or images predicted together, over all devices'
    option('batch_size', count, 'N', text, otherwise='8 per device, on the CPU 1')
    text = 'segmentation: write the probabilities of every class too'
    parser.switch('probabilities', text)
    text = (
        "segmentation: image: the scan's own format, NIfTI for DICOM; seg: DICOM SEG, which refers "
        'to the series'
    )
    option('format', ('image', 'seg'), None, text, 'image')
    parser.switch('overwrite', 'replace earlier results')
    return parser


def _predict(args):
    need('prep', 'reading scans and images')
    networks = ensemble.load(args.model, args.mirror)
    task = networks.card.task
    _check_task(args, networks.card, networks.called)
    with _output_folder(args):
        outcome = (_segment if task == 'segmentation' else _classify)(args, networks)
    outcome.lines += networks.lines
    return outcome


def _segment(args, networks):
    from genesis_jax.inference.inputs import find_inputs
    from genesis_jax.inference.scans import Segmenter, segment

    card = networks.card
    overlap = card.config.get('overlap', 0.5) if args.overlap is None else args.overlap
    segmenter = Segmenter(
        networks.predict, card, overlap, args.batch_size, args.probabilities, args.format == 'seg'
    )
    inputs = find_inputs(args.input, card.channels, args.output)
    options = {'overwrite': args.overwrite, 'members': networks.names}
    return segment(inputs, segmenter, args.output, **options)


def _classify(args, networks):
    from genesis_jax.inference.images import classify_images
    from genesis_jax.inference.inputs import find_inputs
    from genesis_jax.inference.points import classify

    predict, card = networks.predict, networks.card
    options = {
        'batch_size': whole_batch(args.batch_size),
        'overwrite': args.overwrite,
        'members': networks.names,
    }
    if card.of_images:
        return classify_images(args.input, predict, card, args.output, **options)
    scans = [source.channels[0] for source in find_inputs(args.input, card.channels, args.output)]
    return classify(scans, args.candidates, predict, card, args.output, **options)


def _check_task(args, card, model):
    if args.format == 'seg':
        if card.task != 'segmentation':
            raise UserError(f'{model} segments nothing; leave out --format=seg')
        if args.probabilities:
            raise UserError('a DICOM SEG holds no probabilities; leave out one of the options')
        need('seg', '--format=seg')
    if card.task == 'segmentation':
        if args.candidates is not None:
            raise UserError(f'{model} segments whole scans; leave out --candidates')
        return
    if card.of_images:
        if args.candidates is not None:
            raise UserError(f'{model} classifies whole images; leave out --candidates')
        return
    if args.candidates is None:
        raise UserError(
            f'{model} classifies points; give --candidates=FILE.csv with the columns scan, x, '
            'y, z (world mm, LPS)'
        )
    if len(card.channels) > 1:
        raise UserError(
            f'{model} classifies patches of {len(card.channels)} channels; points can be '
            'classified in scans of one channel only'
        )


@contextlib.contextmanager
def _output_folder(args):
    """Makes the output folder before any work, and removes it again should it stay empty.

    Raises:
      UserError: it is no folder, or would mix results with scans.
    """
    source, output = args.input.resolve(), args.output.resolve()
    folder = source if source.is_dir() else source.parent
    if folder == output or (source.is_dir() and output in source.parents):
        raise UserError(f'--output={args.output} holds the input; choose another folder')
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f'--output={args.output} cannot be made ({error.strerror}); choose another folder'
        ) from None
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


if __name__ == '__main__':
    sys.exit(main())
