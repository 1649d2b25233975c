"""Brightness, contrast and gamma: grey values of each channel, mapped by a factor drawn for it.

Factors are drawn below 1 half of the time and above 1 the other half, as nnU-Net does. Nothing is
clipped to [0, 1], but in the corruption.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.registry import check_range, corruption

_EPSILON = 1e-7  # of a volume that is all alike


def brightness(volume: jax.Array, factors: jax.Array) -> jax.Array:
    """Multiplies `[..., C]` by the `factors` `[C]`; 0 stays 0."""
    return volume * _of_channels(factors, volume)


def contrast(volume: jax.Array, factors: jax.Array) -> jax.Array:
    """Stretches each channel about its mean by the `factors` `[C]`; lowest and highest stay."""
    axes = _spatial(volume)
    mean = volume.mean(axes, keepdims=True)
    stretched = mean + (volume - mean) * _of_channels(factors, volume)
    lowest, highest = volume.min(axes, keepdims=True), volume.max(axes, keepdims=True)
    return jnp.clip(stretched, lowest, highest)


def gamma(volume: jax.Array, exponents: jax.Array, *, inverted: bool = False) -> jax.Array:
    """Raises each channel, between its lowest and highest value, to the `exponents` `[C]`.

    Mean and standard deviation of a channel stay as they were: what changes is which grey values
    are told apart, bright ones above 1, dark ones below.

    Args:
      inverted: the same for the negative, so the other way round.
    """
    if inverted:
        return -gamma(-volume, exponents)
    axes = _spatial(volume)
    lowest, highest = volume.min(axes, keepdims=True), volume.max(axes, keepdims=True)
    bent = ((volume - lowest) / (highest - lowest + _EPSILON)) ** _of_channels(exponents, volume)
    bent = (bent - bent.mean(axes, keepdims=True)) / (bent.std(axes, keepdims=True) + _EPSILON)
    return bent * volume.std(axes, keepdims=True) + volume.mean(axes, keepdims=True)


def random_brightness(
    key: jax.Array, volume: jax.Array, *, factors: Sequence[float] = (0.75, 1.25)
) -> jax.Array:
    """`brightness` by a factor for each channel, between the two."""
    return brightness(volume, around_one(key, factors, volume.shape[-1]))


def random_contrast(
    key: jax.Array, volume: jax.Array, *, factors: Sequence[float] = (0.75, 1.25)
) -> jax.Array:
    """`contrast` by a factor for each channel, between the two."""
    return contrast(volume, around_one(key, factors, volume.shape[-1]))


def random_gamma(
    key: jax.Array,
    volume: jax.Array,
    *,
    exponents: Sequence[float] = (0.7, 1.5),
    inverted: bool = False,
) -> jax.Array:
    """`gamma` by an exponent for each channel, between the two."""
    return gamma(volume, around_one(key, exponents, volume.shape[-1]), inverted=inverted)


@corruption('gamma')
def random_bounded_gamma(
    key: jax.Array,
    volume: jax.Array,
    *,
    exponents: Sequence[float] = (0.7, 1.5),
    inverted: bool = False,
) -> jax.Array:
    """`random_gamma` whose values stay in [0, 1], clipped.

    Raises:
      OptionError: `exponents` are no two numbers above 0 with 1 between them.
    """
    check_range('gamma_exponents', exponents)
    if not exponents[0] <= 1 <= exponents[1]:
        raise OptionError(f'gamma_exponents is {exponents}; expected 1 between the two')
    bent = random_gamma(key, volume, exponents=exponents, inverted=inverted)
    return jnp.clip(bent, 0, 1).astype(volume.dtype)


def around_one(key: jax.Array, limits: Sequence[float], count: int) -> jax.Array:
    """`[count]` numbers: half of them uniform from the lower limit to 1, half from 1 to the upper.

    Args:
      limits: (low, high) with 1 between them.
    """
    key_side, key_place = jax.random.split(key)
    ends = jnp.where(jax.random.bernoulli(key_side, shape=(count,)), limits[0], limits[1])
    return 1 + (ends - 1) * jax.random.uniform(key_place, (count,))


def _spatial(volume):
    return tuple(range(volume.ndim - 1))


def _of_channels(values, volume):
    return values.reshape((1,) * (volume.ndim - 1) + (-1,))
