"""The 2D networks in PyTorch: a U-Net and a classifier on a standard ResNet-18.

The encoder's names in the state dicts are those of torchvision and timm (`layer1.0.conv1.weight`),
so that `load_state_dict(torchvision.models.resnet18(...).state_dict(), strict=False)` fills it too.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from genesis_jax.topology import BLOCKS, DIVISORS, STAGES, scales
from genesis_jax.torch.networks import BatchNorm, Classifier, Network, UNet


class _OnResNet18(Network):
    """What makes a network start with a ResNet-18.

    Attributes:
      width: channels of the stem and of the first stage; each further one has twice as many.
    """

    rank = 2
    divisor = DIVISORS[2]

    def __init__(self, *, width: int = 64, **others: Any) -> None:
        super().__init__(width=width, **others)

    def add_encoder(self) -> None:
        """Adds the layers that `levels` calls."""
        channels = scales(self.width, 2)
        self.conv1 = nn.Conv2d(self.in_channels, self.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm(self, self.width)
        for stage in range(1, STAGES + 1):
            before, after = channels[stage - 1 : stage + 1]
            blocks = [BasicBlock(self, before, after, 1 if stage == 1 else 2)]
            blocks += [BasicBlock(self, after, after, 1) for _ in range(1, BLOCKS)]
            self.add_module(f'layer{stage}', nn.Sequential(*blocks))

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of five scales, finest first: the stem's, before its pool, then the stages'."""
        features = [functional.relu(self.bn1(self.conv1(x)))]
        x = functional.max_pool2d(features[0], 3, stride=2, padding=1)
        for stage in range(1, STAGES + 1):
            x = self.get_submodule(f'layer{stage}')(x)
            features.append(x)
        return features


class UNet2D(_OnResNet18, UNet):
    """The U-Net of images `[B, C, X, Y]`."""


class Classifier2D(_OnResNet18, Classifier):
    """The classifier of images `[B, C, X, Y]`."""


class BasicBlock(nn.Module):
    """Two convolutions of side 3, and a shortcut: of side 1 where the shape changes."""

    def __init__(self, network: Network, channels: int, features: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, features, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm(network, features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(network, features)
        self.downsample = None
        if stride > 1:
            shortcut = nn.Conv2d(channels, features, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, BatchNorm(network, features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))
