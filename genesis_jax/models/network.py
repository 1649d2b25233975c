"""What all networks share: the attributes, the batch normalisation, the encoder."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax

from genesis_jax.models.layers import ConvBlock, max_pool

LEVELS = 4
DIVISOR = 2 ** (LEVELS - 1)  # every side of the input must divide by it: three max-pools


class Network(nn.Module):
    """A network that starts with the encoder of Models Genesis.

    Variables are `params` and `batch_stats`, with a part of each name that the network's own
    docstring gives; the `encoder` is the same in all.

    Attributes:
      width: channels of the first convolution; level l ends with `2 * width * 2**l` channels.
      out_channels: number of logits.
      batch_statistics: 'synchronised': batch statistics (over all devices) in training, running
        averages in evaluation; 'official': batch statistics always, as the published network is
        used, so that a prediction depends on its neighbours in the batch.
      epsilon, statistics_momentum: of batch normalisation (1e-5 and 0.9 in PyTorch, 1e-3 and 0.99
        in Keras).
      dtype: of the computation ('float32' or 'bfloat16'); parameters, statistics and logits are
        float32 in any case.
      remat: recompute the activations inside each level on the way back instead of keeping them.
      frozen_encoder: the encoder neither learns nor changes its running averages, which it uses in
        training as in evaluation.
      axis_name: the mapped axis over which batch statistics are synchronised, if any.
    """

    width: int = 32
    out_channels: int = 1
    batch_statistics: str = 'synchronised'
    epsilon: float = 1e-5
    statistics_momentum: float = 0.9
    dtype: str = 'float32'
    remat: bool = False
    frozen_encoder: bool = False
    axis_name: str | None = None

    def predict(self, variables, x):
        """Logits in evaluation, with the statistics that `batch_statistics` says."""
        # Flax updates batch statistics wherever it computes them; here they are thrown away.
        return self.apply(variables, x, train=False, mutable=['batch_stats'])[0]

    def norm(self, train):
        """The batch normalisation of a layer, in training or in evaluation."""
        of_batch = train or self.batch_statistics == 'official'
        return partial(
            nn.BatchNorm,
            use_running_average=not of_batch,
            momentum=self.statistics_momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            axis_name=self.axis_name if of_batch else None,
        )

    def encode(self, x, train):
        """Features of every level, finest first; to be called in a compact method."""
        check_sides(x.shape[1:-1])
        norm = self.norm(train and not self.frozen_encoder)
        levels = Encoder(self.width, norm, self.dtype, self.remat, name='encoder')(x)
        return jax.lax.stop_gradient(levels) if self.frozen_encoder else levels


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
            x = level_of(self, features, f'level_{level}')(x)
            levels.append(x)
        return levels


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


def level_of(part, features, name):
    """A level of an encoder or decoder, `part`."""
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
