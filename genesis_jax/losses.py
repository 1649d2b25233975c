"""Losses, one value per example."""

import jax.numpy as jnp


def squared_error(prediction, target):
    """Mean squared error over each example's voxels and channels: `[B, ..., C]` to `[B]`."""
    return jnp.mean((prediction - target) ** 2, axis=tuple(range(1, target.ndim)))
