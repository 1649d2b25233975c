"""DICOM structure sets (RTSTRUCT): the voxels inside their contours, on the slices of a series.

A voxel is inside if its centre is. The libraries for RTSTRUCT round contours to pixels first, and
have not been kept for years, so the polygons are filled here.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.frames import quiet, read_dataset
from genesis_jax.imaging.seg_reading import Elsewhere, name_key
from genesis_jax.imaging.stacks import Stack

_CLOSED = ('CLOSED_PLANAR', 'CLOSEDPLANAR_XOR')
_NOISE = 1e-3  # of a pixel: what rounding in headers moves a point by
_FLAT = 0.5  # of a gap: how far the heights of one contour may differ
_BETWEEN = 0.1  # of a gap: a contour further from its slice is remarked on


class Rois:
    """The regions of interest of a file, each as a mask on the slices of a series.

    Args:
      path: of the file.
      stack: of the series.

    Raises:
      ScanError: the file cannot be read.
    """

    def __init__(self, path: Path, stack: Stack) -> None:
        self._file, self._stack = path.name, stack
        self._dataset = read_dataset(path)

    @quiet()
    def mask(self, names: Collection[str]) -> np.ndarray:
        """Bool [slices, rows, columns]: the voxels in any ROI of these names (`name_key`).

        Contours of a ROI in one plane are even-odd: one inside another is a hole.

        Raises:
          Elsewhere: such ROIs enclose no voxel of the slices.
          ScanError: a contour is no list of points.
        """
        voxels = np.zeros(self._stack.shape, bool)
        own = [roi for roi in rois_of(self._dataset) if name_key(roi[0]) in names]
        for name, contours in own:
            for place, polygons in self._by_slice(name, self._planes(name, contours)).items():
                voxels[place] |= _inside(polygons, self._stack.shape[1:])
        if own and not voxels.any():
            raise Elsewhere(
                f'has no voxel inside the closed contours of {own[0][0]!r} ({self._file})'
            )
        return voxels

    def _planes(
        self, name: str, contours: Sequence[pydicom.Dataset]
    ) -> dict[float, list[np.ndarray]]:
        """The polygons by height, in columns, rows and slices of the stack."""
        count = len(self._stack.frames)
        to_index = np.linalg.inv(self._stack.affine)[:3]
        planes: dict[float, list[np.ndarray]] = defaultdict(list)
        left = {'not closed': 0, 'not parallel to its slices': 0, 'beyond its slices': 0}
        for contour in contours:
            points = self._points(name, contour)
            if not _is_closed(contour):
                left['not closed'] += 1
                continue
            indices = points @ to_index[:, :3].T + to_index[:, 3]
            height = float(indices[:, 2].mean())
            if np.ptp(indices[:, 2]) > _FLAT:
                left['not parallel to its slices'] += 1
            elif not -0.5 <= height <= count - 0.5:
                left['beyond its slices'] += 1
            else:
                planes[round(height, 2)].append(indices[:, :2])
        for why, number in left.items():
            if number:
                some, are = (f'{number} contours', 'are') if number > 1 else ('a contour', 'is')
                self._remark(f'{some} of {name!r} that {are} {why}, which {are} left out')
        return planes

    def _points(self, name: str, contour: pydicom.Dataset) -> np.ndarray:
        """The corners of a contour, mm [N, 3]."""
        try:
            return np.array(_numbers(contour), float).reshape(-1, 3)
        except ValueError:
            raise ScanError(
                f'has labels with a contour of {name!r} that is no list of points ({self._file}); '
                'export them again'
            ) from None

    def _by_slice(
        self, name: str, planes: Mapping[float, list[np.ndarray]]
    ) -> dict[int, list[np.ndarray]]:
        """The polygons of the plane nearest to each slice that has one within half a gap."""
        last = len(self._stack.frames) - 1
        # Half-way always up: planes that all lie between slices stay on slices of their own.
        places = {height: min(max(math.floor(height + 0.5), 0), last) for height in planes}
        nearest: dict[int, float] = {}
        for height in sorted(planes, key=lambda height: abs(height - places[height])):
            nearest.setdefault(places[height], height)
        if left := len(planes) - len(nearest):
            self._remark(f'contours of {name!r} in {_planes_of(left)} between others, left out')
        if off := sum(abs(height - place) > _BETWEEN for place, height in nearest.items()):
            self._remark(
                f'contours of {name!r} in {_planes_of(off)} between its slices, now on these'
            )
        steps = np.diff(sorted(nearest))
        if len(steps) > 1 and np.median(steps) > 1:
            self._remark(f'contours of {name!r} on one of {np.median(steps):g} slices only')
        return {place: planes[height] for place, height in nearest.items()}

    def _remark(self, what: str) -> None:
        warnings.warn(f'has {what} ({self._file})', ScanRemark, stacklevel=3)


def rois_of(dataset: pydicom.Dataset) -> list[tuple[str, list[pydicom.Dataset]]]:
    """The name and all contours of every ROI with at least one that is closed."""
    return [(name, own) for name, own in _rois(dataset) if any(map(_is_closed, own))]


def unfilled_of(dataset: pydicom.Dataset) -> list[str]:
    """The names of the ROIs without a closed contour, such as isocentres, markers and lines."""
    return [name for name, own in _rois(dataset) if not any(map(_is_closed, own))]


def _rois(dataset: pydicom.Dataset) -> list[tuple[str, list[pydicom.Dataset]]]:
    drawn: dict[Any, list[pydicom.Dataset]] = defaultdict(list)
    for item in dataset.get('ROIContourSequence') or []:
        contours = [one for one in item.get('ContourSequence') or [] if 'ContourData' in one]
        drawn[item.get('ReferencedROINumber')] += contours
    named = {
        item.get('ROINumber'): str(item.get('ROIName', '')).strip()
        for item in dataset.get('StructureSetROISequence') or []
    }
    return [(name, drawn.get(number, [])) for number, name in named.items() if name]


def _is_closed(contour: pydicom.Dataset) -> bool:
    return contour.get('ContourGeometricType') in _CLOSED and len(_numbers(contour)) > 2 * 3


def _numbers(contour: pydicom.Dataset) -> list[Any]:
    """What a contour lists, not yet understood."""
    # As stored: pydicom makes an object of every number, which takes ten times as long.
    stored = contour.get_item('ContourData').value or b''
    words = stored.split(b'\\') if isinstance(stored, bytes) else stored
    return [word for word in words if word]


def _planes_of(number: int) -> str:
    return f'{number} planes' if number > 1 else 'a plane'


def _inside(polygons: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels [rows, columns] whose centres an odd number of polygons encloses.

    A centre on an edge is inside where the edge is the low one in x or y, so that polygons that
    share an edge share no pixel.

    Args:
      polygons: each [N, 2], columns and rows of its corners, pixel centres being whole numbers.
    """
    rows, columns = shape
    once = {np.round(polygon / _NOISE).astype(int).tobytes(): polygon for polygon in polygons}
    odd = np.zeros((rows, columns + 1), bool)
    for polygon in once.values():
        near = np.rint(polygon)
        corners = np.where(np.abs(polygon - near) < _NOISE, near, polygon)
        ends = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
        # From low to high, so that both ways along the slit of a keyhole cross at the same place.
        ends = np.where((ends[:, :1, 1:] > ends[:, 1:, 1:]), ends[:, ::-1], ends)
        low, high = np.ceil(ends[:, :, 1].T).astype(int).clip(0, rows)
        many = high - low
        y = np.arange(many.sum()) + np.repeat(high - np.cumsum(many), many)
        edge = np.repeat(ends, many, axis=0)
        share = (y - edge[:, 0, 1]) / (edge[:, 1, 1] - edge[:, 0, 1])
        x = edge[:, 0, 0] + share * (edge[:, 1, 0] - edge[:, 0, 0])
        np.logical_xor.at(odd, (y, np.ceil(x).astype(int).clip(0, columns)), True)
    return np.logical_xor.accumulate(odd[:, :-1], axis=1)
