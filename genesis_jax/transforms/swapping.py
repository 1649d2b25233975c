"""Swapped blocks: boxes show what is in the same place of another patch."""

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.painting import random_boxes
from genesis_jax.transforms.registry import corruption


@corruption('swap', kinds='swapped blocks')
def random_swap(
    key: jax.Array, volume: jax.Array, *, other: jax.Array, side: float = 0.3
) -> tuple[jax.Array, jax.Array]:
    """Up to five boxes show another volume (after CutMix, Yun et al., ICCV 2019).

    Args:
      other: as `volume`.
      side: of a box, at most, as a share of the volume's; at least half of that.

    Returns:
      `(volume, swapped)`.

    Raises:
      OptionError: `side` is no share.
    """
    if not 0 < side < 1:
        raise OptionError(f'swap_side is {side}; expected a share between 0 and 1')
    shape = volume.shape[:-1]
    sides = [(int(n * side / 2), int(n * side)) for n in shape]
    swapped = random_boxes(key, shape, sides, at_least_one=True).any(axis=0)[..., None]
    return jnp.where(swapped, other, volume), swapped
