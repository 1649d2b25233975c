"""The 3D U-Net of Models Genesis (MedIA 2021, section 4; published PyTorch network)."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from genesis_jax.models.layers import Conv, UpConv, upsample_nearest
from genesis_jax.models.network import Network, level_of


class UNet3D(Network):
    """U-Net of four levels; the default has 19,073,665 parameters.

    Its parts are `encoder`, `decoder` and `head` (the head has no statistics).

    Attributes:
      upsample: 'transpose' (published PyTorch network) or 'nearest' (published Keras network).
    """

    upsample: str = 'transpose'

    @nn.compact
    def __call__(self, x, *, train):
        """Logits `[B, X, Y, Z, out_channels]` of `[B, X, Y, Z, C]`; ValueError on bad sides."""
        levels = self.encode(x, train)
        decoder = Decoder(
            self.width, self.norm(train), self.upsample, self.dtype, self.remat, name='decoder'
        )
        head = Conv(self.out_channels, (1,) * (x.ndim - 2), self.dtype, name='head')
        return head(decoder(levels)).astype(jnp.float32)


class Decoder(nn.Module):
    """The expanding path: from the bottleneck to full resolution, taking in the skips."""

    width: int
    norm: Callable[..., nn.Module]
    upsample: str = 'transpose'
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, levels):
        *skips, x = levels
        for level, skip in reversed(list(enumerate(skips))):
            if self.upsample == 'transpose':
                x = UpConv(x.shape[-1], self.dtype, name=f'up_{level}')(x)
            else:
                x = upsample_nearest(x)
            x = jnp.concatenate([x, skip], axis=-1)
            x = level_of(self, (skip.shape[-1],) * 2, f'level_{level}')(x)
        return x
