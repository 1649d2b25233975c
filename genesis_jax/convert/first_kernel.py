"""The first kernel of a network for another number of input channels. NumPy only."""

from typing import Any

import numpy as np


def path_in(variables: dict[str, Any]) -> tuple[str, ...]:
    """Where it is in these variables, which have an encoder."""
    encoder = variables['params']['encoder']
    first = ('stem',) if 'stem' in encoder else ('level_0', 'block_0')
    return ('params', 'encoder', *first, 'conv', 'kernel')


def get(variables: dict[str, Any]) -> Any:
    """The kernel, `[..., in, out]`."""
    for key in path_in(variables):
        variables = variables[key]
    return variables


def with_channels(variables: dict[str, Any], channels: int) -> dict[str, Any]:
    """The variables with a kernel for so many input channels.

    Every input channel gets the sum over the old channels, divided by the new number: an image that
    is the same in all channels gives the response that it gave before.
    """
    kernel = get(variables)
    mean = kernel.sum(axis=-2, keepdims=True) / channels
    new = np.repeat(mean, channels, axis=-2).astype(kernel.dtype)
    return _replaced(variables, path_in(variables), new)


def _replaced(tree, path, value):
    return {**tree, path[0]: _replaced(tree[path[0]], path[1:], value)} if path else value
