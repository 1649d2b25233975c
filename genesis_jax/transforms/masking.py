"""Block masking: cubes of a grid are hidden, as in masked autoencoders."""

import math

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.bits import noise_like
from genesis_jax.transforms.registry import corruption

FILLS = ('zero', 'mean', 'noise')


def hide(volume: jax.Array, mask: jax.Array, fill: jax.typing.ArrayLike) -> jax.Array:
    """Replaces the voxels under `mask` (bool, `[X, Y(, Z), 1]`) by `fill`."""
    return jnp.where(mask, fill, volume).astype(volume.dtype)


@corruption('mask', kinds='masking')
def random_masking(
    key: jax.Array, volume: jax.Array, *, block: int = 8, ratio: float = 0.6, fill: str = 'zero'
) -> tuple[jax.Array, jax.Array]:
    """Hides a share of the blocks of a grid (He et al., MAE, CVPR 2022; in 3D Chen et al., 2023).

    Blocks at the far borders are as long as what is left of the side.

    Args:
      block: voxels of a block's side, along every axis at most the volume's.
      ratio: of the blocks, rounded to a whole number of them, one at least.
      fill: 'zero'; 'mean' of each channel; 'noise', uniform and independent per voxel.

    Returns:
      `(volume, hidden)`.

    Raises:
      OptionError: an option that it cannot have.
    """
    if block < 1:
        raise OptionError(f'mask_block is {block}; expected 1 or more voxels')
    if not 0 < ratio <= 1:
        raise OptionError(f'mask_ratio is {ratio}; expected a share above 0, at most 1')
    if fill not in FILLS:
        raise OptionError(f'mask_fill is {fill!r}; expected one of {FILLS}')
    key_blocks, key_fill = jax.random.split(key)
    sides = volume.shape[:-1]
    grid = [math.ceil(side / block) for side in sides]
    blocks = math.prod(grid)
    if blocks == 1:
        raise OptionError(f'mask_block is {block}; expected less than a side of {sides}')
    hidden = jax.random.permutation(key_blocks, blocks) < max(1, round(ratio * blocks))
    mask = hidden.reshape(grid)
    for axis, side in enumerate(sides):
        mask = jnp.repeat(mask, block, axis, total_repeat_length=grid[axis] * block)
        mask = jax.lax.slice_in_dim(mask, 0, side, axis=axis)
    mask = mask[..., None]
    if fill == 'noise':
        return hide(volume, mask, noise_like(key_fill, volume)), mask
    mean = volume.mean(tuple(range(len(sides))), keepdims=True)
    return hide(volume, mask, mean if fill == 'mean' else 0.0), mask
