"""DICOM structure sets (RTSTRUCT): the voxels inside their contours, on the slices of a series.

A voxel is inside if its centre is. The libraries for RTSTRUCT round contours to pixels first, and
have not been kept for years, so the polygons are filled here.
"""

import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.frames import quiet, read_dataset
from genesis_jax.imaging.seg_reading import name_key
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
          ScanError: no contour of such a ROI lies on the slices.
        """
        voxels = np.zeros(self._stack.shape, bool)
        for name, contours in rois_of(self._dataset):
            if name_key(name) in names:
                for place, polygons in self._by_slice(name, self._planes(name, contours)).items():
                    voxels[place] |= _inside(polygons, self._stack.shape[1:])
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
            if contour.get('ContourGeometricType') not in _CLOSED or len(points) < 3:
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
                self._remark(f'{number} contours of {name!r} that are {why}, which are left out')
        if not planes:
            raise ScanError(
                f'has labels without a closed contour of {name!r} on its slices ({self._file}); '
                'check that they are its own'
            )
        return planes

    def _points(self, name: str, contour: pydicom.Dataset) -> np.ndarray:
        """The corners of a contour, mm [N, 3]."""
        try:
            # As stored: pydicom makes an object of every number, which takes ten times as long.
            stored = contour.get_item('ContourData').value or b''
            words = stored.split(b'\\') if isinstance(stored, bytes) else stored
            return np.array([word for word in words if word], float).reshape(-1, 3)
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
        nearest: dict[int, float] = {}
        for height in sorted(planes, key=lambda height: abs(height - round(height))):
            nearest.setdefault(min(max(round(height), 0), last), height)
        if left := len(planes) - len(nearest):
            self._remark(f'contours of {name!r} in {left} planes between others, left out')
        if off := sum(abs(height - place) > _BETWEEN for place, height in nearest.items()):
            self._remark(f'contours of {name!r} in {off} planes between its slices, now on these')
        steps = np.diff(sorted(nearest))
        if len(steps) > 1 and np.median(steps) > 1:
            self._remark(f'contours of {name!r} on one of {np.median(steps):g} slices only')
        return {place: planes[height] for place, height in nearest.items()}

    def _remark(self, what: str) -> None:
        warnings.warn(f'has {what} ({self._file})', ScanRemark, stacklevel=3)


def rois_of(dataset: pydicom.Dataset) -> list[tuple[str, list[pydicom.Dataset]]]:
    """The name and the contours of every ROI that has any."""
    names = {
        item.get('ROINumber'): str(item.get('ROIName', '')).strip()
        for item in dataset.get('StructureSetROISequence') or []
    }
    found = []
    for item in dataset.get('ROIContourSequence') or []:
        contours = [one for one in item.get('ContourSequence') or [] if 'ContourData' in one]
        name = names.get(item.get('ReferencedROINumber'))
        if name and contours:
            found.append((name, contours))
    return found


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
