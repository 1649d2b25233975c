"""The normalisations of a network: of the batch, of each example, of groups of channels.

A `Norm` takes the name of a layer, and options that all three have, such as `scale_init`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn

GROUPS = 8  # at most; fewer where they would not divide the channels
Norm = Callable[..., Callable[[Any], Any]]


def make_norm(
    kind: str,
    epsilon: float,
    dtype: str,
    of_batch: bool,
    momentum: float,
    axis_name: str | None,
) -> Norm:
    """The normalisation `kind` of `topology.NORMS`, with a scale and a bias for each channel.

    Args:
      of_batch, momentum, axis_name: of batch normalisation: whether it takes the statistics of the
        batch or the running averages, and over which mapped axis. The others keep no statistics.
    """
    if kind == 'instance':
        return partial(nn.InstanceNorm, epsilon=epsilon, dtype=dtype)
    if kind == 'group':
        return partial(_group_norm, epsilon=epsilon, dtype=dtype)
    return partial(
        nn.BatchNorm,
        use_running_average=not of_batch,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
        axis_name=axis_name,
    )


def _group_norm(**options):
    """A layer that learns from its input how many groups divide the channels."""
    return lambda x: nn.GroupNorm(math.gcd(GROUPS, x.shape[-1]), **options)(x)
