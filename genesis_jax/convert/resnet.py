"""The 2D networks: names of a standard ResNet-18, and which ResNet a file is.

The encoder's names are those of torchvision and timm (`conv1.weight`, `layer1.0.conv1.weight`, …),
so that ImageNet weights are read and what is written loads there. NumPy only.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from genesis_jax.convert import table
from genesis_jax.errors import UserError
from genesis_jax.topology import BLOCKS, STAGES, scales

FIRST = 'conv1.weight'
_CLASSIFIER = 'fc.'  # of ImageNet files, for whatever classes
_BLOCK = re.compile(r'layer([1-4])\.(\d+)\.')
_KNOWN = {  # (bottleneck blocks, blocks of each stage)
    (False, (1, 1, 1, 1)): 'ResNet-10',
    (False, (2, 2, 2, 2)): 'ResNet-18',
    (False, (3, 4, 6, 3)): 'ResNet-34',
    (True, (2, 2, 2, 2)): 'ResNet-26',
    (True, (3, 4, 6, 3)): 'ResNet-50',
    (True, (3, 4, 23, 3)): 'ResNet-101',
    (True, (3, 8, 36, 3)): 'ResNet-152',
}


def encoder_rows(width: int, in_channels: int, statistics: bool = True) -> list[table.Row]:
    """The arrays of a ResNet-18 without its classifier, in PyTorch's order.

    Args:
      statistics: whether its normalisations keep averages.
    """
    channels, conv_and_norm = scales(width, 2), partial(_conv_and_norm, statistics)
    rows = conv_and_norm(('conv1', 'bn1'), ('stem',), ('conv', 'bn'), 7, (in_channels, width))
    for stage in range(1, STAGES + 1):
        before, after = channels[stage - 1], channels[stage]
        for block in range(BLOCKS):
            name, path = f'layer{stage}.{block}', (f'level_{stage}', f'block_{block}')
            sizes = [(before if block == 0 else after, after), (after, after)]
            for i, size in enumerate(sizes):
                theirs = f'{name}.conv{i + 1}', f'{name}.bn{i + 1}'
                rows += conv_and_norm(theirs, path, (f'conv_{i}', f'bn_{i}'), 3, size)
            if block == 0 and stage > 1:
                theirs = f'{name}.downsample.0', f'{name}.downsample.1'
                rows += conv_and_norm(theirs, path, ('shortcut_conv', 'shortcut_bn'), 1, sizes[0])
    return rows


def is_one(state: Mapping[str, Any]) -> bool:
    """Whether a state dict has the names of a ResNet, of whatever depth."""
    return any(name.startswith('layer1.0.') for name in state)


def without_classifier(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`(state dict without the classifier of ImageNet files, names that were skipped)`."""
    left_out = [name for name in state if name.startswith(_CLASSIFIER)] if is_one(state) else []
    return {name: array for name, array in state.items() if name not in left_out}, left_out


def check(state: Mapping[str, Any], source: object) -> None:
    """Raises UserError, naming what it is, unless a ResNet has the layers of a 2D ResNet-18."""
    stem: tuple[int, ...] = state[FIRST].shape if FIRST in state else ()
    said = f'{"3D " if len(stem) == 5 else ""}{_describe(state)}'
    if len(stem) == 4 and not (uneven := _uneven(state, stem[0])) and said == 'ResNet-18':
        return
    if len(stem) == 4 and said == 'ResNet-18':
        said += f' of the widths {", ".join(map(str, uneven))}'
    elif not stem:
        said += f' without a single first convolution, {FIRST}'
    raise UserError(
        f'{source} is a {said}, and the encoder here is the standard 2D ResNet-18; name a file of '
        'that, as torchvision and timm have it under resnet18'
    )


def _describe(state):
    """The usual name of a ResNet, or its blocks."""
    indices = {}
    for name in state:
        if match := _BLOCK.match(name):
            indices.setdefault(int(match[1]), set()).add(int(match[2]))
    blocks = tuple(len(indices.get(stage, ())) for stage in range(1, STAGES + 1))
    bottleneck = 'layer1.0.conv3.weight' in state
    kind = 'bottleneck' if bottleneck else 'basic'
    usual = f'ResNet of {", ".join(map(str, blocks))} {kind} blocks'
    usual = _KNOWN.get((bottleneck, blocks), usual)
    # (in a bottleneck block the second convolution is the grouped one)
    first, second = (state.get(f'layer1.0.conv{i}.weight') for i in (1, 2))
    if bottleneck and first is not None and second is not None and len(second.shape) > 1:
        if second.shape[1] < first.shape[0]:
            return f'ResNeXt with the blocks of a {usual}'
        if first.shape[0] > 64:
            return f'Wide {usual}'
    return usual


def _uneven(state, width):
    """The widths of stem and stages if they do not double from stage to stage; else ()."""
    kernels = [state.get(f'layer{stage}.0.conv1.weight') for stage in range(1, STAGES + 1)]
    widths = (int(width), *(int(a.shape[0]) for a in kernels if a is not None and len(a.shape)))
    return () if widths == tuple(scales(int(width), 2)) else widths


def _conv_and_norm(statistics, theirs, path, ours, side, sizes):
    """A convolution without bias and its normalisation; `theirs` and `ours` name the two."""
    conv, norm = theirs
    place = ('params', 'encoder', *path, ours[0], 'kernel')
    kernel = table.Row(f'{conv}.weight', place, (side, side, *sizes), 'conv')
    return [kernel, *table.norm(norm, ('encoder', *path, ours[1]), sizes[1], statistics)]
