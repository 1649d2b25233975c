"""Thick slices: along one axis some voxels become one, as in scans of coarse slices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from genesis_jax.transforms.registry import check_range, corruption


def thick_slices(volume: jax.Array, axis: int | jax.Array, voxels: int | jax.Array) -> jax.Array:
    """Means over `voxels` at a time along `axis`, each in the place of what it is the mean of."""
    for this, side in enumerate(volume.shape[:-1]):
        slab = jnp.arange(side) // jnp.where(axis == this, voxels, 1)
        together = (slab[:, None] == slab[None, :]).astype(jnp.float32)
        means = together / together.sum(axis=1, keepdims=True)
        product = jnp.tensordot(means, volume, axes=[[1], [this]], precision='highest')
        volume = jnp.moveaxis(product, 0, this).astype(volume.dtype)
    return volume


@corruption('thick', kinds='thick slices')
def random_thick_slices(
    key: jax.Array, volume: jax.Array, *, voxels: Sequence[int] = (2, 6)
) -> jax.Array:
    """`thick_slices` along a drawn axis.

    Args:
      voxels: the fewest and the most that become one, both included.

    Raises:
      OptionError: these are no two rising whole numbers from 2.
    """
    check_range('thick_voxels', voxels, 2, whole=True)
    key_axis, key_voxels = jax.random.split(key)
    axis = jax.random.randint(key_axis, (), 0, volume.ndim - 1)
    return thick_slices(volume, axis, jax.random.randint(key_voxels, (), voxels[0], voxels[1] + 1))
