"""What all networks share: the attributes, the batch normalisation, how the encoder is called."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax

from genesis_jax.topology import DIVISORS, check_sides


class Network(nn.Module):
    """A network that starts with an encoder.

    Variables are `params` and `batch_stats`, with a part of each name that the network's own
    docstring gives; the `encoder` is the same in all networks of as many dimensions.

    Attributes:
      width: channels of the first convolution.
      out_channels: number of logits.
      batch_statistics: 'synchronised': batch statistics (over all devices) in training, running
        averages in evaluation; 'official': batch statistics always, as the published network is
        used, so that a prediction depends on its neighbours in the batch.
      epsilon, batch_norm_momentum: of batch normalisation (1e-5 and 0.9 in PyTorch, 1e-3 and 0.99
        in Keras).
      dtype: of the computation ('float32' or 'bfloat16'); parameters, statistics and logits are
        float32 in any case.
      remat: recompute the activations inside each level on the way back instead of keeping them.
      freeze: 'encoder' or 'encoder_decoder': these parts neither learn nor change their running
        averages, which they use in training as in evaluation.
      initialiser: how new weights are drawn, see `models.initialisers` (which does it).
      axis_name: the mapped axis over which batch statistics are synchronised, if any.
      dimensions: spatial axes of the input, whose sides must divide by `DIVISORS[dimensions]`.
      make_encoder: the module of the part `encoder`, from (width, norm, dtype, remat).
    """

    width: int = 32
    out_channels: int = 1
    batch_statistics: str = 'synchronised'
    epsilon: float = 1e-5
    batch_norm_momentum: float = 0.9
    dtype: str = 'float32'
    remat: bool = False
    freeze: str = 'none'
    initialiser: str = 'he'
    axis_name: str | None = None

    dimensions: ClassVar[int]
    make_encoder: ClassVar[Callable[..., nn.Module]]

    def predict(self, variables: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """Logits in evaluation, with the statistics that `batch_statistics` says."""
        # Flax updates batch statistics wherever it computes them; here they are thrown away.
        return self.apply(variables, x, train=False, mutable=['batch_stats'])[0]

    def norm(self, train: bool) -> Callable[..., nn.Module]:
        """The batch normalisation of a layer, in training or in evaluation."""
        of_batch = train or self.batch_statistics == 'official'
        return partial(
            nn.BatchNorm,
            use_running_average=not of_batch,
            momentum=self.batch_norm_momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            axis_name=self.axis_name if of_batch else None,
        )

    def encode(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Features of every level, finest first; to be called in a compact method."""
        check_sides(x.shape[1:-1], DIVISORS[self.dimensions])
        frozen = self.freeze != 'none'
        norm = self.norm(train and not frozen)
        levels = self.make_encoder(self.width, norm, self.dtype, self.remat, name='encoder')(x)
        return jax.lax.stop_gradient(levels) if frozen else levels

    @classmethod
    def smallest_input(cls, channels: int) -> tuple[int, ...]:
        """The shape of the smallest batch: it compiles fastest, and the parameters are the same."""
        return (1, *(DIVISORS[cls.dimensions],) * cls.dimensions, channels)
