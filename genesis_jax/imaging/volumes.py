"""Scan files to volumes: every format, one orientation, one axis order, one integer type.

A volume is int16 [X, Y, Z] in LPS orientation (x grows to the patient's left, y to the back,
z, the slice axis, to the head), whatever the orientation of the file.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging import dicom, itk, nifti
from genesis_jax.imaging.hounsfield import check_hu
from genesis_jax.imaging.integrity import check_finite, check_spacing
from genesis_jax.imaging.intensity import as_int16, in_range
from genesis_jax.imaging.scans import Scan, is_nifti

Modality = Literal['ct', 'mri', 'other']
MODALITIES: tuple[Modality, ...] = get_args(Modality)

CT_PADDING = -1024  # HU; scanners write lower values outside their field of view
_CT_WINDOW = (-1000.0, 1000.0)  # HU


@dataclass(frozen=True)
class Volume:
    """One scan in memory.

    Attributes:
      voxels: int16 [X, Y, Z], not to be written to, in the scan's own unit (HU for CT). CT padding
        outside the field of view is left as stored, because raising it in a whole scan takes as
        long as finding the patches: `clean` does it for any part.
      spacing: mm along x, y, z.
      window: the values that normalisation maps to 0 and 1.
      floor: the lowest value that is not padding.
    """

    voxels: np.ndarray
    spacing: tuple[float, float, float]
    window: tuple[float, float]
    floor: int = np.iinfo(np.int16).min

    def clean(self, voxels: np.ndarray) -> np.ndarray:
        """Any part of the voxels, with padding raised to the lowest real value."""
        return np.maximum(voxels, np.int16(self.floor))


def padding_of(modality: Modality) -> int:
    """The value of voxels outside the scan."""
    return CT_PADDING if modality == 'ct' else 0


def read_volume(scan: Scan, modality: Modality, spacing: Sequence[float] | None = None) -> Volume:
    """Reads one scan, resampled linearly to `spacing` (mm) if that is given.

    Raises:
      ScanError: with one sentence on what is wrong with the scan and what to do.
    """
    image = oriented(read_image(scan, modality))
    if spacing is not None:
        image = resampled(image, spacing, modality)
    return as_volume(image, modality)


def read_image(scan: Scan, modality: Modality) -> sitk.Image:
    """Reads one scan as stored: its own voxel type, axes and geometry.

    Raises:
      ScanError: with one sentence on what is wrong with the scan and what to do.
    """
    if scan.remark:
        warnings.warn(scan.remark, ScanRemark, stacklevel=2)
    if scan.is_dicom:
        return _checked(dicom.read_series(scan.files, modality), modality)
    return _checked(_read_file(scan.files[0])[0], modality)


def read_channels(path: Path, count: int, modality: Modality) -> list[sitk.Image]:
    """Reads a 4D file of `count` channels, each as stored.

    Raises:
      ScanError: with one sentence on what is wrong with the file and what to do.
    """
    return [_checked(image, modality) for image in _read_file(path, count)]


def oriented(image: sitk.Image) -> sitk.Image:
    """The image with its axes turned and flipped to those nearest to LPS."""
    if _orientation(image) == 'LPS':  # DICOMOrient copies even where nothing has to turn
        return image
    return sitk.DICOMOrient(image, 'LPS')


def as_volume(image: sitk.Image, modality: Modality, full_range: bool = False) -> Volume:
    """The image's voxels as int16 [X, Y, Z], with their window.

    `full_range` makes the window of anything but CT its minimum and maximum, not its robust range.

    Raises:
      ScanError: not CT, and constant.
    """
    voxels = _own_array(image).T
    if modality == 'ct':
        return Volume(as_int16(voxels), image.GetSpacing(), _CT_WINDOW, CT_PADDING)
    stored, window = in_range(voxels, full_range)
    return Volume(stored, image.GetSpacing(), window)


def _checked(image: sitk.Image, modality: Modality) -> sitk.Image:
    check_spacing(image.GetSpacing())
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.dtype.kind == 'f':
        check_finite(voxels)
    if modality == 'ct':
        check_hu(voxels)
    return image


def _read_file(path: Path, channels: int = 1) -> list[sitk.Image]:
    """The channels of a file, each a 3D image."""
    try:
        return (nifti if is_nifti(path) else itk).read(path, channels)
    except OSError as error:
        raise ScanError(f'cannot be read ({error.strerror}); check that it is there') from None


def _orientation(image: sitk.Image) -> str:
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())


def resampled(image: sitk.Image, spacing: Sequence[float], modality: Modality) -> sitk.Image:
    """The image at another spacing (mm), interpolated linearly; its first voxel stays in place."""
    padding = float(padding_of(modality))
    if modality == 'ct':
        image = sitk.Maximum(image, padding)  # else padding bleeds into the body's edge
    sides = zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    size = [max(1, round(side * old / new)) for side, old, new in sides]
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear,
        image.GetOrigin(), tuple(spacing), image.GetDirection(), padding,
    )  # fmt: skip


@dataclass(frozen=True)
class _Owned:
    """Makes an array keep its image alive: SimpleITK's own views dangle once the image is gone."""

    image: sitk.Image

    @property
    def __array_interface__(self) -> dict:
        return sitk.GetArrayViewFromImage(self.image).__array_interface__


def _own_array(image: sitk.Image) -> np.ndarray:
    """The image's voxels [Z, Y, X], without a copy."""
    return np.asarray(_Owned(image))
