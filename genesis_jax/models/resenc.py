"""nnU-Net's residual-encoder U-Net (Isensee et al., nnU-Net Revisited, MICCAI 2024)."""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from genesis_jax.models.classifier import Classifier
from genesis_jax.models.layers import ConvBlock, UpConv
from genesis_jax.models.network import Network
from genesis_jax.models.normalisation import Norm
from genesis_jax.models.residual import stage_of
from genesis_jax.models.unet import UNet
from genesis_jax.topology import RESENC_BLOCKS, resenc_features

_activation = partial(nn.leaky_relu, negative_slope=0.01)


class _ResEnc(Network):
    """What the network and its classifier share.

    Attributes:
      blocks: residual blocks of each stage, and by their number that of the stages. Stage s has
        `width * 2**s` channels, at most ten times the width. nnU-Net's sizes M, L and XL are the
        default: they differ in patch and batch.
    """

    norm: str = 'instance'
    blocks: tuple[int, ...] | None = None

    topology = 'resenc3d'

    def make_encoder(self, norm: Norm) -> nn.Module:
        features, blocks = tuple(resenc_features(vars(self))), self.blocks or RESENC_BLOCKS
        return ResidualEncoder(features, blocks, norm, self.dtype, self.remat, name='encoder')


class ResEncUNet3D(_ResEnc, UNet):
    """The network of `[B, X, Y, Z, C]`; the default has 102,348,193 parameters."""

    def make_decoder(self, norm: Norm) -> nn.Module:
        return _Decoder(norm, self.dtype, self.remat, name='decoder')


class ResEncClassifier3D(_ResEnc, Classifier):
    """The classifier of volumes `[B, X, Y, Z, C]`, with the encoder of `ResEncUNet3D`."""


class ResidualEncoder(nn.Module):
    """Features of every stage, finest first: a stem, then residual blocks; strides, no pools."""

    features: tuple[int, ...]
    blocks: tuple[int, ...]
    norm: Norm
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = ConvBlock(self.features[0], self.norm, self.dtype, _activation, name='stem')(x)
        levels = []
        for level, (features, blocks) in enumerate(zip(self.features, self.blocks, strict=True)):
            shape = (features, blocks, 2 if level else 1)
            stage = stage_of(self, shape, f'level_{level}', activation=_activation, averages=True)
            x = stage(x)
            levels.append(x)
        return levels


class _Decoder(nn.Module):
    """Transposed convolutions to the channels of the skips, then one convolution block a stage."""

    norm: Norm
    dtype: str
    remat: bool

    @nn.compact
    def __call__(self, levels: Sequence[jax.Array]) -> list[jax.Array]:
        *skips, x = levels
        block = nn.remat(ConvBlock) if self.remat else ConvBlock
        features = []
        for level, skip in reversed(list(enumerate(skips))):
            channels = skip.shape[-1]
            x = UpConv(channels, self.dtype, name=f'up_{level}')(x)
            x = jnp.concatenate([x, skip], axis=-1)
            x = block(channels, self.norm, self.dtype, _activation, name=f'level_{level}')(x)
            features.append(x)
        return features[::-1]
