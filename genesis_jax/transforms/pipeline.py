"""The composition: which transforms a cube goes through, in which order, how often."""

from functools import partial

import jax

from genesis_jax.transforms.flips import random_flip
from genesis_jax.transforms.intensity import random_bezier_map
from genesis_jax.transforms.painting import random_in_painting, random_out_painting
from genesis_jax.transforms.shuffle import random_local_shuffle


def corrupt(
    key,
    volume,
    *,
    flip_probability=0.4,
    flip_axes=None,
    shuffle_probability=0.5,
    shuffle_windows=10_000,
    nonlinear_probability=0.9,
    paint_probability=0.9,
    outpaint_probability=0.8,
    fill='noise',
):
    """Corrupts one volume as in Models Genesis: flip, shuffle, non-linear map, painting.

    The defaults are the published unified recipe. Each transform happens or not independently of
    the others; out- and in-painting exclude each other.

    Args:
      volume: `[X, Y, Z, C]` or `[X, Y, C]`, values in [0, 1].
      flip_axes: axes that flips choose from; all spatial ones by default.
      shuffle_windows: windows of local shuffling in one volume.
      outpaint_probability: of a volume that is painted; the others are in-painted.
      fill: 'noise' or 'constant', what painting paints.

    Returns:
      `(corrupted, target)`: the target is the flipped but otherwise untouched volume.
    """
    key_flip, key_shuffle, key_nonlinear, key_paint = jax.random.split(key, 4)
    target = random_flip(key_flip, volume, probability=flip_probability, axes=flip_axes)

    def shuffled(key, volume):
        return random_local_shuffle(key, volume, windows=shuffle_windows)

    def painted(key, volume):
        # One key for both: where XLA computes both, it draws the noise once.
        key_choice, key_paint = jax.random.split(key)
        return jax.lax.cond(
            jax.random.bernoulli(key_choice, outpaint_probability),
            partial(random_out_painting, fill=fill),
            partial(random_in_painting, fill=fill),
            key_paint,
            volume,
        )

    corrupted = _sometimes(shuffled, key_shuffle, target, shuffle_probability)
    corrupted = _sometimes(random_bezier_map, key_nonlinear, corrupted, nonlinear_probability)
    corrupted = _sometimes(painted, key_paint, corrupted, paint_probability)
    return corrupted, target


def corrupt_batch(keys, volumes, **options):
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


def _sometimes(random_op, key, volume, probability):
    """`random_op` with a probability known when tracing: what never happens costs nothing."""
    if probability <= 0:
        return volume
    key_happens, key_op = jax.random.split(key)
    happens = jax.random.bernoulli(key_happens, probability)
    return jax.lax.cond(happens, random_op, lambda _, same: same, key_op, volume)
