"""The 3D U-Net of Models Genesis and its classifier as PyTorch modules; see `resnet` for 2D.

Arrays are `[B, C, X, Y(, Z)]`. The state dicts have the names of the published network
(`down_tr64.ops.0.conv1.weight`, ...), the attributes those of our Flax networks. Where PyTorch
differs from Flax: the running variance that training collects is the unbiased one.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from genesis_jax.topology import DIVISORS, LEVELS, check_sides, scales, up_levels

STATISTICS = ('synchronised', 'official')

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_UP_CONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DOWN = [f'down_tr{64 * 2**level}' for level in range(LEVELS)]  # the published names
_MAX_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}


class Network(nn.Module):
    """A network that starts with an encoder, here that of Models Genesis in 3D.

    Attributes:
      width: channels of the first convolution; level l ends with `2 * width * 2**l` channels.
      in_channels: of the input.
      out_channels: number of logits.
      batch_statistics: 'synchronised': batch statistics in training, running averages in
        evaluation; 'official': batch statistics always, as the published network is used, so that
        a prediction depends on its neighbours in the batch.
      epsilon: of batch normalisation (1e-5 in PyTorch, 1e-3 in Keras).
      batch_norm_momentum: what the running averages keep at a step (0.9; PyTorch calls this 0.1).
    """

    rank = 3  # spatial axes
    divisor = DIVISORS[3]  # every side of the input must divide by it

    def __init__(
        self,
        *,
        width: int = 32,
        in_channels: int = 1,
        out_channels: int = 1,
        batch_statistics: str = 'synchronised',
        epsilon: float = 1e-5,
        batch_norm_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if batch_statistics not in STATISTICS:
            raise ValueError(
                f'batch_statistics={batch_statistics!r}: expected {" or ".join(STATISTICS)}'
            )
        self.width = width
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.batch_statistics = batch_statistics
        self.epsilon = float(epsilon)
        self.batch_norm_momentum = float(batch_norm_momentum)
        self.add_encoder()

    def add_encoder(self) -> None:
        """Adds the layers that `levels` calls."""
        channels = self.in_channels
        for name, features in zip(DOWN, scales(self.width, 3), strict=True):
            blocks = _blocks(self, (channels, features // 2, features))
            self.add_module(name, nn.Sequential(OrderedDict(ops=blocks)))
            channels = features

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of every level, finest first; the last is the bottleneck.

        Raises:
          OptionError: a side does not divide by `divisor`.
        """
        check_sides(x.shape[2:], self.divisor)
        return self.levels(x)

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """`encode`, of sides that were checked."""
        levels = []
        for level, name in enumerate(DOWN):
            x = _MAX_POOL[self.rank](x, 2) if level else x
            x = self.get_submodule(name)(x)
            levels.append(x)
        return levels


class UNet(Network):
    """Encoder, decoder, one logit per output and element of the input.

    Attributes:
      upsample: 'transpose' (published PyTorch network) or 'nearest' (published Keras network).
    """

    def __init__(self, *, upsample: str = 'transpose', **common: Any) -> None:
        super().__init__(**common)
        if upsample not in ('transpose', 'nearest'):
            raise ValueError(f'upsample={upsample!r}: expected transpose or nearest')
        self.upsample = upsample
        self.ups = up_levels(self.width, self.rank)
        for up in self.ups:
            self.add_module(up.name, UpLevel(self, up.below, up.skip, up.features))
        last = _CONV[self.rank](self.ups[-1].features, self.out_channels, 1)
        self.out_tr = nn.Sequential(OrderedDict(final_conv=last))
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[B, out_channels, X, Y(, Z)]` of `[B, in_channels, X, Y(, Z)]`.

        Restored patches, and the probability of a single class, are their sigmoid.
        """
        *skips, x = self.encode(x)
        for up in self.ups:
            x = self.get_submodule(up.name)(x, skips.pop() if skips else None)
        return self.out_tr(x)


class Classifier(Network):
    """Encoder, global average pool, a hidden layer with ReLU, one logit per output.

    Attributes:
      hidden: units of the hidden layer; 0: none.
    """

    def __init__(self, *, hidden: int = 1024, **common: Any) -> None:
        super().__init__(**common)
        self.hidden = hidden
        channels = scales(self.width, self.rank)[-1]
        if hidden:
            self.dense_1 = nn.Linear(channels, hidden)
        self.dense_2 = nn.Linear(hidden or channels, self.out_channels)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[B, out_channels]` of `[B, in_channels, X, Y(, Z)]`."""
        *_, deepest = self.encode(x)
        x = deepest.mean(tuple(range(2, deepest.ndim)))
        if self.hidden:
            x = functional.relu(self.dense_1(x))
        return self.dense_2(x)


class UpLevel(nn.Module):
    """A level of the decoder: doubles the sides, takes in the encoder's features, if any."""

    def __init__(self, network: UNet, below: int, skip: int, features: int) -> None:
        super().__init__()
        self.up_conv: nn.Module
        if network.upsample == 'transpose':
            self.up_conv = _UP_CONV[network.rank](below, below, 2, stride=2)
        else:
            self.up_conv = nn.Upsample(scale_factor=2)  # nearest
        self.ops = _blocks(network, (below + skip, features, features))

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        x = self.up_conv(x)
        return self.ops(x if skip is None else torch.cat((x, skip), dim=1))


class Block(nn.Module):
    """Convolution of side 3, batch normalisation, ReLU."""

    def __init__(self, network: Network, channels: int, features: int) -> None:
        super().__init__()
        self.conv1 = _CONV[network.rank](channels, features, 3, padding=1)
        self.bn1 = BatchNorm(network, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn1(self.conv1(x)))


class BatchNorm(nn.BatchNorm3d):
    """Batch normalisation of any rank; `of_batch`: with batch statistics in evaluation too.

    The running averages change in training only, and stay in the state dict in any case.
    """

    def __init__(self, network: Network, features: int) -> None:
        super().__init__(features, eps=network.epsilon, momentum=1 - network.batch_norm_momentum)
        self.of_batch = network.batch_statistics == 'official'

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training or not self.of_batch:
            return super().forward(x)
        return functional.batch_norm(
            x, None, None, self.weight, self.bias, training=True, eps=self.eps
        )

    def _check_input_dim(self, x):
        """Any rank will do."""


def initialise(module: nn.Module) -> None:
    """Draws the weights of a layer as our Flax networks do; biases are zero."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_uniform_(module.weight, nonlinearity='relu')
    elif isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
        # Every output voxel sees one input voxel: the taps are no fan-in.
        limit = (3 / module.in_channels) ** 0.5
        nn.init.uniform_(module.weight, -limit, limit)
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity='linear')
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _blocks(network, channels):
    return nn.Sequential(*(Block(network, *channels[i : i + 2]) for i in range(2)))
