"""Scan files to volumes: every format, one orientation, one axis order, one integer type.

A volume is int16 [X, Y, Z] in LPS orientation (x grows to the patient's left, y to the back,
z, the slice axis, to the head), whatever the orientation of the file.
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import ScanError
from genesis_jax.imaging import dicom
from genesis_jax.imaging.hounsfield import check_hu
from genesis_jax.imaging.integrity import check_finite, check_spacing, checked_copy
from genesis_jax.imaging.intensity import as_int16, in_range

Modality = Literal['ct', 'mri', 'other']
MODALITIES: tuple[Modality, ...] = get_args(Modality)

CT_PADDING = -1024  # HU; scanners write lower values outside their field of view
_CT_WINDOW = (-1000.0, 1000.0)  # HU
_SUFFIXES = ('.nii.gz', '.mhd', '.mha', '.nii', '.nrrd', '.nhdr')

sitk.ProcessObject.SetGlobalWarningDisplay(False)


@dataclass(frozen=True)
class Scan:
    """One scan: an id that no machine path enters, and its file or its DICOM slices.

    `shown` is what a user looks for below the source: the file, or the folder and series UID.
    """

    scan_id: str
    shown: str
    files: tuple[Path, ...]
    is_dicom: bool = False


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


def find_scans(source: Path) -> list[Scan]:
    """Every scan below a folder, sorted by id; hidden files and folders are skipped.

    Ids are paths relative to `source` without the suffix, which stays only where two files differ
    in nothing else; a DICOM series is its folder and its series UID.
    """
    images, series = [], []
    for folder, paths in walk(source):
        images += [path for path in paths if _suffix(path)]
        slices = [path for path in paths if not _suffix(path) and dicom.is_dicom(path)]
        for uid, files in dicom.group_series(slices).items():
            scan_id = folder.relative_to(source).joinpath(uid).as_posix()
            series.append(Scan(scan_id, scan_id, tuple(files), is_dicom=True))
    return sorted(named_scans(source, images, _stem) + series, key=lambda scan: scan.scan_id)


def walk(source: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder with its files, both in order; hidden ones are skipped."""
    for folder, subfolders, names in os.walk(source):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith('.'))
        yield Path(folder), [Path(folder, name) for name in sorted(names) if name[0] != '.']


def named_scans(source: Path, paths: Sequence[Path], stem: Callable[[Path], Path]) -> list[Scan]:
    """A scan per file, named by its `stem`, or by its whole path where that is not unique."""
    stems = Counter(map(stem, paths))
    scans = []
    for path in paths:
        named = stem(path) if stems[stem(path)] == 1 else path
        scan_id, shown = (name.relative_to(source).as_posix() for name in (named, path))
        scans.append(Scan(scan_id, shown, (path,)))
    return scans


def is_image(path: Path) -> bool:
    """Whether the file is of a format other than DICOM, by its suffix."""
    return bool(_suffix(path))


def scan_of_file(path: Path) -> Scan:
    """The scan that a file is, named after it; of a DICOM series, this one file alone."""
    if _suffix(path):
        return Scan(_stem(path).name, path.name, (path,))
    return Scan(path.stem, path.name, (path,), is_dicom=True)


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
    image = dicom.read_series(scan.files, modality) if scan.is_dicom else _read_file(scan.files[0])
    return _checked(image if image.GetDimension() == 3 else image[:, :, :, 0], modality)


def read_channels(path: Path, count: int, modality: Modality) -> list[sitk.Image]:
    """Reads a 4D file of `count` channels, each as stored.

    Raises:
      ScanError: with one sentence on what is wrong with the file and what to do.
    """
    image = _read_file(path, count)
    return [_checked(image[:, :, :, channel], modality) for channel in range(count)]


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


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), '')


def _stem(path: Path) -> Path:
    return path.with_name(path.name[: -len(_suffix(path))])


def _checked(image: sitk.Image, modality: Modality) -> sitk.Image:
    check_spacing(image.GetSpacing())
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.dtype.kind == 'f':
        check_finite(voxels)
    if modality == 'ct':
        check_hu(voxels)
    return image


def _read_file(path: Path, channels: int = 1) -> sitk.Image:
    """A 3D image; or a 4D one, of this many channels."""
    try:
        with tempfile.TemporaryDirectory(prefix='data_prep_') as scratch:
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(checked_copy(path, Path(scratch))))
            reader.ReadImageInformation()
            _check_shape(reader, channels)
            return reader.Execute()
    except OSError as error:
        raise ScanError(f'cannot be read ({error.strerror}); check that it is there') from None
    except RuntimeError as error:
        raise ScanError(
            f'cannot be read as an image ({_last_words(error)}); copy or export it again'
        ) from None


def _check_shape(reader: sitk.ImageFileReader, channels: int) -> None:
    sides = reader.GetSize()
    shape = ' x '.join(map(str, sides))
    if reader.GetDimension() == 2 or sides[2] == 1:
        raise ScanError(f'is a 2D image of {shape} pixels where a 3D volume is expected; remove it')
    if channels > 1 and (reader.GetDimension() != 4 or sides[3] != channels):
        raise ScanError(
            f'has {reader.GetDimension()} dimensions ({shape}) where 4 are expected, the last of '
            f'the {channels} channels; correct it'
        )
    if channels == 1 and reader.GetDimension() > 3 and sides[3:] != (1,):
        raise ScanError(
            f'has {reader.GetDimension()} dimensions ({shape}) where 3 are expected; '
            'split it into one file per volume'
        )
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() > 1 or 'complex' in kind:
        raise ScanError(
            f'holds {reader.GetNumberOfComponents()} numbers per voxel ({kind}) where one is '
            'expected; split it into one file per channel'
        )


def _last_words(error: RuntimeError) -> str:
    """The end of an ITK message, which says what is wrong, without the file's path."""
    words = str(error).strip().splitlines()[-1].rpartition('ERROR: ')[2].rstrip('.')
    return re.sub(r' ?(for |in )?"[^"]*"', '', words)


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
