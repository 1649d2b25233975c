"""DICOM segmentations (SEG): the masks of a file on the slices of a series.

By the places of its frames, as series are read: frames may be missing, in any order, on another
grid. highdicom, which writes them (`seg_writing`), reads no tilted stack as a volume.
"""

import itertools
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import iter_pixels
from scipy import ndimage

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.frames import Frame, frames_of, groups_of, quiet, read_dataset, value_of
from genesis_jax.imaging.stacks import Stack, affine_of, axes_of

_OFF = 0.1  # of a gap, or of a pixel: how far a frame may lie from its place
_PARALLEL = 0.999  # cosine
_SAME = 0.25  # of a voxel: grids that differ by less have the same voxels


class Elsewhere(ScanError):
    """Labels are drawn, but no voxel of the scan is in them."""


class Segments:
    """The segments of a file, each as a mask on the slices of a series.

    Args:
      path: of the file.
      stack: of the series.

    Raises:
      ScanError: the file cannot be read, or its frames do not form one stack.
    """

    def __init__(self, path: Path, stack: Stack) -> None:
        self._path, self._stack = path, stack
        self._dataset = read_dataset(path)
        frames = frames_of(self._dataset, path.name, 0)
        self._affine, self._places = _layout(self._dataset, frames, stack, path)
        self._whole = self._dataset.get('SegmentationType') == 'LABELMAP'
        self._frames: dict[int, list[int]] = defaultdict(list)  # by segment
        for number in range(0 if self._whole else len(frames)):
            groups = groups_of(self._dataset, number)
            args = 'SegmentIdentification', 'ReferencedSegmentNumber'
            self._frames[int(value_of(self._dataset, groups, *args) or 1)].append(number)

    @quiet()
    def mask(self, names: Collection[str]) -> np.ndarray:
        """Bool [slices, rows, columns]: the voxels of any segment of these names (`name_key`).

        Raises:
          Elsewhere: none of their voxels are on the slices.
          ScanError: the pixels cannot be decoded.
        """
        numbers = [
            int(item.SegmentNumber)
            for item in self._dataset.SegmentSequence
            if name_key(item.get('SegmentLabel', '')) in names
        ]
        rows, columns = int(self._dataset.Rows), int(self._dataset.Columns)
        voxels = np.zeros((max(self._places) + 1, rows, columns), bool)
        for frame, held in self._held(numbers):
            voxels[self._places[frame]] |= held
        moved = to_slices(voxels, self._affine, self._stack)
        self._check_place(voxels, moved)
        return moved

    def _held(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames with what they hold of these segments, bool [rows, columns]."""
        wanted = [frame for number in numbers for frame in self._frames[number]]
        if self._whole:
            wanted = list(range(len(self._places)))
        if not numbers or not wanted:
            return
        half = 1.0
        if self._dataset.get('SegmentationType') == 'FRACTIONAL':
            half = int(self._dataset.get('MaximumFractionalValue') or 255) / 2
        try:
            decoded = _pixels(self._dataset, wanted)
            for frame, pixels in zip(wanted, decoded, strict=True):
                yield frame, np.isin(pixels, numbers) if self._whole else pixels >= half
        except Exception:  # whatever a decoder raises
            raise ScanError(
                f'has the labels {self._path.name}, whose pixels cannot be decoded; export them '
                'again'
            ) from None

    def _check_place(self, voxels: np.ndarray, moved: np.ndarray) -> None:
        """Remarks on labels that reach beyond the slices; Elsewhere if none are on them."""
        held = [np.flatnonzero(voxels.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
        if not held[0].size:
            return
        name = self._path.name
        if not moved.any():
            raise Elsewhere(f'has labels that lie beside it ({name})')
        ends = [[indices[0], indices[-1]] for indices in held]
        corners = np.array([[*corner, 1] for corner in itertools.product(*ends)])
        places = corners @ (np.linalg.inv(self._stack.affine) @ self._affine)[:3].T
        last = np.array(moved.shape[::-1]) - 1
        if (np.maximum(-places, places - last) > 0.5 + _SAME).any():
            warnings.warn(
                f'has labels that reach beyond it ({name}), where they are left out',
                ScanRemark,
                stacklevel=3,
            )


def _pixels(dataset: pydicom.Dataset, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """The stored values [rows, columns] of some frames."""
    if dataset.BitsAllocated != 1 or dataset.file_meta.TransferSyntaxUID.is_compressed:
        yield from iter_pixels(dataset, indices=numbers)
        return
    # pydicom's does not read single frames that begin within a byte.
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    shape = int(dataset.Rows), int(dataset.Columns)
    size = shape[0] * shape[1]
    if 8 * packed.size < size * int(dataset.get('NumberOfFrames') or 1):
        raise ValueError('bytes are missing')
    for number in numbers:
        first, skipped = divmod(number * size, 8)
        bits = np.unpackbits(packed[first:], count=skipped + size, bitorder='little')
        yield bits[skipped:].reshape(shape)


def name_key(name: object) -> str:
    """What names of segments and ROIs are compared by."""
    return str(name).strip().casefold()


def _layout(
    dataset: pydicom.Dataset, frames: Sequence[Frame], stack: Stack, path: Path
) -> tuple[np.ndarray, list[int]]:
    """[4, 4] from column, row and place to mm, and the place of every frame, from 0 on."""
    first, axes = frames[0], axes_of(frames[0])
    for frame in frames:
        alike = np.allclose(frame.axes, first.axes, rtol=0, atol=1e-3)
        if not (alike and np.allclose(frame.spacing, first.spacing, rtol=1e-3)):
            raise ScanError(
                f'has the labels {path.name}, whose frames differ in orientation or spacing; '
                'export them again'
            )
    positions = np.array([frame.position for frame in frames])
    moved = positions - positions[0]
    for step in _steps(dataset, axes, moved, stack):
        places = np.rint(moved @ step / (step @ step))
        sides = (*first.spacing, abs(step @ axes[2]))
        if (np.abs((moved - places[:, None] * step) @ axes.T) <= _OFF * np.array(sides)).all():
            origin = positions[0] + places.min() * step
            return affine_of(first, axes, origin, step), (places - places.min()).astype(
                int
            ).tolist()
    raise ScanError(
        f'has the labels {path.name}, whose frames are not evenly spaced; export them again'
    )


def _steps(
    dataset: pydicom.Dataset, axes: np.ndarray, moved: np.ndarray, stack: Stack
) -> Iterator[np.ndarray]:
    """What may lead from one place to the next, mm [3]: what is declared, then what is likely.

    Frames without a voxel are left out of most files, so the nearest two say little.
    """
    groups = groups_of(dataset, 0)
    gaps = [
        value_of(dataset, groups, 'PixelMeasures', keyword)
        for keyword in ('SpacingBetweenSlices', 'SliceThickness')
    ]
    parallel = abs(axes[2] @ stack.axes[2]) > _PARALLEL
    usual = stack.affine[:3, 2] if parallel else None
    apart = np.diff(np.unique(np.round(moved @ axes[2], 3)))
    for gap in (gaps[0], usual, gaps[1], apart.min(initial=np.inf)):
        if isinstance(gap, np.ndarray):
            yield gap
        elif gap and 0 < float(gap) < np.inf:
            yield float(gap) * axes[2]


def to_slices(voxels: np.ndarray, affine: np.ndarray, stack: Stack) -> np.ndarray:
    """Voxels [places, rows, columns] of a grid on the slices of a stack: the nearest, or 0.

    Args:
      affine: [4, 4], of the grid: from column, row and place to mm.
    """
    across = (np.linalg.inv(affine) @ stack.affine)[:3]
    far = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*stack.shape[::-1], 1]
    shift = np.rint(across[:, 3]).astype(int)
    off = np.abs(far @ across.T - far[:, :3] - shift).max()
    if off > _SAME:
        matrix, offset = across[::-1, 2::-1], across[::-1, 3]
        values = voxels.view(np.uint8)
        moved = ndimage.affine_transform(
            values, matrix, offset, stack.shape, order=0, mode='grid-constant'
        )
        return moved.view(voxels.dtype)
    moved = np.zeros(stack.shape, voxels.dtype)
    pairs = zip(shift[::-1], voxels.shape, stack.shape, strict=True)
    spans = [(max(0, -s), max(0, min(size, old - s)), s) for s, old, size in pairs]
    if all(low < high for low, high, _ in spans):
        inner = tuple(slice(low, high) for low, high, _ in spans)
        moved[inner] = voxels[tuple(slice(low + s, high + s) for low, high, s in spans)]
    return moved
