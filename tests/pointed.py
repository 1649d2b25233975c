"""Scans whose voxels tell where they are, and the datasets of points in them."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

SHAPE, SPACING = (20, 18, 12), (0.7, 0.8, 2.0)
SIZE = ('--cube_size=8,16,8', '--workers=1')


def chest_of(number, orientation='LPS'):
    """A scan of noise whose voxel i, i, i for i of 2 ... 9 holds 1000 + 10 * number + i."""
    voxels = np.random.default_rng(number).integers(-900, 100, SHAPE).astype(np.int16)
    for index in range(2, 10):
        voxels[index, index, index] = 1000 + 10 * number + index
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(SPACING)
    image.SetOrigin((-20.0 - number, 7.5, 100))
    return sitk.DICOMOrient(image, orientation)


def world(image, index):
    """The world point of voxel i, i, i of the scan in LPS."""
    turned = sitk.DICOMOrient(image, 'LPS')
    return turned.TransformIndexToPhysicalPoint((index,) * 3)


def write_table(path, columns, rows):
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([columns, *rows])


def read(data_dir, name):
    builder = tfds.builder_from_directory(data_dir / name / '1.0.0')
    return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def metadata_of(data_dir, name):
    return json.loads((data_dir / name / '1.0.0' / 'metadata.json').read_text())


def refusal(main, flags, capsys, data_dir):
    """What a preparation says that stops; nothing is left of it."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, flags), f'--data_dir={data_dir}'])
    assert stop.value.code == 1
    assert not data_dir.exists() or not list(data_dir.iterdir())
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'Traceback' not in said
    return said
