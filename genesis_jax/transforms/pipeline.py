"""The composition: which transforms a patch goes through, in which order, how often."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms import registry
from genesis_jax.transforms.chance import sometimes
from genesis_jax.transforms.flips import random_flip


def corrupt(
    key: jax.Array,
    volume: jax.Array,
    *,
    flip_probability: float = 0.4,
    flip_axes: Sequence[int] | None = None,
    order: Sequence[str] = (),
    modules: Sequence[str] = (),
    other: jax.Array | None = None,
    **options: Any,
) -> tuple[jax.Array, jax.Array]:
    """Corrupts one volume: a flip, then what happens of the corruptions of `registry`.

    The defaults are the published unified recipe: shuffle, non-linear map, painting. Each happens
    or not independently of the others; out- and in-painting exclude each other.

    Args:
      volume: `[X, Y, Z, C]` or `[X, Y, C]`, values in [0, 1].
      flip_axes: axes that flips choose from, see `random_flip`; all spatial ones by default.
      order: names of corruptions that come first; the others follow, the published ones at first.
      modules: what registers further corruptions, imported here.
      other: another volume of the batch, for corruptions that mix two; the same if None.
      options: `NAME_probability` and the corruption's own, such as `shuffle_windows`.

    Returns:
      `(corrupted, target)`: the target is the flipped but otherwise untouched volume.

    Raises:
      OptionError: an option that no corruption has, or a value that it cannot have.
    """
    of_all = {'flip_probability': flip_probability, 'flip_axes': flip_axes}
    options |= of_all | {'order': order, 'modules': modules}
    return _corrupt(key, volume, other, options, tell=False)


def _corrupt(key, volume, other, options, tell):
    """As `corrupt`; to `tell` adds where the volume was changed, `[X, Y(, Z), 1]` of booleans."""
    chain = registry.chain(options)
    target = flip_alike(key, volume, options)
    state = {'volume': target}
    if tell:
        state['changed'] = jnp.zeros((*volume.shape[:-1], 1), bool)
    for one in chain:
        arguments = one.arguments(options)
        if one.pairs:
            arguments['other'] = volume if other is None else other
        apply = partial(_apply, one.name, partial(one.random_op, **arguments))
        state = sometimes(apply, _key_of(key, one), state, one.probability_in(options))
    corrupted = state.pop('volume')
    return corrupted, target, *state.values()


def _apply(name, random_op, key, state):
    """The state after a corruption; OptionError if it does not keep to its contract."""
    before = state['volume']
    answer = random_op(key, before)
    after, changed = answer if isinstance(answer, tuple) else (answer, None)
    _check_alike(name, 'volume', after, before.shape, before.dtype)
    if changed is not None:
        _check_alike(name, 'mask', changed, (*before.shape[:-1], 1), bool)
    if 'changed' not in state:
        return {'volume': after}
    if changed is None:
        changed = jnp.any(after != before, axis=-1, keepdims=True)
    return {'volume': after, 'changed': state['changed'] | changed}


def _check_alike(name, what, array, shape, dtype):
    if array.shape != shape or array.dtype != dtype:
        raise OptionError(
            f'the corruption {name} returns a {what} of {array.shape}, {array.dtype}; expected '
            f'{shape}, {jnp.dtype(dtype).name}'
        )


def flip_alike(key: jax.Array, volume: jax.Array, options: registry.Options) -> jax.Array:
    """Mirrors one volume as `corrupt` does with this key and these options, and nothing else."""
    return random_flip(
        _keys(key)[0],
        volume,
        probability=options.get('flip_probability', 0.4),
        axes=options.get('flip_axes'),
    )


def corrupt_batch(
    keys: jax.Array, volumes: jax.Array, others: jax.Array | None = None, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """`corrupt` of every volume of a batch: keys `[B]`, volumes `[B, ..., C]`.

    Accelerators compute all volumes, and all transforms of each, at once; a CPU takes volume after
    volume, leaves out what does not happen to it, and needs half the time.

    Args:
      others: a partner of each volume, for corruptions that mix two; the next one if None.
    """
    return _batch(keys, volumes, others, options, tell=False)


def corrupt_batch_and_tell(
    keys: jax.Array, volumes: jax.Array, others: jax.Array | None = None, **options: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `corrupt_batch`, and where each volume was changed: `[B, X, Y(, Z), 1]` of booleans."""
    return _batch(keys, volumes, others, options, tell=True)


def _batch(keys, volumes, others, options, tell):
    def one(key, volume, other=None):
        return _corrupt(key, volume, other, options, tell)

    examples: tuple[jax.Array, ...] = (keys, volumes)
    if registry.mix(options):
        examples += (jnp.roll(volumes, -1, axis=0) if others is None else others,)
    return jax.lax.platform_dependent(
        *examples,
        cpu=lambda *batch: jax.lax.map(lambda example: one(*example), batch),
        default=jax.vmap(one),
    )


def _key_of(key, one):
    if one.name in registry.PUBLISHED:
        return _keys(key)[1 + registry.PUBLISHED.index(one.name)]
    return one.key(key)


def _keys(key):
    """Of the flip, and of each published corruption."""
    return jax.random.split(key, 1 + len(registry.PUBLISHED))
