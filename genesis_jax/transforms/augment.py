"""Augmentation of labelled examples: mirror images, transpositions, noise.

As in the published target tasks (flips, transposes and rotations, Gaussian noise); flips and
transpositions together are all rotations by right angles.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from genesis_jax.transforms.flips import flip


def transpose(volume: jax.Array, swapped: Sequence[bool] | jax.Array) -> jax.Array:
    """Swaps the pairs of equally long spatial axes, in `pairs` order, where `swapped` is true."""
    for happens, (a, b) in zip(swapped, pairs(volume.shape[:-1]), strict=True):
        volume = jnp.where(happens, jnp.swapaxes(volume, a, b), volume)
    return volume


def pairs(sides: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of axes of the same length: swapping them keeps the shape."""
    axes = itertools.combinations(range(len(sides)), 2)
    return [(a, b) for a, b in axes if sides[a] == sides[b]]


def augment(
    key: jax.Array,
    volume: jax.Array,
    mask: jax.Array | None = None,
    *,
    flip_probability: float = 0.5,
    flip_axes: Sequence[int] | None = None,
    transpose_probability: float = 0.5,
    noise_probability: float = 0.5,
    noise_sd: float = 0.1,
) -> tuple[jax.Array, jax.Array | None]:
    """Augments one labelled volume.

    Args:
      volume: `[X, Y, Z, C]`, or `[X, Y, C]`.
      mask: `[X, Y, Z]` integers, turned like the volume; or None.
      flip_probability: probability of a mirror image along each axis.
      flip_axes: the axes that may be mirrored; all spatial ones by default.
      transpose_probability: probability of a swap of each pair of equally long axes.
      noise_probability: probability of Gaussian noise.
      noise_sd: the highest standard deviation of the noise, which is drawn uniformly from 0.

    Returns:
      `(volume, mask)`.
    """
    key_flip, key_swap, key_noise = jax.random.split(key, 3)
    axes = range(volume.ndim - 1)
    flips = jax.random.bernoulli(key_flip, flip_probability, (len(axes),))
    flips &= jnp.array([flip_axes is None or axis in flip_axes for axis in axes])
    swaps = jax.random.bernoulli(key_swap, transpose_probability, (len(pairs(volume.shape[:-1])),))
    volume = _noise(key_noise, _turn(volume, flips, swaps), noise_probability, noise_sd)
    return volume, None if mask is None else _turn(mask[..., None], flips, swaps)[..., 0]


def _turn(volume, flips, swaps):
    return transpose(flip(volume, flips), swaps)


def _noise(key, volume, probability, highest_sd):
    happens, sd, draw = jax.random.split(key, 3)
    sd = jax.random.uniform(sd, maxval=highest_sd) * jax.random.bernoulli(happens, probability)
    return volume + sd * jax.random.normal(draw, (volume.size,)).reshape(volume.shape)
