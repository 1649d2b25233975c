"""Blur and low resolution: every spatial axis goes through a matrix of its own.

Products with small matrices are quick on every device, and strength and resolution may be drawn
inside a compiled step, where a kernel's or a grid's size may not.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from genesis_jax.transforms.registry import check_range, corruption


def blur(volume: jax.Array, sigmas: jax.Array) -> jax.Array:
    """Gaussian blur of `[X, Y(, Z), C]`; at the borders of the voxels that are there.

    Args:
      sigmas: `[axes]`, standard deviations in voxels, above 0.
    """

    def weights(side, sigma):
        steps = jnp.arange(side)[:, None] - jnp.arange(side)[None, :]
        bell = jnp.exp(-0.5 * (steps / sigma) ** 2)
        return bell / bell.sum(axis=1, keepdims=True)

    return _along_axes(volume, weights, sigmas)


def low_resolution(volume: jax.Array, zooms: jax.Array) -> jax.Array:
    """A coarser grid takes the nearest voxels, and the volume is interpolated from it linearly.

    Args:
      zooms: `[axes]` in (0, 1], sides of the coarser grid relative to the volume's.
    """

    def weights(side, zoom):
        coarse = jnp.maximum(1.0, jnp.round(side * zoom))
        place = (jnp.arange(side) + 0.5) * coarse / side - 0.5  # on the coarser grid
        place = jnp.clip(place, 0.0, coarse - 1)
        before = jnp.floor(place)
        after = jnp.minimum(before + 1, coarse - 1)
        share = (place - before)[:, None]
        return (1 - share) * _nearest(before, coarse, side) + share * _nearest(after, coarse, side)

    return _along_axes(volume, weights, zooms)


@corruption('blur')
def random_blur(
    key: jax.Array, volume: jax.Array, *, sigmas: Sequence[float] = (0.5, 1.0)
) -> jax.Array:
    """`blur` with a sigma for each axis, uniform between the two; OptionError for others."""
    check_range('blur_sigmas', sigmas)
    shape = (volume.ndim - 1,)
    return blur(volume, jax.random.uniform(key, shape, minval=sigmas[0], maxval=sigmas[1]))


def random_low_resolution(
    key: jax.Array, volume: jax.Array, *, zooms: Sequence[float] = (0.5, 1.0)
) -> jax.Array:
    """`low_resolution` with one zoom for all axes, uniform between the two."""
    zoom = jax.random.uniform(key, minval=zooms[0], maxval=zooms[1])
    return low_resolution(volume, jnp.full(volume.ndim - 1, zoom))


def _nearest(index, coarse, side):
    """`[side, side]`: of each voxel, 1 at the voxel that the coarser grid holds at `index`."""
    source = jnp.floor((index + 0.5) * side / coarse)
    return (source[:, None] == jnp.arange(side)[None, :]).astype(jnp.float32)


def _along_axes(volume, weights, parameters):
    """Of every axis the product with its matrix `weights(side, parameter)`, `[side, side]`."""
    for axis, side in enumerate(volume.shape[:-1]):
        matrix = weights(side, parameters[axis])
        product = jnp.tensordot(matrix, volume, axes=[[1], [axis]], precision='highest')
        volume = jnp.moveaxis(product, 0, axis)
    return volume
