"""Augmentation of labelled examples: what a fine-tuning may do to a volume and its mask.

Mirror images, transpositions and noise are those of the published target tasks (flips and
transpositions together are all rotations by right angles); the others are nnU-Net's (Isensee et
al., 2021), off by default: rotation and scaling (`affine`), brightness, contrast and gamma
(`contrast`), blur and low resolution (`resolution`).
"""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from genesis_jax.transforms.affine import random_affine
from genesis_jax.transforms.chance import sometimes
from genesis_jax.transforms.contrast import random_brightness, random_contrast, random_gamma
from genesis_jax.transforms.flips import flip
from genesis_jax.transforms.resolution import random_blur, random_low_resolution

_COMMON = ('flip_probability', 'transpose_probability', 'noise_probability')


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
    rotation_probability: float = 0.0,
    rotation_degrees: float = 30.0,
    scale_probability: float = 0.0,
    scale_range: Sequence[float] = (0.7, 1.4),
    noise_probability: float = 0.5,
    noise_sd: float = 0.1,
    **grey_values: Any,
) -> tuple[jax.Array, jax.Array | None]:
    """Augments one labelled volume.

    Args:
      volume: `[X, Y, Z, C]`, or `[X, Y, C]`.
      mask: `[X, Y, Z]` integers, turned like the volume; or None.
      flip_probability: probability of a mirror image along each axis.
      flip_axes: the axes that may be mirrored; all spatial ones by default.
      transpose_probability: probability of a swap of each pair of equally long axes.
      rotation_probability: probability of a rotation, about each axis by up to `rotation_degrees`.
      scale_probability: probability of scaling, each axis by a factor in `scale_range`.
      noise_probability: probability of Gaussian noise.
      noise_sd: the highest standard deviation of the noise, which is drawn uniformly from 0.
      grey_values: options of `distort`.

    Returns:
      `(volume, mask)`.
    """
    key_flip, key_swap, key_noise = jax.random.split(key, 3)
    # (The numbers 0, 1 and 2 would give these three again.)
    key_affine, key_distort = jax.random.fold_in(key, 3), jax.random.fold_in(key, 4)
    axes = range(volume.ndim - 1)
    flips = jax.random.bernoulli(key_flip, flip_probability, (len(axes),))
    flips &= jnp.array([flip_axes is None or axis in flip_axes for axis in axes])
    swaps = jax.random.bernoulli(key_swap, transpose_probability, (len(pairs(volume.shape[:-1])),))
    volume = _turn(volume, flips, swaps)
    mask = None if mask is None else _turn(mask[..., None], flips, swaps)[..., 0]
    if rotation_probability > 0 or scale_probability > 0:
        volume, mask = random_affine(
            key_affine,
            volume,
            mask,
            rotation_probability=rotation_probability,
            degrees=rotation_degrees,
            scale_probability=scale_probability,
            scales=scale_range,
        )
    volume = _noise(key_noise, volume, noise_probability, noise_sd)
    return distort(key_distort, volume, **grey_values), mask


def distort(
    key: jax.Array,
    volume: jax.Array,
    *,
    blur_probability: float = 0.0,
    blur_range: Sequence[float] = (0.5, 1.0),
    brightness_probability: float = 0.0,
    brightness_range: Sequence[float] = (0.75, 1.25),
    contrast_probability: float = 0.0,
    contrast_range: Sequence[float] = (0.75, 1.25),
    low_resolution_probability: float = 0.0,
    low_resolution_range: Sequence[float] = (0.5, 1.0),
    gamma_inverted_probability: float = 0.0,
    gamma_probability: float = 0.0,
    gamma_range: Sequence[float] = (0.7, 1.5),
) -> jax.Array:
    """Changes grey values of a volume, in nnU-Net's order; places stay, so a mask would, too.

    Each transform happens or not independently of the others; what it draws lies in its range.
    """
    transforms = (
        (blur_probability, partial(random_blur, sigmas=blur_range)),
        (brightness_probability, partial(random_brightness, factors=brightness_range)),
        (contrast_probability, partial(random_contrast, factors=contrast_range)),
        (low_resolution_probability, partial(random_low_resolution, zooms=low_resolution_range)),
        (gamma_inverted_probability, partial(random_gamma, exponents=gamma_range, inverted=True)),
        (gamma_probability, partial(random_gamma, exponents=gamma_range)),
    )
    for number, (probability, random_op) in enumerate(transforms):
        volume = sometimes(random_op, jax.random.fold_in(key, number), volume, probability)
    return volume


def augment_batch(
    keys: jax.Array, volumes: jax.Array, masks: jax.Array | None = None, **options: Any
) -> tuple[jax.Array, jax.Array | None]:
    """`augment` of every volume of a batch: keys `[B]`, volumes `[B, ..., C]`, masks `[B, ...]`.

    Accelerators compute all volumes, and all transforms of each, at once. Where the options ask for
    more than turns and noise, a CPU takes volume after volume and leaves out what does not happen.
    """

    def one(key, volume, mask):
        return augment(key, volume, mask, **options)

    together = jax.vmap(one)
    rare = [name for name in options if name.endswith('_probability') and name not in _COMMON]
    if not any(options[name] > 0 for name in rare):
        return together(keys, volumes, masks)
    return jax.lax.platform_dependent(
        keys,
        volumes,
        masks,
        cpu=lambda *batch: jax.lax.map(lambda example: one(*example), batch),
        default=together,
    )


def _turn(volume, flips, swaps):
    return transpose(flip(volume, flips), swaps)


def _noise(key, volume, probability, highest_sd):
    happens, sd, draw = jax.random.split(key, 3)
    sd = jax.random.uniform(sd, maxval=highest_sd) * jax.random.bernoulli(happens, probability)
    return volume + sd * jax.random.normal(draw, (volume.size,)).reshape(volume.shape)
