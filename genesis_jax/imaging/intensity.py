"""Values of any type as int16, and the window in which they lie."""

import numpy as np

from genesis_jax.errors import ScanError, in_full

_INT16 = np.iinfo(np.int16)
_TOLERANCE = 1e-3  # of whole numbers, which resampling and slopes leave
_PERCENTILES = (0.5, 99.5)
_PERCENTILE_STRIDE = 4  # along each axis: these values tell the range as well as all


def as_int16(voxels: np.ndarray) -> np.ndarray:
    """Voxels of any type, rounded and clipped to what int16 holds."""
    if voxels.dtype == np.int16:
        return voxels
    rounded = np.rint(voxels) if voxels.dtype.kind == 'f' else voxels
    return rounded.clip(_INT16.min, _INT16.max).astype(np.int16)


def whole(labels: np.ndarray) -> np.ndarray:
    """Labels within 1e-3 of an integer as that integer."""
    if labels.dtype.kind != 'f':
        return labels
    nearest = np.rint(labels)
    return np.where(np.abs(labels - nearest) <= _TOLERANCE, nearest, labels)


def is_whole(voxels: np.ndarray) -> bool:
    """Whether int16 holds the values, but for a thousandth of one."""
    if voxels.dtype == np.int16:
        return True
    if voxels.min() < _INT16.min or voxels.max() > _INT16.max:
        return False
    return voxels.dtype.kind != 'f' or bool((np.abs(voxels - np.rint(voxels)) <= _TOLERANCE).all())


def in_range(
    voxels: np.ndarray, full_range: bool = False
) -> tuple[np.ndarray, tuple[float, float]]:
    """Voxels as stored, int16, and their window: the range between two percentiles, or all.

    Integers that fit are kept. Anything else is clipped to the range and spread over
    0 ... 32767, which is then the window.

    Raises:
      ScanError: every voxel is the same.
    """
    low = high = 0.0
    if not full_range:
        sample = voxels[(slice(None, None, _PERCENTILE_STRIDE),) * voxels.ndim]
        low, high = (float(value) for value in np.percentile(sample, _PERCENTILES))
    if low == high:  # the full range, or nearly empty: a few bright voxels on one value
        low, high = float(voxels.min()), float(voxels.max())
    if low == high:
        raise ScanError(f'is constant (every voxel is {in_full(low)}); remove it')
    if _fits_int16(voxels):
        return as_int16(voxels), (low, high)
    scaled = (voxels.astype(np.float32).clip(low, high) - low) * (_INT16.max / (high - low))
    return as_int16(scaled), (0.0, float(_INT16.max))


def _fits_int16(voxels: np.ndarray) -> bool:
    if voxels.dtype == np.int16:
        return True
    if voxels.min() < _INT16.min or voxels.max() > _INT16.max:
        return False
    return voxels.dtype.kind != 'f' or np.array_equal(voxels, np.rint(voxels))
