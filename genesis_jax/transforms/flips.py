"""Mirror images: the augmentation that the target of the restoration shares."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

NO_AXIS = -1  # one may draw it: the published code draws the channels' axis, which mirrors nothing
_ROUNDS = 3


def flip(volume: jax.Array, flipped: Sequence[bool] | jax.Array) -> jax.Array:
    """Mirrors a volume along every spatial axis where `flipped` (bool, one per axis) is true."""
    for axis in range(volume.ndim - 1):
        mirror = partial(jnp.flip, axis=axis)
        volume = jax.lax.cond(flipped[axis], mirror, lambda same: same, volume)
    return volume


def random_flip(
    key: jax.Array,
    volume: jax.Array,
    *,
    probability: float = 0.4,
    axes: Sequence[int] | None = None,
) -> jax.Array:
    """Up to three flips, each going on with `probability`, along an axis drawn anew every time.

    Args:
      axes: the axes to choose from; all spatial ones by default. May hold NO_AXIS.
    """
    rank = volume.ndim - 1
    axes = tuple(range(rank)) if axes is None else tuple(axes)
    key_more, key_axis = jax.random.split(key)
    happens = jnp.cumprod(jax.random.bernoulli(key_more, probability, (_ROUNDS,)))
    drawn = jax.random.choice(key_axis, jnp.array(axes), (_ROUNDS,))
    rounds_per_axis = jnp.sum(
        happens[:, None] * (drawn[:, None] == jnp.arange(rank)[None, :]), axis=0
    )
    return flip(volume, rounds_per_axis % 2 == 1)
