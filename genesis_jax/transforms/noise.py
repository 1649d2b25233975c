"""Gaussian noise."""

import math

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.registry import corruption


@corruption('noise')
def random_noise(key: jax.Array, volume: jax.Array, *, sd: float = 0.1) -> jax.Array:
    """Adds Gaussian noise, independent per voxel; what leaves [0, 1] is clipped.

    Args:
      sd: the highest standard deviation, which is drawn uniformly from 0.

    Raises:
      OptionError: `sd` is not above 0.
    """
    if not 0 < sd < math.inf:
        raise OptionError(f'noise_sd is {sd}; expected a number above 0')
    key_sd, key_noise = jax.random.split(key)
    noise = jax.random.normal(key_noise, (volume.size,)).reshape(volume.shape)
    noisy = volume + jax.random.uniform(key_sd, maxval=sd) * noise
    return jnp.clip(noisy, 0, 1).astype(volume.dtype)
