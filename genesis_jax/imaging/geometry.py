"""Scans with what it takes to write a result back into their own geometry, whatever that is.

A scan is read as in a preparation: in LPS, resampled if asked for. Two grids say where its voxels
lie: the `prepared` one, and the `stored` one of its file, whose axes may be any.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import ScanError, remarks_naming
from genesis_jax.imaging import nifti
from genesis_jax.imaging.scans import Scan, is_nifti
from genesis_jax.imaging.volumes import (
    Modality,
    as_volume,
    oriented,
    read_channels,
    read_image,
    resampled,
)

_TOLERANCE = 0.1  # voxels: headers lose digits when tools rewrite them
_SUFFIXES = {'.mhd': '.mhd', '.mha': '.mha', '.nrrd': '.nrrd', '.nhdr': '.nrrd'}


@dataclass(frozen=True)
class Grid:
    """Where an image's voxels lie, as in ITK: size, mm between voxels, mm of the first, cosines."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> 'Grid':
        """The grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def affine(self) -> np.ndarray:
        """[4, 4], from an index along the three axes, from 0 on, to mm in the world."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * self.spacing
        matrix[:3, 3] = self.origin
        return matrix

    def image(self, voxels: np.ndarray) -> sitk.Image:
        """Voxels [I, J, K] on this grid."""
        image = sitk.GetImageFromArray(voxels.T)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def corners(self) -> np.ndarray:
        """The world points [8, 3] of the corner voxels' centres, mm."""
        indices = np.array(list(np.ndindex(2, 2, 2))) * (np.array(self.size) - 1)
        return self.origin + indices * self.spacing @ np.reshape(self.direction, (3, 3)).T

    def difference(self, other: 'Grid') -> str | None:
        """The attribute that differs, if any corner is off by more than headers lose.

        Files of one scan may store their axes in different orders: compare them `oriented`.
        """
        if self.size != other.size:
            return 'size'
        moved = np.linalg.norm(self.corners() - other.corners(), axis=1)
        if moved.max() <= _TOLERANCE * min(other.spacing):
            return None
        if not np.allclose(self.spacing, other.spacing, rtol=1e-3):
            return 'spacing'
        if not np.allclose(self.direction, other.direction, rtol=0, atol=1e-3):
            return 'direction'
        return 'origin'


@dataclass(frozen=True)
class PlacedScan:
    """A scan as prepared, and where it lies.

    Attributes:
      voxels: int16 [X, Y, Z, C], not to be written to.
      window: float32 [C, 2], per channel the values that normalisation maps to 0 and 1.
      prepared: the grid of `voxels`.
      stored: the grid of the file.
    """

    voxels: np.ndarray
    window: np.ndarray
    prepared: Grid
    stored: Grid


def read_placed(
    files: Sequence[Scan], channels, modality: Modality, spacing=None, full_range=False
) -> PlacedScan:
    """Reads a scan as prepared; see `read_aligned`, and `volumes.as_volume` for `full_range`."""
    images, stored = read_aligned(files, channels, modality, spacing)
    volumes = [as_volume(image, modality, full_range) for image in images]
    return PlacedScan(
        voxels=stacked([volume.voxels for volume in volumes]),
        window=np.array([volume.window for volume in volumes], np.float32),
        prepared=Grid.of(images[0]),
        stored=stored,
    )


