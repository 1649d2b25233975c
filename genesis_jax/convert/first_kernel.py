"""The first kernel of a network for another number of input channels. NumPy only."""

import numpy as np

PATH = ('params', 'encoder', 'level_0', 'block_0', 'conv', 'kernel')


def for_channels(kernel, channels):
    """A kernel `[..., in, out]` for so many input channels.

    Every input channel gets the sum over the old channels, divided by the new number: an image that
    is the same in all channels gives the response that it gave before.
    """
    mean = kernel.sum(axis=-2, keepdims=True) / channels
    return np.repeat(mean, channels, axis=-2).astype(kernel.dtype)


def line(old, new):
    """What was done, in words."""
    return f'first kernel: {old} input channels there, {new} here: repeated and rescaled'
