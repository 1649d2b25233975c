"""Dropped slices: whole slices are missing, and their neighbours tell what was there."""

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.registry import corruption


@corruption('drop', kinds='dropped slices')
def random_slice_drop(
    key: jax.Array, volume: jax.Array, *, ratio: float = 0.25
) -> tuple[jax.Array, jax.Array]:
    """Sets slices across a drawn axis to 0: rows or columns of an image.

    Args:
      ratio: the share that is dropped, of each slice independently.

    Returns:
      `(volume, dropped)`.

    Raises:
      OptionError: `ratio` is no share.
    """
    if not 0 < ratio < 1:
        raise OptionError(f'drop_ratio is {ratio}; expected a share between 0 and 1')
    key_axis, *keys = jax.random.split(key, volume.ndim)
    axis = jax.random.randint(key_axis, (), 0, volume.ndim - 1)
    dropped = jnp.zeros((*volume.shape[:-1], 1), bool)
    for this, (own, side) in enumerate(zip(keys, volume.shape[:-1], strict=True)):
        slices = jax.random.bernoulli(own, ratio, (side,)) & (axis == this)
        dropped |= jnp.expand_dims(slices, [a for a in range(volume.ndim) if a != this])
    return jnp.where(dropped, 0, volume).astype(volume.dtype), dropped
