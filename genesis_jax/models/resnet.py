"""ResNet-18 (He et al., CVPR 2016) as an encoder: that of ImageNet weights, without classifier."""

from collections.abc import Callable

import flax.linen as nn
import jax

from genesis_jax.models.layers import Conv, max_pool_overlapping
from genesis_jax.topology import BLOCKS, STAGES


class ResNet18(nn.Module):
    """Features of five scales, finest first: the stem's (1/2), before its pool, then the stages'.

    They have width, width, 2, 4 and 8 times the width channels, at 1/2, 1/4, 1/8, 1/16 and 1/32 of
    the sides. No convolution has a bias.
    """

    width: int
    norm: Callable[..., nn.Module]
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = _Stem(self.width, self.norm, self.dtype, name='stem')(x)
        scales = [x]
        x = max_pool_overlapping(x)
        stage = nn.remat(_Stage) if self.remat else _Stage
        for i in range(STAGES):
            features, stride = self.width * 2**i, 2 if i else 1
            x = stage(features, stride, self.norm, self.dtype, name=f'level_{i + 1}')(x)
            scales.append(x)
        return scales


class _Stem(nn.Module):
    """Convolution of side 7 and stride 2, batch normalisation, ReLU."""

    features: int
    norm: Callable[..., nn.Module]
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        sides = (7,) * (x.ndim - 2)
        x = Conv(self.features, sides, self.dtype, stride=2, use_bias=False, name='conv')(x)
        return nn.relu(self.norm(name='bn')(x))


class _Stage(nn.Module):
    """Basic blocks of one scale; the first has the stride."""

    features: int
    stride: int
    norm: Callable[..., nn.Module]
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(BLOCKS):
            stride = 1 if i else self.stride
            x = _BasicBlock(self.features, stride, self.norm, self.dtype, name=f'block_{i}')(x)
        return x


class _BasicBlock(nn.Module):
    """Two convolutions of side 3, and a shortcut: of side 1 where the shape changes."""

    features: int
    stride: int
    norm: Callable[..., nn.Module]
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm(name='bn_0')(self._conv(x, 3, self.stride, 'conv_0')))
        y = self.norm(name='bn_1')(self._conv(y, 3, 1, 'conv_1'))
        if self.stride > 1:
            x = self._conv(x, 1, self.stride, 'shortcut_conv')
            x = self.norm(name='shortcut_bn')(x)
        return nn.relu(x + y)

    def _conv(self, x, side, stride, name):
        sides = (side,) * (x.ndim - 2)
        conv = Conv(self.features, sides, self.dtype, stride=stride, use_bias=False, name=name)
        return conv(x)
