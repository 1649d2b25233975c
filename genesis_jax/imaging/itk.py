"""NRRD and MetaImage, read by ITK once their headers are checked."""

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.affine import straightened
from genesis_jax.imaging.integrity import Checked, Shape
from genesis_jax.imaging.metaimage import checked_metaimage
from genesis_jax.imaging.nrrd import checked_nrrd

_STRAIGHT = 1e-9  # of direction cosines

sitk.ProcessObject.SetGlobalWarningDisplay(False)


def read(path: Path, channels: int) -> list[sitk.Image]:
    """The 3D volumes of a file, one per channel, as stored, on a straight grid (mm, LPS).

    Raises:
      ScanError: the file is damaged, does not hold such volumes, or has sheared axes.
      OSError: it cannot be opened.
    """
    with tempfile.TemporaryDirectory(prefix='data_prep_') as scratch:
        is_nrrd = path.name.lower().endswith(('.nrrd', '.nhdr'))
        checked = checked_nrrd(path) if is_nrrd else checked_metaimage(path, Path(scratch))
        try:
            image = _read(checked, channels)
        except RuntimeError as error:
            raise ScanError(
                f'cannot be read as an image ({_last_words(error)}); copy or export it again'
            ) from None
    is_3d = image.GetDimension() == 3
    volumes = [image] if is_3d else [image[:, :, :, channel] for channel in range(channels)]
    for volume in volumes:
        _straighten(volume, checked.unit)
    for remark in checked.remarks:
        warnings.warn(remark, ScanRemark, stacklevel=2)
    return volumes


def _read(checked: Checked, channels: int) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(checked.path))
    reader.ReadImageInformation()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    numbers = 2 if 'complex' in kind else reader.GetNumberOfComponents()
    Shape(reader.GetSize(), numbers, kind).check(channels)
    return reader.Execute()


def _straighten(image: sitk.Image, unit: float) -> None:
    """Lays an image on a straight grid in mm, whose unit now has so many mm."""
    axes = np.reshape(image.GetDirection(), (3, 3))
    if unit == 1 and np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=_STRAIGHT):
        return  # to the last bit as ITK read it
    matrix = np.eye(4)
    matrix[:3, :3] = axes * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    matrix[:3] *= unit
    remedy = 'resample it, for example by SimpleITK.Resample'
    spacing, origin, direction = straightened(matrix, image.GetSize(), 'directions', remedy)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)


def _last_words(error: RuntimeError) -> str:
    """The end of an ITK message, which says what is wrong, without paths and addresses."""
    lines = [line for line in str(error).splitlines() if re.search('[a-z]{3}', line)] or ['unknown']
    words = lines[-1].strip().rpartition('ERROR: ')[2].rstrip('.')
    return re.sub(r' ?(for |in )?"[^"]*"|\w+\(0x\w+\): ', '', words)
