"""What each array of our networks is called in PyTorch: in 3D as in the published network.

One row per array, in the order of PyTorch's state dict: its name, its place in our variables, its
shape and its order of axes. Both directions read the same rows, check every shape, and never fill
a gap. NumPy only, so that a PyTorch user needs no JAX. The names in 2D are in `resnet`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from genesis_jax.card import Card, split
from genesis_jax.convert import resnet, table
from genesis_jax.errors import UserError
from genesis_jax.topology import LEVELS, last_features, scales

COUNTER = 'num_batches_tracked'  # PyTorch's; our networks have no use for it
PREFIX = 'module.'  # of networks trained with nn.DataParallel, as the published ones were
_FIRST = 'down_tr64.ops.0.conv1.weight'
_HEADS = {'unet': 'out_tr.final_conv', 'classifier': 'dense_2'}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What decides the names and shapes of a network's arrays.

    Attributes:
      network: one of `card.WHOLE`.
      parts: those at hand, of `encoder`, `decoder`, `hidden` and `head`.
      width: channels of the first convolution.
      in_channels: channels of the input.
      out_channels: number of logits.
      upsample: 'transpose' or 'nearest', of the U-Net.
      hidden: units of the classifier's hidden layer; 0 if there is none.
    """

    network: str = 'unet3d'
    parts: tuple[str, ...] = ('encoder', 'decoder', 'head')
    width: int = 32
    in_channels: int = 1
    out_channels: int = 1
    upsample: str = 'transpose'
    hidden: int = 0

    @property
    def kind(self) -> str:
        """'unet' or 'classifier'."""
        return split(self.network)[0]

    @property
    def dimensions(self) -> int:
        """Spatial axes: 2 or 3."""
        return split(self.network)[1]

    @classmethod
    def of_card(cls, card: Card | Mapping[str, Any]) -> Self:
        """That of the network that a card, or its JSON, describes."""
        card = Card.from_dict(card)
        sizes = {n: card.model[n] for n in ('width', 'upsample', 'hidden') if n in card.model}
        return cls(
            card.network,
            tuple(card.parts),
            in_channels=card.in_channels,
            out_channels=card.out_channels,
            **sizes,
        )

    @classmethod
    def of_state(cls, state: Mapping[str, Any], source: object) -> Self:
        """That of a state dict in the published names, from the names that it has.

        Raises:
          UserError: it has no first convolution of that name, or is another ResNet.
        """
        flat = resnet.is_one(state)
        if flat:
            resnet.check(state, source)
        elif _FIRST not in state or len(state[_FIRST].shape) != 5:
            there = _FIRST in state and f'that of shape {tuple(state[_FIRST].shape)}'
            raise UserError(
                f'{source} is no network of Models Genesis: expected a 5-dimensional {_FIRST} '
                f'among its names, or in 2D those of a ResNet-18 ({resnet.FIRST}, '
                f'layer1.0.conv1.weight, …), found {there or shown(state) or "none"}'
            )
        width, in_channels, *_ = state[resnet.FIRST if flat else _FIRST].shape
        kind = 'classifier' if any(n.startswith('dense_') for n in state) else 'unet'
        parts = {'encoder': 'conv1.' if flat else 'down_tr', 'decoder': 'up_'}
        parts |= {'hidden': 'dense_1.', 'head': _HEADS[kind]}
        found = tuple(p for p, start in parts.items() if any(n.startswith(start) for n in state))
        weights = {name: state.get(f'{name}.weight') for name in (_HEADS[kind], 'dense_1')}
        sizes = {n: w.shape[0] for n, w in weights.items() if w is not None and len(w.shape)}
        has_up = any('.up_conv.' in name for name in state) or 'decoder' not in found
        return cls(
            network=f'{kind}{2 if flat else 3}d',
            parts=found,
            width=int(width),
            in_channels=int(in_channels),
            out_channels=int(sizes.get(_HEADS[kind], 1)),
            upsample='transpose' if has_up else 'nearest',
            hidden=int(sizes.get('dense_1', 0)),
        )

    def rows(self) -> list[table.Row]:
        """The arrays, in PyTorch's order."""
        found, channels = self._rows_2d() if self.dimensions == 2 else self._rows_3d()
        if 'hidden' in self.parts:
            found += table.layer('dense_1', ('hidden',), 'dense', (channels, self.hidden))
            channels = self.hidden
        if 'head' in self.parts:
            kind, sizes = (
                ('head' if self.kind == 'unet' else 'dense'),
                (channels, self.out_channels),
            )
            found += table.layer(_HEADS[self.kind], ('head',), kind, sizes, self.dimensions)
        return found

    def _rows_3d(self):
        """`(the arrays of encoder and decoder, channels of what leaves them)`."""
        found, channels = [], self.in_channels
        for level in range(LEVELS):
            out = self._features(level)
            if 'encoder' in self.parts:
                name = f'down_tr{64 * 2**level}'
                found += table.level('encoder', level, name, (channels, out // 2, out))
            channels = out
        if 'decoder' in self.parts:
            for level in reversed(range(LEVELS - 1)):
                name, out = f'up_tr{64 * 2**level}', self._features(level)
                if self.upsample == 'transpose':
                    path = ('decoder', f'up_{level}')
                    found += table.layer(f'{name}.up_conv', path, 'up', (channels, channels))
                found += table.level('decoder', level, name, (channels + out, out, out))
                channels = out
        return found, channels

    def _rows_2d(self):
        """As `_rows_3d`."""
        found, channels = [], scales(self.width)[-1]
        if 'encoder' in self.parts:
            found += resnet.encoder_rows(self.width, self.in_channels)
        if 'decoder' in self.parts:
            found += resnet.decoder_rows(self.width, self.upsample)
            channels = last_features(self.width)
        return found, channels

    def _features(self, level):
        return 2 * self.width * 2**level


def to_torch(variables: dict[str, Any], rows: list[table.Row]) -> dict[str, np.ndarray]:
    """Our variables as `{name: NumPy array}` in the published names, order and axes.

    Raises:
      UserError: arrays are missing, unexpected, of another shape or not finite.
    """
    flat = check_variables(variables, rows)
    return {
        row.name: np.ascontiguousarray(row.to_torch(np.asarray(flat[row.path]))) for row in rows
    }


def to_flax(state: Mapping[str, Any], rows: list[table.Row], source: object) -> dict[str, Any]:
    """Arrays in the published names (no prefix, no counters) as our variables.

    Raises:
      UserError: arrays are missing, unexpected, of another shape or not finite.
    """
    check(
        {name: tuple(array.shape) for name, array in state.items()},
        {row.name: row.torch_shape for row in rows},
        source,
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
    flat = dict(_flatten(variables))
    check(
        {'/'.join(path): array.shape for path, array in flat.items()},
        {'/'.join(row.path): row.shape for row in rows},
        source,
    )
    _check_finite({'/'.join(path): array for path, array in flat.items()}, source)
    return flat


def check(
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    source: object,
    remedy: str = 'name a file of the same network',
) -> None:
    """Raises one UserError with every name that is missing, unexpected or of another shape.

    Args:
      found, expected: `{name: shape}`.
      source, remedy: what was read and what to do, for the error.
    """
    both = [name for name in expected if name in found]
    problems = {
        'missing': [name for name in expected if name not in found],
        'unexpected': [name for name in found if name not in expected],
        'of another shape': [
            f'{name} is {tuple(found[name])}, expected {tuple(expected[name])}'
            for name in both
            if tuple(found[name]) != tuple(expected[name])
        ],
    }
    said = [f'{len(names)} {what} ({shown(names)})' for what, names in problems.items() if names]
    if said:
        raise UserError(
            f'{source} does not fit: of {len(expected)} arrays expected and {len(found)} found, '
            f'{"; ".join(said)}; {remedy}'
        )


def _check_finite(arrays, source):
    """Raises one UserError with every name whose array has nan or infinities."""
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise UserError(
            f'{source} has nan or infinite numbers in {len(bad)} arrays ({shown(bad)}); expected '
            'finite ones: choose weights from before the training diverged'
        )


def _flatten(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, (*path, key))
        else:
            yield (*path, key), value


def shown(names: Iterable[str]) -> str:
    """Some names, for an error: all, since any of them may be the clue."""
    return ', '.join(names)
