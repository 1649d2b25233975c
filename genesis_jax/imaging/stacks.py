"""DICOM frames to one volume: which belong together, in which order, and whether on a true grid.

Every slice has to lie within a tenth of a gap, and within the plane of a pixel, of its place on one
straight line, or as near as positions are that were rounded to 0.1 mm. A line that leaves the
slices' normal (a tilted gantry) makes a sheared stack, which is resampled to right angles.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.frames import Frame

_ALIKE = 1e-3  # of spacing (relative) and direction cosines
_OFF = 0.1  # of a gap, or of a pixel within the plane: how far a slice may lie from its place
_ROUNDED = 0.09  # mm; the same of places rounded to 0.1 mm, where that is
_QUARTER = 0.25  # of a gap or pixel at most
_STRAIGHT = 0.25  # of a pixel: a line that ends nearer to the normal is not resampled
_SAME = 1e-3  # mm
_KEPT = 4  # times as many frames belong together as are left out, or all are refused


@dataclass(frozen=True)
class Stack:
    """Frames on a line.

    Attributes:
      frames: from the first place to the last.
      axes: [3, 3], unit vectors along x, y and the slices' normal.
      gap: mm between neighbours along the normal.
      drift: mm [2], along x and y from one slice to the next; 0 where the grid has right angles.
    """

    frames: tuple[Frame, ...]
    axes: np.ndarray
    gap: float
    drift: np.ndarray

    @property
    def affine(self) -> np.ndarray:
        """[4, 4], from column, row and slice, each from 0 on, to mm in the world."""
        first, step = self.frames[0], self.drift @ self.axes[:2] + self.gap * self.axes[2]
        return affine_of(first, self.axes, np.array(first.position), step)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        columns, rows = self.frames[0].size
        return len(self.frames), rows, columns


def affine_of(frame: Frame, axes: np.ndarray, origin: np.ndarray, step: np.ndarray) -> np.ndarray:
    """[4, 4], from column, row and slice to mm, of frames a `step` (mm [3]) apart."""
    matrix = np.eye(4)
    matrix[:3] = np.stack([*(axes[:2] * np.reshape(frame.spacing, (2, 1))), step, origin], axis=1)
    return matrix


def stack_frames(frames: Sequence[Frame]) -> Stack:
    """The frames of a series as one stack; those that differ from nearly all are left out.

    Raises:
      ScanError: they do not form one evenly spaced stack.
    """
    frames = _alike(_once(frames))
    if len(frames) < 2:
        raise ScanError('is a DICOM series of a single slice; a volume needs at least two')
    axes = axes_of(frames[0])
    positions = np.array([frame.position for frame in frames])
    order = np.argsort(positions @ axes[2], kind='stable')
    ordered = [frames[index] for index in order]
    places = (positions[order] - positions[order[0]]) @ axes.T  # along x, y and the normal
    gap = _checked_gap(ordered, places[:, 2])
    return Stack(tuple(ordered), axes, gap, _checked_drift(ordered, places[:, :2], gap))


def as_image(
    stack: Stack, voxels: np.ndarray, fill: float, interpolator: int = sitk.sitkLinear
) -> sitk.Image:
    """Voxels [slices, rows, columns] of a stack as an image whose axes are at right angles.

    Args:
      fill: the value beyond the slices, where a tilted stack has to be resampled.
      interpolator: of SimpleITK, then.
    """
    first = stack.frames[0]
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((*first.spacing, stack.gap))
    image.SetOrigin(first.position)
    image.SetDirection(stack.axes.T.ravel())
    if not stack.drift.any():
        return image
    tilt = math.degrees(math.atan2(np.linalg.norm(stack.drift), stack.gap))
    warnings.warn(
        f'has slices tilted by {tilt:.1f} degrees (a gantry); it is resampled to right angles',
        ScanRemark,
        stacklevel=2,
    )
    return _upright(stack, image, fill, interpolator)


def _upright(stack, image, fill, interpolator):
    """The image of a sheared stack, on a grid that holds all of it."""
    origin, normal = np.array(image.GetOrigin()), stack.axes[2]
    per_mm = stack.drift @ stack.axes[:2] / stack.gap  # mm of drift for each mm along the normal
    # From a place in the world to where the image, laid out upright, holds it.
    shear = sitk.AffineTransform(3)
    shear.SetMatrix((np.eye(3) - np.outer(per_mm, normal)).ravel())
    shear.SetTranslation(per_mm * (origin @ normal))
    far = stack.drift * (len(stack.frames) - 1)
    pixel = np.array(stack.frames[0].spacing)
    more = np.ceil(np.abs(far) / pixel).astype(int)
    start = origin + (np.where(far < 0, -more, 0) * pixel) @ stack.axes[:2]
    size = [int(n) for n in (*(np.array(image.GetSize()[:2]) + more), image.GetSize()[2])]
    return sitk.Resample(
        image, size, shear, interpolator, start.tolist(), image.GetSpacing(), image.GetDirection(),
        fill,
    )  # fmt: skip


def _once(frames):
    """Without the copies of a file under another name."""
    first: dict[tuple[str, int], Frame] = {}
    copies = []
    for frame in frames:
        key = (frame.uid or frame.name, frame.number)
        if first.setdefault(key, frame) is frame:
            continue
        if first[key].position != frame.position:
            return list(frames)  # somebody gave all of them one UID
        copies.append(frame.name)
    if copies:
        warnings.warn(
            f'holds copies of {len(copies)} slices ({_listed(copies)}), which are left out',
            ScanRemark,
            stacklevel=2,
        )
    return list(first.values())


def _alike(frames):
    """The frames of one size, spacing and orientation, where few are not.

    Raises:
      ScanError: many are not.
    """
    groups: list[list[Frame]] = []
    for frame in frames:
        group = next((group for group in groups if _difference(group[0], frame) is None), None)
        if group is None:
            groups.append(group := [])
        group.append(frame)
    groups.sort(key=len, reverse=True)
    kept, others = groups[0], [frame for group in groups[1:] for frame in group]
    if not others:
        return kept
    what = _difference(kept[0], others[0])
    values = [getattr(frame, what) for frame in (kept[0], others[0])]
    name = {'axes': 'orientation'}.get(what, what)
    between = f'{_joined(values[0])} in {kept[0].name} and {_joined(values[1])} in {others[0].name}'
    error = ScanError(
        f'mixes slices of different {name}: {between}; put each stack into a folder of its own, or '
        'take the localizer away'
    )
    left_out({frame.name: error for frame in others}, len(kept), f'of another {name}')
    return kept


def left_out(odd: Mapping[str, ScanError], kept: int, what: str) -> None:
    """Remarks on what is left out beside `kept` frames; `odd` has the reasons by name.

    Raises:
      ScanError: the first of them, if they are more than a few.
    """
    if kept < _KEPT * len(odd):
        raise next(iter(odd.values()))
    if odd:
        names = _listed(list(odd))
        count = 'one image' if len(odd) == 1 else f'{len(odd)} images'
        warnings.warn(f'holds {count} {what}, left out: {names}', ScanRemark, stacklevel=3)


def _difference(one, other):
    """The attribute in which two frames differ too much to be of one stack."""
    if one.size != other.size:
        return 'size'
    if not np.allclose(one.spacing, other.spacing, rtol=_ALIKE, atol=0):
        return 'spacing'
    return None if np.allclose(one.axes, other.axes, rtol=0, atol=_ALIKE) else 'axes'


def axes_of(frame: Frame) -> np.ndarray:
    """Unit vectors at right angles nearest to those of the header, which round."""
    x, y = np.reshape(frame.axes, (2, 3))
    normal = np.cross(x, y)
    u, _, v = np.linalg.svd(np.array([x, y, normal / np.linalg.norm(normal)]))
    return u @ v


def _checked_gap(ordered, heights):
    """The distance of neighbours in mm, once each lies at its place.

    Raises:
      ScanError: slices lie at the same place, are missing, or unevenly spaced.
    """
    gaps = np.diff(heights)
    twin = int(np.argmin(gaps))
    if gaps[twin] < _SAME:
        raise ScanError(_same_places(ordered, heights, twin))
    usual = float(np.median(gaps))
    worst = int(np.argmax(np.abs(gaps - usual)))
    gap, off = _line(heights)
    allowed = _allowed(usual)
    if abs(gaps[worst] - usual) > 2 * allowed or off.max() > allowed:
        raise ScanError(
            f'has missing or unevenly spaced slices: {gaps[worst]:.3f} mm between '
            f'{ordered[worst].name} and {ordered[worst + 1].name}, {usual:.3f} mm elsewhere; '
            'complete the series, or put stacks of different gaps into folders of their own'
        )
    return float(gap)


def _same_places(ordered, heights, twin):
    """What is wrong where a slice lies in the place of the one before it, the number `twin`."""
    counts = np.unique(np.round(heights / _SAME), return_counts=True)[1]
    several = int(counts[0]) if (counts == counts[0]).all() else 1
    if several == len(heights):
        return f'has all its {several} images at one position, so they are no volume; remove it'
    if several > 1:
        return (
            f'has {several} images at every position, as of {several} phases, echoes or '
            'reconstructions; put each into a folder of its own'
        )
    return (
        f'has two slices at the same position ({ordered[twin].name} and {ordered[twin + 1].name}); '
        'remove the duplicates'
    )


def _checked_drift(ordered, places, gap):
    """Mm [2] by which each slice lies further along x and y; zeros where it is rounding.

    Raises:
      ScanError: slices leave the straight line.
    """
    drift, off = _line(places)
    pixel = np.array(ordered[0].spacing)
    if (off > [_allowed(side) for side in pixel]).any():
        worst = int(off.max(axis=1).argmax())
        raise ScanError(
            f'has slices that are shifted against each other: {ordered[worst].name} lies '
            f'{np.linalg.norm(off[worst]):.4g} mm beside the line of the others; export the series '
            'again'
        )
    whole = np.abs(drift) * (len(places) - 1)
    return np.zeros(2) if (whole <= _STRAIGHT * pixel).all() else drift


def _allowed(side):
    """Mm by which a slice may lie off its place, of the gap or a pixel's side."""
    return max(_OFF * side, min(_ROUNDED, _QUARTER * side), _SAME)


def _line(places):
    """The step of a line through places [N] or [N, 2], and how far each lies off it.

    From end to end where that is exact; else the nearest line, so that the rounding of its ends
    does not count for all.
    """
    numbers = np.arange(len(places))
    column = numbers if places.ndim == 1 else numbers[:, None]
    step = (places[-1] - places[0]) / (len(places) - 1)
    off = np.abs(places - places[0] - column * step)
    if off.max() > _SAME:
        step, start = np.polyfit(numbers, places, 1)
        off = np.abs(places - start - column * step)
    return step, off


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def _joined(numbers: Sequence[float]) -> str:
    glue = ' x ' if len(numbers) < 6 else ', '  # of axes
    return glue.join(f'{number:.6g}' for number in numbers)
