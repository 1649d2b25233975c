"""The composition: which transforms a patch goes through, in which order, how often."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from genesis_jax.transforms.chance import sometimes
from genesis_jax.transforms.flips import random_flip
from genesis_jax.transforms.registry import CORRUPTIONS


def corrupt(
    key: jax.Array,
    volume: jax.Array,
    *,
    flip_probability: float = 0.4,
    flip_axes: Sequence[int] | None = None,
    shuffle_probability: float = 0.5,
    shuffle_windows: int = 10_000,
    nonlinear_probability: float = 0.9,
    paint_probability: float = 0.9,
    outpaint_probability: float = 0.8,
    fill: str = 'noise',
) -> tuple[jax.Array, jax.Array]:
    """Corrupts one volume as in Models Genesis: flip, shuffle, non-linear map, painting.

    The defaults are the published unified recipe. Each transform happens or not independently of
    the others; out- and in-painting exclude each other.

    Args:
      volume: `[X, Y, Z, C]` or `[X, Y, C]`, values in [0, 1].
      flip_axes: axes that flips choose from, see `random_flip`; all spatial ones by default.
      shuffle_windows: windows of local shuffling in one volume.
      outpaint_probability: of a volume that is painted; the others are in-painted.
      fill: 'noise' or 'constant', what painting paints.

    Returns:
      `(corrupted, target)`: the target is the flipped but otherwise untouched volume.
    """
    options = {
        'shuffle_probability': shuffle_probability,
        'shuffle_windows': shuffle_windows,
        'nonlinear_probability': nonlinear_probability,
        'paint_probability': paint_probability,
        'outpaint_probability': outpaint_probability,
        'fill': fill,
    }
    key_flip, *keys = _keys(key)
    target = random_flip(key_flip, volume, probability=flip_probability, axes=flip_axes)
    corrupted = target
    for key, corruption in zip(keys, CORRUPTIONS, strict=True):
        random_op = partial(corruption.apply, options=options)
        corrupted = sometimes(random_op, key, corrupted, corruption.probability(options))
    return corrupted, target


def flip_alike(
    key: jax.Array,
    volume: jax.Array,
    *,
    flip_probability: float = 0.4,
    flip_axes: Sequence[int] | None = None,
    **_: Any,
) -> jax.Array:
    """Mirrors one volume as `corrupt` does with this key and these options, and nothing else."""
    return random_flip(_keys(key)[0], volume, probability=flip_probability, axes=flip_axes)


def corrupt_batch(
    keys: jax.Array, volumes: jax.Array, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """`corrupt` of every volume of a batch: keys `[B]`, volumes `[B, ..., C]`.

    Accelerators compute all volumes, and all transforms of each, at once; a CPU takes volume after
    volume, leaves out what does not happen to it, and needs half the time.
    """
    one = partial(corrupt, **options)
    return jax.lax.platform_dependent(
        keys,
        volumes,
        cpu=lambda keys, volumes: jax.lax.map(lambda example: one(*example), (keys, volumes)),
        default=jax.vmap(one),
    )


def _keys(key):
    """Of the flip, and of each corruption."""
    return jax.random.split(key, 1 + len(CORRUPTIONS))
