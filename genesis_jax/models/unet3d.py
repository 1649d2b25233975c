"""The 3D U-Net of Models Genesis (MedIA 2021, section 4; published PyTorch network)."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from genesis_jax.models.layers import Conv, ConvBlock, UpConv, max_pool, upsample_nearest

LEVELS = 4
DIVISOR = 2 ** (LEVELS - 1)  # every side of the input must divide by it: three max-pools


class UNet3D(nn.Module):
    """U-Net of four levels; the default has 19,073,665 parameters.

    Variables are `params` and `batch_stats`, each with the parts `encoder`, `decoder` and `head`
    (the head has no statistics).

    Attributes:
      width: channels of the first convolution; level l ends with `2 * width * 2**l` channels.
      out_channels: channels of the logits.
      upsample: 'transpose' (published PyTorch network) or 'nearest' (published Keras network).
      batch_statistics: 'synchronised': batch statistics (over all devices) in training, running
        averages in evaluation; 'official': batch statistics always, as the published network is
        used, so that a prediction depends on its neighbours in the batch.
      epsilon, statistics_momentum: of batch normalisation (1e-5 and 0.9 in PyTorch, 1e-3 and 0.99
        in Keras).
      dtype: of the computation ('float32' or 'bfloat16'); parameters, statistics and logits are
        float32 in any case.
      remat: recompute the activations inside each level on the way back instead of keeping them.
      axis_name: the mapped axis over which batch statistics are synchronised, if any.
    """

    width: int = 32
    out_channels: int = 1
    upsample: str = 'transpose'
    batch_statistics: str = 'synchronised'
    epsilon: float = 1e-5
    statistics_momentum: float = 0.9
    dtype: str = 'float32'
    remat: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        """Logits `[B, X, Y, Z, out_channels]` of `[B, X, Y, Z, C]`; ValueError on bad sides."""
        check_sides(x.shape[1:-1])
        of_batch = train or self.batch_statistics == 'official'
        norm = partial(
            nn.BatchNorm,
            use_running_average=not of_batch,
            momentum=self.statistics_momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            axis_name=self.axis_name if of_batch else None,
        )
        parts = {'width': self.width, 'norm': norm, 'dtype': self.dtype, 'remat': self.remat}
        levels = Encoder(**parts, name='encoder')(x)
        features = Decoder(**parts, upsample=self.upsample, name='decoder')(levels)
        head = Conv(self.out_channels, (1,) * (x.ndim - 2), self.dtype, name='head')
        return head(features).astype(jnp.float32)

    def predict(self, variables, x):
        """Logits in evaluation, with the statistics that `batch_statistics` says."""
        # Flax updates batch statistics wherever it computes them; here they are thrown away.
        return self.apply(variables, x, train=False, mutable=['batch_stats'])[0]


class Encoder(nn.Module):
    """The contracting path: features of every level, finest first; the last is the bottleneck."""

    width: int
    norm: Callable[..., nn.Module]
    dtype: str = 'float32'
    remat: bool = False

    @nn.compact
    def __call__(self, x):
        levels = []
        for level in range(LEVELS):
            x = max_pool(x) if level else x
            features = (self.width * 2**level, 2 * self.width * 2**level)
            x = _level(self, features, f'level_{level}')(x)
            levels.append(x)
        return levels


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
            x = _level(self, (skip.shape[-1],) * 2, f'level_{level}')(x)
        return x


class _Level(nn.Module):
    """Two convolution blocks."""

    features: tuple[int, int]
    norm: Callable[..., nn.Module]
    dtype: str

    @nn.compact
    def __call__(self, x):
        for i, features in enumerate(self.features):
            x = ConvBlock(features, self.norm, self.dtype, name=f'block_{i}')(x)
        return x


def _level(part, features, name):
    level = nn.remat(_Level) if part.remat else _Level
    return level(features, part.norm, part.dtype, name=name)


def check_sides(sides):
    """Raises ValueError unless every side divides by 8."""
    if any(side % DIVISOR for side in sides):
        nearest = tuple(max(DIVISOR, round(side / DIVISOR) * DIVISOR) for side in sides)
        raise ValueError(
            f'the U-Net halves its input three times, so every side must divide by {DIVISOR}, '
            f'but the sides are {tuple(sides)}; use for example {nearest}'
        )
