"""Building blocks of the U-Nets, for any number of spatial axes: arrays are `[B, X, Y(, Z), C]`."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from genesis_jax.models.cpu_conv3d import convolve_planes
from genesis_jax.models.normalisation import Norm


class Conv(nn.Module):
    """Convolution of odd sides, padded by half of each on both ends; parameters as in `nn.Conv`."""

    features: int
    kernel_size: Sequence[int]
    dtype: str = 'float32'
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param('kernel', _uniform(6 / math.prod(shape[:-1])), shape)
        x, kernel = jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype)
        if x.ndim < 5 or kernel.shape[0] == 1 or self.stride > 1:
            x = _convolve(x, kernel, self.stride)
        else:
            # XLA's CPU backend has no fast 3D convolution.
            x = jax.lax.platform_dependent(x, kernel, cpu=convolve_planes, default=_convolve)
        if not self.use_bias:
            return x
        bias = self.param('bias', nn.initializers.zeros, (self.features,))
        return x + jnp.asarray(bias, self.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


class ConvBlock(nn.Module):
    """Convolution of side 3, normalisation, ReLU or another activation."""

    features: int
    norm: Norm
    dtype: str = 'float32'
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.features, (3,) * (x.ndim - 2), self.dtype, name='conv')(x)
        return self.activation(self.norm(name='bn')(x))


class UpConv(nn.Module):
    """Transposed convolution of side 2 and stride 2: every voxel becomes a block of 2 per axis."""

    features: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = x.ndim - 2
        shape = (*(2,) * rank, x.shape[-1], self.features)
        # Every output voxel sees one input voxel: the taps are no fan-in.
        kernel = self.param('kernel', _uniform(3 / x.shape[-1]), shape)
        bias = self.param('bias', nn.initializers.zeros, (self.features,))
        x, kernel, bias = (jnp.asarray(a, self.dtype) for a in (x, kernel, bias))
        # Blocks do not overlap, so this is one matrix product: [B, X, …, 2, …, O].
        blocks = jnp.tensordot(x, kernel, axes=[[-1], [rank]])
        order = [0, *(a for axis in range(rank) for a in (1 + axis, 1 + rank + axis)), 1 + 2 * rank]
        doubled = [x.shape[0], *(2 * n for n in x.shape[1:-1]), self.features]
        return blocks.transpose(order).reshape(doubled) + bias.reshape((1,) * (rank + 1) + (-1,))


def upsample_nearest(x: jax.Array) -> jax.Array:
    """Doubles every spatial axis by repetition."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis)
    return x


def average_pool(x: jax.Array) -> jax.Array:
    """Mean over blocks of 2 per axis."""
    for axis in range(1, x.ndim - 1):
        halves = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = jnp.mean(halves, axis + 1)
    return x


def max_pool(x: jax.Array) -> jax.Array:
    """Maximum over blocks of 2 per axis.

    Half against half, axis by axis. Its gradient needs no scatter, and unlike that of `max` it
    does not divide by the number of elements that equal the maximum: XLA may compute these anew
    with other roundings, where none does.
    """
    for axis in range(1, x.ndim - 1):
        halves = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = jnp.maximum(*(jax.lax.index_in_dim(halves, i, axis + 1, False) for i in range(2)))
    return x


def max_pool_overlapping(x: jax.Array) -> jax.Array:
    """Maximum over windows of side 3 and stride 2, centred on every other element, per axis.

    By shifting, not by a window reduction: its gradient needs no scatter.
    """
    for axis in range(1, x.ndim - 1):
        side = x.shape[axis]
        padding = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
        padded = jnp.pad(x, padding, constant_values=-jnp.inf)
        taps = [jax.lax.slice_in_dim(padded, t, t + side, 2, axis) for t in range(3)]
        x = jnp.maximum(jnp.maximum(*taps[:2]), taps[2])
    return x


def _uniform(square):
    """Initialiser: uniform with limits ± sqrt(square); 6 / fan-in is He's, 3 / fan-in LeCun's."""

    def init(key, shape):
        # Drawn flat: the same numbers, but XLA compiles a flat draw ten times faster.
        limit = math.sqrt(square)
        return jax.random.uniform(key, (math.prod(shape),), minval=-limit, maxval=limit).reshape(
            shape
        )

    return init


def _convolve(x, kernel, stride=1):
    spatial = 'XYZ'[: x.ndim - 2]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride,) * len(spatial),
        padding=[(side // 2, side // 2) for side in kernel.shape[:-2]],
        dimension_numbers=(f'N{spatial}C', f'{spatial}IO', f'N{spatial}C'),
    )
