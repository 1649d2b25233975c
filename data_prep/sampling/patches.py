"""Which patches of a labelled scan to train on, in pure NumPy.

A patch that reaches over the end of a scan that is smaller is filled up: each channel with its
window's low end, the mask with background.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.types import LabelledVolume, Patch

Start = tuple[int, ...]


@dataclass(frozen=True)
class RandomPatches:
    """Patches at random places, a share of them centred on labelled voxels.

    Half by default: a liver fills some 3 % of an abdominal scan, a tumour less, so patches at
    random would teach little but background, and soft Dice of a batch without foreground has no
    gradient towards it; patches on foreground alone would never show what else there is. Each
    class gets its turn with equal chance, as small ones are the harder.

    Attributes:
      size: voxels along x, y, z.
      per_scan: patches of one scan; as many as pre-training takes.
      foreground_share: of the patches; a scan without foreground gives as many at random.
    """

    size: tuple[int, int, int] = (64, 64, 32)
    per_scan: int = 32
    foreground_share: float = 0.5

    def starts(self, rng: np.random.Generator, volume: LabelledVolume) -> list[Start]:
        """First voxels of the patches."""
        shape, size = np.array(volume.mask.shape), np.array(self.size)
        per_slice = _voxels_per_slice(volume.mask)
        present = np.flatnonzero(per_slice[1:].sum(axis=1)) + 1
        labelled = round(self.foreground_share * self.per_scan) if len(present) else 0
        room = np.maximum(shape - size, 0)
        starts = []
        for number in range(self.per_scan):
            if number < labelled:
                index = rng.choice(present)
                centre = _random_voxel(rng, volume.mask, index, per_slice[index])
                start = np.clip(centre - size // 2, 0, room)
            else:
                start = rng.integers(0, room + 1)
            starts.append(_centred(start, shape, size))
        return starts


@dataclass(frozen=True)
class GridPatches:
    """Patches on a regular grid, those kept that show enough of the patient.

    Attributes:
      size: voxels along x, y, z.
      stride: mm between neighbours.
      min_content: least share of a patch's voxels that differ from the scan's first voxel, which
        is the black around the brain of a skull-stripped scan (brains may hold values below it).
    """

    size: tuple[int, int, int] = (64, 64, 32)
    stride: float = 30.0
    min_content: float = 0.1

    def starts(self, rng: np.random.Generator, volume: LabelledVolume) -> list[Start]:
        """First voxels of the patches; nothing is drawn."""
        del rng
        shape, size = np.array(volume.mask.shape), np.array(self.size)
        content = (volume.voxels != volume.voxels[0, 0, 0]).any(axis=-1)
        axes = [
            np.arange(0, max(room, 0) + 1e-6, self.stride / mm).round().astype(int)
            for room, mm in zip(shape - size, volume.spacing, strict=True)
        ]
        starts = []
        for start in np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3):
            inside = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
            if content[inside].sum() >= self.min_content * size.prod():
                starts.append(_centred(start, shape, size))
        return starts


PatchRule = RandomPatches | GridPatches


def cut_patches(
    volume: LabelledVolume, starts: Sequence[Start], size: tuple[int, int, int]
) -> list[Patch]:
    """The patches at these first voxels, filled up where they reach over the scan's end."""
    padding = np.ceil(volume.window[:, 0]).astype(np.int16)
    patches = []
    for start in starts:
        low = np.maximum(start, 0)
        high = np.minimum(np.add(start, size), volume.mask.shape)
        source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        cube = np.empty((*size, len(padding)), np.int16)
        cube[:] = padding
        cube[target] = volume.voxels[source]
        mask = np.zeros(size, np.uint8)
        mask[target] = volume.mask[source]
        patches.append(Patch(cube, start, mask=mask))
    return patches


def _centred(start: np.ndarray, shape: np.ndarray, size: np.ndarray) -> Start:
    """The start, moved before the scan where the scan is smaller than a patch."""
    return tuple(int(n) for n in np.where(shape < size, (shape - size) // 2, start))


def _voxels_per_slice(mask: np.ndarray) -> np.ndarray:
    """How many voxels each class has in each slice, [classes, Z]."""
    counts = [np.bincount(plane.ravel(), minlength=256) for plane in mask.T]
    return np.stack(counts, axis=1)


def _random_voxel(
    rng: np.random.Generator, mask: np.ndarray, index: int, per_slice: np.ndarray
) -> np.ndarray:
    """One of the voxels of a class, each with equal chance; searches one slice only."""
    ends = per_slice.cumsum()
    chosen = rng.integers(ends[-1])
    z = int(np.searchsorted(ends, chosen, side='right'))
    plane = mask[:, :, z].T  # in memory order
    flat = np.flatnonzero(plane == index)[chosen - (ends[z - 1] if z else 0)]
    y, x = np.unravel_index(flat, plane.shape)
    return np.array([x, y, z])
