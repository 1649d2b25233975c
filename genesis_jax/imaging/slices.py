"""Slices and their neighbours, in pure NumPy: for readers of datasets, who need no SimpleITK."""

import numpy as np


def neighbours(z: int | np.ndarray, depth: int) -> list:
    """The slice below slice (or slices) `z` of `depth`, `z`, and the one above it."""
    return [np.maximum(z - 1, 0), z, np.minimum(z + 1, depth - 1)]
