"""The U-Nets: a decoder on the features of an encoder (MedIA 2021, section 4, and its 2D rows)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from genesis_jax.models.layers import Conv, UpConv, upsample_nearest
from genesis_jax.models.network import Network
from genesis_jax.models.normalisation import Norm
from genesis_jax.models.resnet import resnet_encoder
from genesis_jax.models.unet_encoder import level_of, published_encoder
from genesis_jax.topology import NETWORKS, last_features


class UNet(Network):
    """Encoder, decoder, one logit per output and element of the input.

    Its parts are `encoder`, `decoder` and `head` (the head has no statistics), with
    `deep_supervision` also `heads`.

    Attributes:
      deep_supervision: in training the coarser levels of the decoder answer, too, all but the
        coarsest (Isensee et al., nnU-Net, 2021): each has a head of its own in the part `heads`.
    """

    deep_supervision: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array | list[jax.Array]:
        """Logits `[B, X, Y(, Z), out_channels]` of `[B, X, Y(, Z), C]`; ValueError on bad sides.

        In training with `deep_supervision` a list: these, and those of every coarser level that
        answers, each of half the sides of the one before.
        """
        levels = self.encode(x, train)
        frozen = self.freeze == 'encoder_decoder'
        decoder = self.make_decoder(self.make_norm(train and not frozen))
        head = Conv(self.out_channels, (1,) * (x.ndim - 2), self.dtype, name='head')
        features = decoder(levels)
        features = jax.lax.stop_gradient(features) if frozen else features
        logits = head(features[0]).astype(jnp.float32)
        if self.deep_supervision and (train or self.is_initializing()):
            coarser = Heads(self.out_channels, self.dtype, name='heads')(features[1:-1])
            return [logits, *coarser] if train else logits
        return logits

    def make_decoder(self, norm: Norm) -> nn.Module:
        """The part `decoder`: from the encoder's features to its own, finest first."""
        raise NotImplementedError


class _Published(UNet):
    """A network whose decoder is made as the published one.

    Attributes:
      upsample: 'transpose' (published PyTorch network) or 'nearest' (published Keras network).
    """

    upsample: str = 'transpose'

    def make_decoder(self, norm: Norm) -> nn.Module:
        last = last_features(self.width) if NETWORKS[self.topology].halvings else 0
        return Decoder(norm, self.upsample, last, self.dtype, self.remat, name='decoder')


class UNet3D(_Published):
    """The published U-Net, of `[B, X, Y, Z, C]`; the default has 19,073,665 parameters.

    Level l of the encoder ends with `2 * width * 2**l` channels.
    """

    topology = 'unet3d'
    make_encoder = published_encoder


class UNet2D(_Published):
    """U-Net on a ResNet-18, of `[B, X, Y, C]`; the default has 15,818,401 parameters.

    ImageNet weights load in its encoder. The decoder takes in the four finer scales, and a last
    level without skip brings back the sides of the input: 4, 2, 1, 1 and a half times the width
    channels. (The authors' 2D decoder was never published; its levels here are made as in 3D.)
    """

    width: int = 64

    topology = 'unet2d'
    make_encoder = resnet_encoder


class Heads(nn.Module):
    """The heads of coarser levels: logits of each, from features of falling resolution."""

    out_channels: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, features: Sequence[jax.Array]) -> list[jax.Array]:
        logits = []
        for n, x in enumerate(features, start=1):
            head = Conv(self.out_channels, (1,) * (x.ndim - 2), self.dtype, name=f'coarser_{n}')
            logits.append(head(x).astype(jnp.float32))
        return logits


class Decoder(nn.Module):
    """The expanding path: from the bottleneck to full resolution, taking in the skips.

    Returns the features of every level, finest first.

    Attributes:
      last: channels of a last level, without skip, that doubles the sides once more; 0: none.
    """

    norm: Norm
    upsample: str = 'transpose'
    last: int = 0
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, levels: Sequence[jax.Array]) -> list[jax.Array]:
        *skips, x = levels
        features = []
        for level, skip in reversed(list(enumerate(skips))):
            x = jnp.concatenate([self._double(x, f'up_{level}'), skip], axis=-1)
            x = level_of(self, (skip.shape[-1],) * 2, f'level_{level}')(x)
            features.append(x)
        if self.last:
            x = level_of(self, (self.last,) * 2, 'level_last')(self._double(x, 'up_last'))
            features.append(x)
        return features[::-1]

    def _double(self, x, name):
        if self.upsample == 'nearest':
            return upsample_nearest(x)
        return UpConv(x.shape[-1], self.dtype, name=name)(x)
