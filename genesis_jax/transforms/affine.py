"""Rotation and scaling of a labelled volume about its centre, in one interpolation.

In voxels, not in millimetres: where a voxel is much longer along one axis, rotate less.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

_OUTSIDE = 'reflect'  # what lies beyond the borders: image and mask in the mirror, so they agree


def affine(
    volume: jax.Array, mask: jax.Array | None, angles: jax.Array, scales: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Scales along every axis, then rotates, about the centre; the sides stay as they are.

    Args:
      volume: `[X, Y, Z, C]`, or `[X, Y, C]`; interpolated linearly.
      mask: `[X, Y, Z]` integers, each voxel that of the nearest; or None.
      angles: `[planes]` in radians, in `planes` order: three in 3D, one in 2D.
      scales: `[axes]`, above 0; with 2 everything is twice as long.
    """
    sides = volume.shape[:-1]
    matrix = rotation(angles, len(sides)).T / scales[:, None]  # from the result to the original
    centre = [(side - 1) / 2 for side in sides]
    offsets = [
        jax.lax.broadcasted_iota(jnp.float32, sides, axis) - middle
        for axis, middle in enumerate(centre)
    ]
    places = [
        middle + sum(factor * offset for factor, offset in zip(row, offsets, strict=True))
        for row, middle in zip(matrix, centre, strict=True)
    ]
    if mask is not None:
        mask = map_coordinates(mask, places, order=0, mode=_OUTSIDE)
    volume = jax.vmap(
        lambda channel: map_coordinates(channel, places, order=1, mode=_OUTSIDE), -1, -1
    )(volume)
    return volume, mask


def rotation(angles: jax.Array, rank: int) -> jax.Array:
    """The matrix `[rank, rank]` that turns by these angles in `planes`, the last one first."""
    matrix = jnp.eye(rank)
    for angle, (a, b) in zip(angles, planes(rank), strict=True):
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        turn = jnp.eye(rank).at[a, a].set(cos).at[b, b].set(cos).at[a, b].set(-sin)
        matrix = jnp.matmul(matrix, turn.at[b, a].set(sin), precision='highest')
    return matrix


def planes(rank: int) -> list[tuple[int, int]]:
    """Pairs of axes that rotations turn: in 3D about each axis, in 2D the only one."""
    return list(itertools.combinations(range(rank), 2))


def random_affine(
    key: jax.Array,
    volume: jax.Array,
    mask: jax.Array | None = None,
    *,
    rotation_probability: float,
    degrees: float = 30.0,
    scale_probability: float,
    scales: Sequence[float] = (0.7, 1.4),
) -> tuple[jax.Array, jax.Array | None]:
    """`affine`, rotated and scaled independently of each other, each with its probability.

    Args:
      degrees: the highest angle either way, about each axis; drawn uniformly.
      scales: the lowest and the highest; drawn uniformly for each axis.
    """
    key_turns, key_angles, key_scaled, key_scales = jax.random.split(key, 4)
    rank, limit = volume.ndim - 1, math.radians(degrees)
    turns = jax.random.bernoulli(key_turns, rotation_probability)
    scaled = jax.random.bernoulli(key_scaled, scale_probability)
    count = len(planes(rank))
    angles = turns * jax.random.uniform(key_angles, (count,), minval=-limit, maxval=limit)
    drawn = jax.random.uniform(key_scales, (rank,), minval=scales[0], maxval=scales[1])
    return jax.lax.cond(
        turns | scaled,
        affine,
        lambda volume, mask, *_: (volume, mask),
        *(volume, mask, angles, jnp.where(scaled, drawn, 1.0)),
    )
