"""The encoder of the 3D networks of Models Genesis, and the levels of all decoders."""

from typing import Any

import flax.linen as nn
import jax

from genesis_jax.models.layers import ConvBlock, max_pool
from genesis_jax.models.normalisation import Norm
from genesis_jax.topology import LEVELS


class Encoder(nn.Module):
    """The contracting path: features of every level, finest first; the last is the bottleneck.

    Level l ends with `2 * width * 2**l` channels.
    """

    width: int
    norm: Norm
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        levels = []
        for level in range(LEVELS):
            x = max_pool(x) if level else x
            features = (self.width * 2**level, 2 * self.width * 2**level)
            x = level_of(self, features, f'level_{level}')(x)
            levels.append(x)
        return levels


class _Level(nn.Module):
    """Two convolution blocks."""

    features: tuple[int, int]
    norm: Norm
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, features in enumerate(self.features):
            x = ConvBlock(features, self.norm, self.dtype, name=f'block_{i}')(x)
        return x


def level_of(part: Any, features: tuple[int, int], name: str) -> nn.Module:
    """A level of an encoder or decoder, `part`."""
    level = nn.remat(_Level) if part.remat else _Level
    return level(features, part.norm, part.dtype, name=name)


def published_encoder(network: Any, norm: Norm) -> nn.Module:
    """The part `encoder` of a 3D network."""
    return Encoder(network.width, norm, network.dtype, network.remat, name='encoder')
