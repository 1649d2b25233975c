"""Converts weights: python -m genesis_jax.convert SOURCE TARGET

python -m genesis_jax.convert Genesis_Chest_CT.pt runs/published
python -m genesis_jax.convert runs/genesis_ct genesis_ct.pt
python -m genesis_jax.convert runs/genesis_ct genesis_ct --to=hub --dtype=bfloat16
python -m genesis_jax.convert genesis_ct --push=OWNER/NAME
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genesis_jax import convert
from genesis_jax.card import Card
from genesis_jax.cli.arguments import Parser, path, path_or_url, share
from genesis_jax.convert import names, usage
from genesis_jax.errors import UserError, need
from genesis_jax.paths import local_path

_KINDS = {'unet': 'U-Net', 'classifier': 'classifier'}


def main(argv: Sequence[str] | None = None) -> int:
    """Converts as the arguments say; returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    if (args.target is None) == (args.push is None):
        parser.error('expected TARGET, or --push of a folder that --to=hub wrote')
    if args.push is not None:
        return _push(parser, args)
    try:
        variables, card, source, reading, writing = convert.convert(
            args.source,
            args.target,
            args.source_format,
            args.target_format,
            args.dtype,
            args.epsilon,
            args.data_parallel,
            args.drop or (),
        )
    except UserError as error:
        parser.fail(error)
    except KeyboardInterrupt:
        parser.fail('interrupted; nothing was written', 130)
    print(f'read {source} ({reading}): {describe(variables, card)}')
    for line in card.origin().lines:
        print(line)
    print(f'wrote {args.target} ({writing}, {args.dtype})')
    print(f'next: {_next(args.target, writing, card)}')
    return 0


def _push(parser, args):
    others = args.given - {'source', 'push'}
    parser.refuse(args, sorted(others), 'has no effect with --push: the folder goes as it is')
    try:
        need('push', '--push')
        from genesis_jax.convert import hub

        address = hub.push(local_path(args.source), args.push)
    except UserError as error:
        parser.fail(error)
    except KeyboardInterrupt:
        parser.fail('interrupted; the same command pushes what is missing', 130)
    print(f'pushed {args.source} to {address} (private if it is new)')
    return 0


def describe(variables: dict[str, Any], card: Card) -> str:
    """A network in words: what it is, its parts, width, channels and parameters."""
    parameters = sum(array.size for _, array in names.flatten(variables['params']))
    plain = f'{card.dimensions}D {_KINDS[card.kind]}'
    what = plain if usage.has_twin(card) else usage.words(card)
    outputs = f'outputs {card.out_channels}, ' if 'head' in card.parts else ''
    *parts, last = card.parts
    listed = f'{", ".join(parts)} and {last}' if parts else last
    task = f' for {card.task} of {", ".join(card.classes or ())}' if card.task else ''
    return (
        f'{what}{task} ({listed}), width {card.model["width"]}, input channels '
        f'{card.in_channels}, {outputs}{parameters:,} parameters'
    )


def _make_parser() -> Parser:
    parser = Parser(
        prog='python -m genesis_jax.convert',
        description='Converts weights from one format to another.',
        epilog='; '.join(f'{name}: {format.words}' for name, format in convert.FORMATS.items()),
    )
    option, formats = parser.option, convert.FORMATS.items()
    parser.positional('source', path_or_url, 'file, export, run or folder')
    text = (
        'its suffix says the format; without one it is a folder: of an export of this project the '
        "hub's, of anything else an export"
    )
    parser.positional('target', path, text, '?')
    reads = [name for name, format in formats if format.reads]
    option(
        'from', reads, None, 'format of SOURCE', otherwise='by what it holds', dest='source_format'
    )
    writes = [name for name, format in formats if format.writes]
    option('to', writes, None, 'format of TARGET', otherwise='by its suffix', dest='target_format')
    option(
        'dtype', convert.DTYPES, None, 'of the arrays in TARGET', 'float32', '%(default)s, exact'
    )
    text = 'publish SOURCE, a folder that --to=hub wrote, on the Hugging Face Hub'
    option('push', str, 'OWNER/NAME', text)
    text = 'put module. before the names in a PyTorch file, as in the published ones'
    parser.switch('data_parallel', text)
    text = 'modules or arrays of a PyTorch SOURCE that are no part of the network'
    option('drop', _names, 'NAME,...', text)
    option('epsilon', share, 'NUMBER', 'of batch normalisation', otherwise='as SOURCE says')
    return parser


def _names(text):
    """An argparse type: names."""
    return tuple(name for name in text.split(',') if name)


def _next(target: Path, format: str, card: Card) -> str:
    """What to do with what was written."""
    quoted = shlex.quote(str(target))
    if format == 'onnx':
        return f'onnxruntime.InferenceSession({str(target)!r})'
    residual = card.topology == 'resenc3d'
    if format == 'nnunet' and residual:
        plans = 'nnUNetResEncUNetMPlans'  # or another of nnU-Net's own
        return f'nnUNetv2_train DATASET 3d_fullres 0 -p {plans} -pretrained_weights {quoted}'
    if format == 'nnunet':
        return f'python -m genesis_jax.torch.nnunet {quoted} nnUNetPlans.json'
    if format != 'orbax' and not usage.has_twin(card):
        return f'genesis_jax.convert.read({str(target)!r})'
    if format != 'orbax':
        if 'head' in card.parts:
            return f'genesis_jax.torch.from_pretrained({str(target)!r})'
        new = f'{str(target)!r}, out_channels=N, hidden=N'
        return f'genesis_jax.torch.Classifier{card.dimensions}D.from_pretrained({new})'
    if card.task:
        flags = f'--input={card.called()[-1].upper()}S --output=predicted'
        return f'python -m genesis_jax.predict --model={quoted} {flags}'
    return ' '.join(usage.command(str(target), card))


if __name__ == '__main__':
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # leaves the accelerators to those who compute
    sys.exit(main())
