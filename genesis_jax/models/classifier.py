"""An encoder with a classification head (protocol of Models Genesis' target tasks)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genesis_jax.models.network import Network
from genesis_jax.models.resnet import resnet_encoder
from genesis_jax.models.unet_encoder import published_encoder


class Classifier(Network):
    """Encoder, global average pool, a hidden layer with ReLU, one logit per output.

    Its parts are `encoder`, `hidden` and `head` (the last two have no statistics).

    Attributes:
      hidden: units of the hidden layer; 0: none, so that with a frozen encoder this is a linear
        probe.
    """

    hidden: int = 1024

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Logits `[B, out_channels]` of `[B, X, Y(, Z), C]`; ValueError on bad sides."""
        *_, deepest = self.encode(x, train)
        features = jnp.mean(deepest, axis=tuple(range(1, x.ndim - 1)))
        if self.hidden:
            features = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name='hidden')(features))
        head = nn.Dense(self.out_channels, dtype=self.dtype, name='head')
        return head(features).astype(jnp.float32)


class Classifier3D(Classifier):
    """The classifier of volumes `[B, X, Y, Z, C]`, with the encoder of `UNet3D`."""

    topology = 'unet3d'
    make_encoder = published_encoder


class Classifier2D(Classifier):
    """The classifier of images `[B, X, Y, C]`, with the encoder of `UNet2D`: a ResNet-18."""

    width: int = 64

    topology = 'unet2d'
    make_encoder = resnet_encoder
