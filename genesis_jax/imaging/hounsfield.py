"""Whether the values of a CT can be HU, judged by what a body holds: air at -1000, fat at -100.

A scan is refused where nothing could be HU, and remarked on where its values look like something
else. The rules, of which the first that holds decides; `values` are those of a sample without the
background (0, and the lowest value if that is -1000 or less, which is air or padding):

1. All voxels are one value: refused if it is none of a body (32767), else a remark.
2. Nine values of ten lie within -5 ... 5: refused. So are scans of 0 ... 1, of -1 ... 1, with mean
   0 and standard deviation 1, in thousands of HU, and label files. With a lowest value of -900 or
   less, which is air, a remark: water alone does so, in a phantom.
3. Most values lie outside of -1100 ... 3100: a remark (16-bit grey values, a wrong slope).
4. The scan has 8 bits, or all of it lies within 0 ... 255 and reaches one of the two: a remark
   (grey values of a window).
5. Less than one value of a thousand lies below -50, and all are at least 0 with a maximum above
   3000, or a fifth of those above 200 lies around 1024, where soft tissue would be: a remark
   (HU + 1024).
6. No voxel lies below 0: a remark.

Quiet are therefore crops (a heart, a spine: fat and noise reach below 0), masked organs on 0 or on
-1024, and of the scans that rules 4 and 6 would name, those stored in more than 8 bits that are a
skull-stripped brain in its window (at most 120, a fifth of it 0) or a crop of soft tissue alone,
as of a liver (all of it within 1 ... 254).
"""

import warnings

import numpy as np

from genesis_jax.errors import ScanError, ScanRemark, in_full

_BODY = (-1100, 3100)  # HU; noise below air, metal above bone
_SAMPLE = 1_000_000  # voxels
_AIR = -900  # HU; no normalised scan has it
_WHITE = 255  # the highest of 8 bits
_BRAIN_WINDOW = 120  # HU, the highest value that is usual in one


def check_hu(voxels: np.ndarray) -> None:
    """Remarks on a CT whose values do not look like HU; see the module.

    Args:
      voxels: [Z, Y, X], of any real type, finite.

    Raises:
      ScanError: nothing could be HU.
    """
    lowest, highest = voxels.min(), voxels.max()
    low, high = float(lowest), float(highest)
    if low == high:
        _check_constant(low, in_full(lowest))
        return
    holds = f'holds values of {in_full(lowest)} to {in_full(highest)}'
    step = max(1, round((voxels.size / _SAMPLE) ** (1 / voxels.ndim)))
    sample = voxels[(slice(None, None, step),) * voxels.ndim].astype(np.float32)
    background = sample == 0
    if low <= -1000:
        background |= sample == np.float32(low)
    values = sample[~background]
    if not values.size:  # the sample missed what is there
        values = np.array([low, high], np.float32)
    near_water = _share(np.abs(values) <= 5) >= 0.9
    if near_water and low > _AIR:
        raise ScanError(
            f'{holds}, which cannot be HU (air is -1000, water 0, bone 1000): they '
            'look normalised, or like labels; export it again in HU'
        )
    eight_bits = voxels.dtype.itemsize == 1
    is_brain = low == 0 and high <= _BRAIN_WINDOW and background.mean() >= 0.2
    is_soft = low > 0 and high < _WHITE
    if (is_brain or is_soft) and not eight_bits:
        return
    if near_water:
        looks = 'most of them within -5 to 5, as of water alone: look at it if it is no phantom'
    else:
        looks = _looks_like(values, low, high, eight_bits)
    if looks:
        warnings.warn(f'{holds}, {looks}', ScanRemark, stacklevel=2)


def _looks_like(values: np.ndarray, low: float, high: float, eight_bits: bool) -> str:
    """What the values look like if not like HU, and what to do; a clause."""
    if _share((values < _BODY[0]) | (values > _BODY[1])) > 0.5:
        return (
            'most of them far from those of a body in HU (-1000 to 3000): check slope and '
            'intercept, or export it again in HU'
        )
    if eight_bits or (low >= 0 and high <= _WHITE):
        return 'which look like grey values of a window, not like HU; export it again in HU'
    around = (values > 824) & (values < 1224)
    shifted = around.sum() >= 0.2 * max(1, (values > 200).sum())
    if _share(values < -50) < 1e-3 and (shifted or (low >= 0 and high > 3000)):
        return 'which look like HU + 1024: subtract 1024, or export it again in HU'
    if low >= 0:
        return (
            'none below 0, where HU have air (-1000) and fat (-100): they look shifted or clipped; '
            'export it again in HU'
        )
    return ''


def _check_constant(value: float, text: str) -> None:
    found = f'is constant (every voxel is {text})'
    if not _BODY[0] <= value <= _BODY[1]:
        raise ScanError(f'{found}, which cannot be HU; remove it')
    warnings.warn(f'{found}, as no CT of a body is; look at it', ScanRemark, stacklevel=3)


def _share(held: np.ndarray) -> float:
    return float(held.mean())
