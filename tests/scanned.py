"""Scans without any symmetry in files of every format, DICOM's too."""

import numpy as np
import SimpleITK as sitk

from data_prep.phantoms.files import own_locale
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_volume

SPACING = (0.75, 0.5, 1.25)
FORMATS = ('mhd', 'mha', 'nii', 'nii.gz', 'nrrd', 'nhdr')


def make_voxels(dtype=np.int16, shape=(10, 12, 8)):
    """HU [X, Y, Z] without any symmetry."""
    return np.random.default_rng(0).integers(-1000, 1000, shape).astype(dtype)


def make_image(voxels, spacing=SPACING):
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing)
    image.SetOrigin((-20.0, -30.0, 40.0))
    return image


def write(folder, name, voxels, *, spacing=SPACING, orientation='LPS', compress=False):
    image = sitk.DICOMOrient(make_image(voxels, spacing), orientation)
    sitk.WriteImage(image, str(folder / name), compress)
    return folder / name


def read_only_scan(folder, modality='ct', spacing=None):
    (scan,) = find_scans(folder)
    return read_volume(scan, modality, spacing)


def write_series(folder, voxels, *, heights=None, intercept=-1024, slope=1, **tags):
    """A DICOM series of HU, stored as (HU - intercept) / slope, its file names in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    heights = SPACING[2] * np.arange(voxels.shape[2]) if heights is None else heights
    writer = sitk.ImageFileWriter()
    writer.SetImageIO('GDCMImageIO')
    writer.KeepOriginalImageUIDOn()
    for index, height in enumerate(heights):
        image = sitk.GetImageFromArray(np.ascontiguousarray(voxels[:, :, index].T))
        image.SetSpacing(SPACING[:2])
        settings = {
            '0008|0060': 'CT',
            '0020|000e': '1.2.840.7',
            '0008|0018': f'1.2.840.7.{index}',
            '0020|0032': f'-20\\-30\\{height}',
            '0020|0037': '1\\0\\0\\0\\1\\0',
            '0028|1052': str(intercept),
            '0028|1053': str(slope),
        }
        for tag, value in {**settings, **{k.replace('_', '|'): v for k, v in tags.items()}}.items():
            image.SetMetaData(tag.removeprefix('t'), value)
        writer.SetFileName(str(folder / f'{(7 * index) % 100:03}'))
        with own_locale():
            writer.Execute(image)
