"""A bias field: grey values that drift smoothly over the scan, as in MRI."""

import math

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.registry import corruption

_STRONGEST = 20.0  # of the field's logarithm: nothing overflows
_WAVES = 3  # along each axis: half a period, a whole one, one and a half


def bias_field(sides: tuple[int, ...], coefficients: jax.Array) -> jax.Array:
    """A smooth field above 0, `[*sides]`: the exponential of a sum of cosines.

    Args:
      coefficients: `[waves, ...]`, an axis of as many waves for each side; the wave of 0 half
        periods along all axes is the constant.
    """
    field = coefficients
    for side in sides:
        place = (jnp.arange(side) + 0.5) / side
        waves = jnp.cos(jnp.pi * jnp.arange(field.shape[0])[:, None] * place[None, :])
        field = jnp.tensordot(field, waves, axes=[[0], [0]], precision='highest')
    return jnp.exp(jnp.clip(field, -_STRONGEST, _STRONGEST))


@corruption('bias', kinds='bias field')
def random_bias_field(key: jax.Array, volume: jax.Array, *, strength: float = 0.3) -> jax.Array:
    """Multiplies all channels by a `bias_field` (Sudre et al., 2017); above 1 is clipped.

    Args:
      strength: standard deviation of the field's logarithm, over draws, at a voxel.

    Raises:
      OptionError: it is not above 0.
    """
    if not 0 < strength < math.inf:
        raise OptionError(f'bias_strength is {strength}; expected a number above 0')
    sides = volume.shape[:-1]
    shape = (1 + _WAVES,) * len(sides)
    drawn = jax.random.normal(key, shape).at[(0,) * len(sides)].set(0.0)  # not the brightness
    # A cosine has a mean square of one half, of each axis along which it waves.
    waving = sum(jnp.indices(shape) > 0)
    spread = jnp.sqrt(jnp.sum(0.5**waving) - 1)
    field = bias_field(sides, strength * drawn / spread)
    return jnp.clip(volume * field[..., None], 0, 1).astype(volume.dtype)
