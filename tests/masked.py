"""Small scans, and masks of them, in files of their own."""

import numpy as np
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import scans

SHAPE = (40, 36, 24)
ORGAN = (slice(9, 27), slice(20, 30), slice(6, 15))  # has room for patches of 16 x 16 x 8 around it


def write(path, voxels, *, orientation='LPS', spacing=(1.0, 1.0, 2.0), origin=(-10.0, 5.0, 30.0)):
    """Writes voxels [X, Y, Z], in LPS, turned to an orientation."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path))


def scan_of(case, shape=SHAPE):
    """HU [X, Y, Z], all of it tissue."""
    return np.random.default_rng(case).integers(-100, 500, shape).astype(np.int16)


def mask_of(part=ORGAN, value=1, shape=SHAPE):
    """uint8 [X, Y, Z], `value` in a box."""
    mask = np.zeros(shape, np.uint8)
    mask[part] = value
    return mask


def write_scans(folder, count=4, shape=SHAPE):
    """CASE_0000.nii.gz in imagesTr, their axes in no order."""
    for case in range(count):
        path = folder / 'imagesTr' / f'case{case}_0000.nii.gz'
        write(path, scan_of(case, shape), orientation=('LPS', 'RAS', 'PSR', 'LPI')[case % 4])
    return folder


def prepare(size, source, data_dir, *flags, name, modality='ct'):
    """Runs `data_prep.scans`; returns the exit status."""
    where = [f'--source={source}', f'--data_dir={data_dir}', f'--name={name}']
    return scans.main([*where, f'--modality={modality}', *size, *map(str, flags)])


def read(data_dir, name):
    """The records of training and validation."""
    builder = tfds.builder_from_directory(data_dir / name / '1.0.0')
    return [r for split in ('train', 'validation') for r in builder.as_data_source(split)]
