"""What is minimised of a restoration, by name: functions of two arrays, element by element.

    @voxel_loss('cubed')
    def cubed_error(prediction, target):

gives configs `loss.name = 'cubed'`; `'squared+absolute'` adds two up. Values lie in [0, 1].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from genesis_jax.errors import OptionError
from genesis_jax.transforms.registry import check_free, nearest_of

WHERE = ('all', 'corrupted')  # the voxels of which the loss is the mean
_HUBER_DELTA = 0.1  # of grey values from 0 to 1; beyond it the error counts linearly

VoxelLoss = Callable[[jax.Array, jax.Array], jax.Array]
VOXEL_LOSSES: dict[str, VoxelLoss] = {}


def voxel_loss(name: str, /) -> Callable[[VoxelLoss], VoxelLoss]:
    """Registers a function `(prediction, target)`, both `[B, ..., C]`, to errors of that shape."""

    def register(function: VoxelLoss) -> VoxelLoss:
        check_free(name, function, VOXEL_LOSSES.get(name))
        VOXEL_LOSSES[name] = function
        return function

    return register


def voxel_loss_of(name: str) -> VoxelLoss:
    """The function of a name, or the sum of those of several, joined by `+`.

    Raises:
      OptionError: there is none of that name.
    """
    parts = []
    for part in name.split('+'):
        if part not in VOXEL_LOSSES:
            raise OptionError(f'there is no loss {part!r}; {nearest_of(part, VOXEL_LOSSES)}')
        parts.append(VOXEL_LOSSES[part])
    if len(parts) == 1:
        return parts[0]
    first, *rest = parts
    return lambda *pair: sum((part(*pair) for part in rest), first(*pair))


@voxel_loss('squared')
def squared(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The squared error, as published."""
    return (prediction - target) ** 2


@voxel_loss('absolute')
def absolute(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The absolute error."""
    return jnp.abs(prediction - target)


@voxel_loss('huber')
def huber(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Half the squared error up to 0.1, then linear."""
    return optax.huber_loss(prediction, target, delta=_HUBER_DELTA)


@voxel_loss('log_cosh')
def log_cosh(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The logarithm of the hyperbolic cosine of the error: between squared and absolute."""
    return optax.log_cosh(prediction, target)
