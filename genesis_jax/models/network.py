"""What all networks share: the attributes, the normalisation, how the encoder is called."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax

from genesis_jax.models.normalisation import Norm, make_norm
from genesis_jax.topology import NETWORKS, check_sides


class Network(nn.Module):
    """A network that starts with an encoder.

    Variables are `params` and, with batch normalisation, `batch_stats`, with a part of each name
    that the network's own docstring gives; the `encoder` is the same in the network and in its
    classifier.

    Attributes:
      width: channels of the first convolution.
      out_channels: number of logits.
      norm: one of `topology.NORMS`; see `models.normalisation`.
      batch_statistics: 'synchronised': batch statistics (over all devices) in training, running
        averages in evaluation; 'official': batch statistics always, as the published network is
        used, so that a prediction depends on its neighbours in the batch.
      epsilon: of the normalisation (1e-5 in PyTorch, 1e-3 in Keras).
      batch_norm_momentum: of running averages (0.9 in PyTorch, 0.99 in Keras).
      dtype: of the computation ('float32' or 'bfloat16'); parameters, statistics and logits are
        float32 in any case.
      remat: recompute the activations inside each level on the way back instead of keeping them.
      freeze: 'encoder' or 'encoder_decoder': these parts neither learn nor change their running
        averages, which they use in training as in evaluation.
      initialiser: how new weights are drawn, see `models.initialisers` (which does it).
      axis_name: the mapped axis over which batch statistics are synchronised, if any.
      topology: the row of `topology.NETWORKS`.
    """

    width: int = 32
    out_channels: int = 1
    norm: str = 'batch'
    batch_statistics: str = 'synchronised'
    epsilon: float = 1e-5
    batch_norm_momentum: float = 0.9
    dtype: str = 'float32'
    remat: bool = False
    freeze: str = 'none'
    initialiser: str = 'he'
    axis_name: str | None = None

    topology: ClassVar[str]

    @property
    def dimensions(self) -> int:
        """Spatial axes of the input."""
        return NETWORKS[self.topology].dimensions

    @property
    def divisor(self) -> int:
        """What every side of the input must divide by."""
        return NETWORKS[self.topology].divisor(vars(self))

    def make_encoder(self, norm: Norm) -> nn.Module:
        """The module of the part `encoder`: from the input to features, finest first."""
        raise NotImplementedError

    def predict(self, variables: Mapping[str, Any], x: jax.Array) -> jax.Array:
        """Logits in evaluation, with the statistics that `batch_statistics` says."""
        # Flax updates batch statistics wherever it computes them; here they are thrown away.
        return self.apply(variables, x, train=False, mutable=['batch_stats'])[0]

    def make_norm(self, train: bool) -> Norm:
        """The normalisation of a layer, in training or in evaluation."""
        of_batch = train or self.batch_statistics == 'official'
        axis_name = self.axis_name if of_batch else None
        common = (self.epsilon, self.dtype)
        return make_norm(self.norm, *common, of_batch, self.batch_norm_momentum, axis_name)

    def encode(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Features of every level, finest first; to be called in a compact method."""
        check_sides(x.shape[1:-1], self.divisor)
        frozen = self.freeze != 'none'
        levels = self.make_encoder(self.make_norm(train and not frozen))(x)
        return jax.lax.stop_gradient(levels) if frozen else levels

    def smallest_input(self, channels: int) -> tuple[int, ...]:
        """The shape of the smallest batch: it compiles fastest, and the parameters are the same."""
        return (1, *(self.divisor,) * self.dimensions, channels)
