"""The first kernel of a network for another number of input channels. NumPy only."""

import numpy as np


def path_in(variables):
    """Where it is in these variables, which have an encoder."""
    first = ('stem',) if 'stem' in variables['params']['encoder'] else ('level_0', 'block_0')
    return ('params', 'encoder', *first, 'conv', 'kernel')


def for_channels(kernel, channels):
    """A kernel `[..., in, out]` for so many input channels.

    Every input channel gets the sum over the old channels, divided by the new number: an image that
    is the same in all channels gives the response that it gave before.
    """
    mean = kernel.sum(axis=-2, keepdims=True) / channels
    return np.repeat(mean, channels, axis=-2).astype(kernel.dtype)


def line(old, new):
    """What was done, in words."""
    how = 'summed' if new == 1 else 'repeated and rescaled'
    return f'first kernel: {old} input channels there, {new} here: {how}'
