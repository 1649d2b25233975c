"""What each array of our networks is called in PyTorch: in 3D as in the published network.

One row per array, in the order of PyTorch's state dict: its name, its place in our variables, its
shape and its order of axes. Both directions read the same rows, check every shape, and never fill
a gap. NumPy only, so that a PyTorch user needs no JAX. The names in 2D are in `resnet`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from genesis_jax.card import Card
from genesis_jax.convert import resenc, resnet, table
from genesis_jax.errors import UserError
from genesis_jax.topology import NETWORKS, norm_of, scales, up_levels

COUNTER = 'num_batches_tracked'  # PyTorch's; our networks have no use for it
DTYPES = {  # of the arrays in a file
    'float32': np.dtype(np.float32),
    'bfloat16': np.dtype(ml_dtypes.bfloat16),
    'float16': np.dtype(np.float16),
}
PREFIX = 'module.'  # of networks trained with nn.DataParallel, as the published ones were
FIRST = 'down_tr64.ops.0.conv1.weight'
_LISTED = 5  # names in an error: with more, nobody finds what to do at its end
_REMEDY = 'name a file of the same network'
_HEADS = {'unet': 'out_tr.final_conv', 'classifier': 'dense_2'}


def rows(card: Card | Mapping[str, Any]) -> list[table.Row]:
    """The arrays of the network that a card describes, in PyTorch's order."""
    card = Card.from_dict(card)
    model, dimensions, arrays = card.model, card.dimensions, list[table.Row]()
    if own := card.module:
        raise UserError(
            f'{own} is a network from outside, whose arrays have no names in other formats; '
            'expected one of ours: keep its export'
        )
    residual = card.topology == 'resenc3d'
    statistics = norm_of(model, dimensions) == 'batch'
    if 'encoder' in card.parts:
        if residual:
            arrays += resenc.encoder_rows(model, card.in_channels)
        else:
            encoder = resnet.encoder_rows if dimensions == 2 else _encoder_rows
            arrays += encoder(model['width'], card.in_channels, statistics)
    channels = NETWORKS[card.topology].scales(model)[-1]
    if 'decoder' in card.parts and residual:
        arrays += resenc.decoder_rows(model)
    elif 'decoder' in card.parts:
        for level, name, below, skip, channels in up_levels(model['width'], dimensions):
            if model.get('upsample') != 'nearest':
                place = ('decoder', f'up_{level}')
                arrays += table.layer(f'{name}.up_conv', place, 'up', (below, below), dimensions)
            between = (below + skip, channels, channels)
            arrays += table.level('decoder', level, name, between, dimensions, statistics)
    if 'hidden' in card.parts:
        arrays += table.layer('dense_1', ('hidden',), 'dense', (channels, model['hidden']))
        channels = model['hidden']
    if 'head' in card.parts and residual and card.kind == 'unet':
        arrays += resenc.head_rows(model, card.out_channels)
    elif 'head' in card.parts:
        kind = 'head' if card.kind == 'unet' else 'dense'
        sizes = (channels, card.out_channels)
        arrays += table.layer(_HEADS[card.kind], ('head',), kind, sizes, dimensions)
    return arrays


