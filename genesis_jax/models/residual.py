"""Stages of residual blocks, of a ResNet (He et al., CVPR 2016) or a ResNet-D (CVPR 2019)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from genesis_jax.models.layers import Conv, average_pool
from genesis_jax.models.normalisation import Norm


class _BasicBlock(nn.Module):
    """Two convolutions of side 3, and a shortcut that changes the shape where they do.

    Attributes:
      use_bias: of the two convolutions; the shortcut's has none.
      averages: the shortcut of a stride is a mean over blocks, and a convolution of side 1 only
        where the channels change (ResNet-D); its last normalisation starts with the scale 0, so
        that the block starts as the shortcut. Otherwise it is a convolution with the stride.
    """

    features: int
    stride: int
    norm: Norm
    dtype: str
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    use_bias: bool = True
    averages: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self._conv(x, 3, self.stride, 'conv_0', self.use_bias)
        y = self._conv(self.activation(self.norm(name='bn_0')(y)), 3, 1, 'conv_1', self.use_bias)
        last = {'scale_init': nn.initializers.zeros} if self.averages else {}
        y = self.norm(name='bn_1', **last)(y)
        if self.averages:
            x = average_pool(x) if self.stride > 1 else x
            changes, stride = x.shape[-1] != self.features, 1
        else:
            changes, stride = self.stride > 1, self.stride
        if changes:
            x = self._conv(x, 1, stride, 'shortcut_conv', False)
            x = self.norm(name='shortcut_bn')(x)
        return self.activation(x + y)

    def _conv(self, x, side, stride, name, use_bias):
        sides = (side,) * (x.ndim - 2)
        return Conv(self.features, sides, self.dtype, stride, use_bias, name=name)(x)


class _Stage(nn.Module):
    """Blocks of one scale; the first has the stride."""

    features: int
    blocks: int
    stride: int
    norm: Norm
    dtype: str
    options: tuple[tuple[str, Any], ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.blocks):
            shape = (self.features, 1 if i else self.stride)
            options = dict(self.options)
            x = _BasicBlock(*shape, self.norm, self.dtype, **options, name=f'block_{i}')(x)
        return x


def stage_of(encoder: Any, shape: tuple[int, int, int], name: str, **options: Any) -> nn.Module:
    """A stage of an encoder.

    Args:
      shape: channels, number of blocks, stride.
      options: of the blocks.
    """
    stage = nn.remat(_Stage) if encoder.remat else _Stage
    return stage(*shape, encoder.norm, encoder.dtype, tuple(options.items()), name=name)