def stacked(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays [X, Y, Z] as one [X, Y, Z, C], of a single one without a copy."""
    return channels[0][..., None] if len(channels) == 1 else np.stack(channels, axis=-1)


def read_aligned(
    files: Sequence[Scan], channels: Sequence[str], modality: Modality, spacing=None
) -> tuple[list[sitk.Image], Grid]:
    """The channels of a scan in LPS, resampled linearly to `spacing` (mm), and the stored grid.

    Args:
      files: one per channel, or one 4D file of all.
      channels: names.

    Raises:
      ScanError: a file cannot be used, or the channels do not lie on one grid.
    """
    images = _read(files, channels, modality)
    stored = Grid.of(images[0])
    images = [oriented(image) for image in images]
    for image, file in zip(images[1:], files[1:], strict=False):
        if what := Grid.of(image).difference(Grid.of(images[0])):
            raise ScanError(
                f'has channels of different geometry ({files[0].shown} and {file.shown} differ in '
                f'{what}); resample them to one grid'
            )
        image.CopyInformation(images[0])  # else resampling may round to different sizes
    if spacing is not None:
        images = [resampled(image, spacing, modality) for image in images]
    return images, stored


def restore(values: np.ndarray, prepared: Grid, stored: Grid) -> np.ndarray:
    """Values [X, Y, Z] on the prepared grid as [I, J, K] on the stored one.

    Exact where the axes were only turned, linear where the scan was resampled; the border's values
    go on beyond the prepared grid, which may end half a voxel before the scan does.
    """
    order, signs = _turn(prepared, stored)
    if _is_turned(prepared, stored, order):
        steps = tuple(slice(None, None, -1 if sign < 0 else None) for sign in signs)
        return values.transpose(order)[steps]
    image = sitk.Resample(
        prepared.image(values), stored.size, sitk.Transform(), sitk.sitkLinear, stored.origin,
        stored.spacing, stored.direction, useNearestNeighborExtrapolator=True,
    )  # fmt: skip
    return sitk.GetArrayFromImage(image).T


def output_suffix(scan: Scan) -> str:
    """The format of what is written for a scan: its own, and NIfTI for NIfTI and DICOM."""
    return _SUFFIXES.get(scan.files[0].suffix.lower(), '.nii.gz')


def write_image(voxels: np.ndarray, grid: Grid, path: Path, scan: Path) -> None:
    """Writes voxels [I, J, K], compressed, to a file that is either complete or not there.

    What is of a NIfTI `scan` says in all its ways where it lies, for any viewer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and beside its destination, where renaming is one step; a header names its data file,
    # so the files have their names already.
    with tempfile.TemporaryDirectory(prefix='.partial_', dir=path.parent) as scratch:
        if is_nifti(scan):
            nifti.write(voxels, Path(scratch, path.name), like=scan)
        else:
            sitk.WriteImage(grid.image(voxels), str(Path(scratch, path.name)), useCompression=True)
        files = sorted(Path(scratch).iterdir(), key=lambda file: file.name == path.name)
        for file in files:  # the one asked for last: it makes the others mean something
            os.replace(file, path.with_name(file.name))


def _read(files: Sequence[Scan], channels: Sequence[str], modality: Modality) -> list[sitk.Image]:
    if len(files) == len(channels) == 1:
        return [read_image(files[0], modality)]
    if len(files) == len(channels):
        images = []
        for file in files:
            with remarks_naming(file.shown):
                images.append(read_image(file, modality))
        return images
    try:
        return read_channels(files[0].files[0], len(channels), modality)
    except ScanError as error:
        raise ScanError(f'{error}; {naming(channels)}, or give one 4D file') from None


def _turn(prepared: Grid, stored: Grid) -> tuple[list[int], np.ndarray]:
    """For each stored axis, the prepared axis that runs along it, and whether alike (1) or not."""
    cosines = np.reshape(prepared.direction, (3, 3)).T @ np.reshape(stored.direction, (3, 3))
    order = np.abs(cosines).argmax(axis=0)
    return order.tolist(), np.sign(cosines[order, range(3)])


def _is_turned(prepared: Grid, stored: Grid, order: Sequence[int]) -> bool:
    """Whether both grids have the same voxels."""
    sizes = tuple(prepared.size[axis] for axis in order)
    spacing = tuple(prepared.spacing[axis] for axis in order)
    return sizes == stored.size and np.allclose(spacing, stored.spacing, rtol=1e-6, atol=0)


def naming(channels: Sequence[str]) -> str:
    """How to name the files of the channels, in words."""
    names = ', '.join(f'CASE_{number:04} ({name})' for number, name in enumerate(channels))
    return f'the network takes {len(channels)} channels: name their files {names}'