def _encoder_rows(width, in_channels, statistics):
    arrays, channels = [], in_channels
    for level, out in enumerate(scales(width, 3)):
        name = f'down_tr{64 * 2**level}'
        between = (channels, out // 2, out)
        arrays += table.level('encoder', level, name, between, 3, statistics)
        channels = out
    return arrays


def describe(state: Mapping[str, Any], source: object) -> dict[str, Any]:
    """What the names and shapes of a state dict tell of its network: entries of a card.

    Raises:
      UserError: it has no first convolution of a name here, or is another ResNet.
    """
    if resenc.is_one(state):
        return resenc.described(state, source)
    flat = resnet.is_one(state)
    if flat:
        resnet.check(state, source)
    elif FIRST not in state or len(state[FIRST].shape) != 5:
        there = FIRST in state and f'that of shape {tuple(state[FIRST].shape)}'
        raise UserError(
            f'{source} is no network of Models Genesis: expected a 5-dimensional {FIRST} '
            f'among its names, in 2D those of a ResNet-18 ({resnet.FIRST}, '
            f'layer1.0.conv1.weight, …), or those of a residual encoder ({resenc.FIRST}), '
            f'found {there or listing(state) or "none"}'
        )
    width, in_channels, *_ = state[resnet.FIRST if flat else FIRST].shape
    kind = 'classifier' if any(n.startswith('dense_') for n in state) else 'unet'
    parts = {'encoder': 'conv1.' if flat else 'down_tr', 'decoder': 'up_'}
    parts |= {'hidden': 'dense_1.', 'head': _HEADS[kind]}
    own_parts = [p for p, start in parts.items() if any(n.startswith(start) for n in state)]
    weights = {name: state.get(f'{name}.weight') for name in (_HEADS[kind], 'dense_1')}
    sizes = {n: int(w.shape[0]) for n, w in weights.items() if w is not None and len(w.shape)}
    has_up = any('.up_conv.' in name for name in state) or 'decoder' not in own_parts
    option: dict[str, Any] = {'upsample': 'transpose' if has_up else 'nearest'}
    if kind == 'classifier':
        option = {'hidden': sizes.get('dense_1', 0)}
    return {
        'network': f'{kind}{2 if flat else 3}d',
        'parts': own_parts,
        'in_channels': int(in_channels),
        'out_channels': sizes.get(_HEADS[kind], 1),
        'config': {'model': {'width': int(width), **option}},
    }


def to_torch(variables: dict[str, Any], rows: list[table.Row]) -> dict[str, np.ndarray]:
    """Our variables as `{name: NumPy array}` in the published names, order and axes.

    Raises:
      UserError: arrays are missing, unexpected, of another shape or not finite.
    """
    flat = check_variables(variables, rows)
    return {
        row.name: np.ascontiguousarray(row.to_torch(np.asarray(flat[row.path]))) for row in rows
    }


def to_flax(
    state: Mapping[str, Any], rows: list[table.Row], source: object, remedy: str = _REMEDY
) -> dict[str, Any]:
    """Arrays in the published names (no prefix, no counters) as our variables.

    Raises:
      UserError: arrays are missing, unexpected, of another shape or not finite.
    """
    check(
        {name: tuple(array.shape) for name, array in state.items()},
        {row.name: row.torch_shape for row in rows},
        source,
        remedy,
    )
    _check_finite(state, source)
    variables: dict[str, Any] = {}
    for row in rows:
        tree = variables
        for key in row.path[:-1]:
            tree = tree.setdefault(key, {})
        tree[row.path[-1]] = np.ascontiguousarray(row.to_flax(np.asarray(state[row.name])))
    return variables


def check_variables(
    variables: dict[str, Any], rows: list[table.Row], source: object = 'the network'
) -> dict[tuple[str, ...], np.ndarray]:
    """Our variables by path, if they are those of the rows.

    Raises:
      UserError: arrays are missing, unexpected, of another shape or not finite.
    """
    flat = dict(flatten(variables))
    check(
        {'/'.join(path): array.shape for path, array in flat.items()},
        {'/'.join(row.path): row.shape for row in rows},
        source,
    )
    _check_finite({'/'.join(path): array for path, array in flat.items()}, source)
    return flat


def check(
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    source: object,
    remedy: str = _REMEDY,
) -> None:
    """Raises one UserError with the first names missing, unexpected or of another shape.

    Args:
      shapes, expected: `{name: shape}`.
      source, remedy: what was read and what to do, for the error.
    """
    both = [name for name in expected if name in shapes]
    problems = {
        'missing': [name for name in expected if name not in shapes],
        'unexpected': [name for name in shapes if name not in expected],
        'of another shape': [
            f'{name} is {tuple(shapes[name])}, expected {tuple(expected[name])}'
            for name in both
            if tuple(shapes[name]) != tuple(expected[name])
        ],
    }
    said = [f'{len(names)} {what} ({listing(names)})' for what, names in problems.items() if names]
    if said:
        raise UserError(
            f'{source} does not fit: of {len(expected)} arrays expected and {len(shapes)} found, '
            f'{"; ".join(said)}; {remedy}'
        )


def as_float32(arrays: Mapping[str, np.ndarray], source: object) -> dict[str, np.ndarray]:
    """Arrays of other types in float32; UserError if that does not hold every number exactly."""
    if bad := [f'{name} of {a.dtype}' for name, a in arrays.items() if not _is_exact(a)]:
        raise UserError(
            f'{source} holds {len(bad)} arrays that float32 does not hold exactly '
            f'({listing(bad)}); round the network to float32 and save it again'
        )
    return {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}


def _is_exact(array):
    if array.dtype != np.float64:
        return array.dtype.kind in 'fV' and np.can_cast(array.dtype, np.float32)  # V: bfloat16
    with np.errstate(over='ignore'):
        return np.array_equal(array.astype(np.float32), array, equal_nan=True)


def narrow(array: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """An array in one of DTYPES; UserError if its numbers are too large for that."""
    with np.errstate(over='ignore'):
        result = array.astype(DTYPES[dtype])
    if (np.isfinite(array) & ~np.isfinite(result)).any():
        raise UserError(f'{name} has numbers too large for {dtype}; write bfloat16 or float32')
    return result


def _check_finite(arrays, source):
    """Raises one UserError with the first names whose arrays have nan or infinities."""
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise UserError(
            f'{source} has nan or infinite numbers in {len(bad)} arrays ({listing(bad)}); expected '
            'finite ones: choose weights from before the training diverged'
        )


def flatten(
    tree: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """`(path, array)` of all arrays in nested dicts."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, (*path, key))
        else:
            yield (*path, key), value


def listing(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are, for an error."""
    every = list(names)
    more = f' and {len(every) - _LISTED} more' if len(every) > _LISTED else ''
    return ', '.join(every[:_LISTED]) + more
