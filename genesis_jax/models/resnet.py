"""ResNet-18 (He et al., CVPR 2016) as an encoder: that of ImageNet weights, without classifier."""

from typing import Any

import flax.linen as nn
import jax

from genesis_jax.models.layers import Conv, max_pool_overlapping
from genesis_jax.models.normalisation import Norm
from genesis_jax.models.residual import stage_of
from genesis_jax.topology import BLOCKS, STAGES


class ResNet18(nn.Module):
    """Features of five scales, finest first: the stem's (1/2), before its pool, then the stages'.

    They have width, width, 2, 4 and 8 times the width channels, at 1/2, 1/4, 1/8, 1/16 and 1/32 of
    the sides. No convolution has a bias.
    """

    width: int
    norm: Norm
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = _Stem(self.width, self.norm, self.dtype, name='stem')(x)
        scales = [x]
        x = max_pool_overlapping(x)
        for i in range(STAGES):
            shape = (self.width * 2**i, BLOCKS, 2 if i else 1)
            x = stage_of(self, shape, f'level_{i + 1}', use_bias=False)(x)
            scales.append(x)
        return scales


class _Stem(nn.Module):
    """Convolution of side 7 and stride 2, batch normalisation, ReLU."""

    features: int
    norm: Norm
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        sides = (7,) * (x.ndim - 2)
        x = Conv(self.features, sides, self.dtype, stride=2, use_bias=False, name='conv')(x)
        return nn.relu(self.norm(name='bn')(x))


def resnet_encoder(network: Any, norm: Norm) -> nn.Module:
    """The part `encoder` of a 2D network."""
    return ResNet18(network.width, norm, network.dtype, network.remat, name='encoder')
