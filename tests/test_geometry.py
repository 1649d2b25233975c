"""What belongs together: files of one scan, channels on one grid."""

import numpy as np
import pytest
import SimpleITK as sitk
from test_predict import make_image, write

from data_prep.build.masks import Reading, read_labelled
from data_prep.types import Files
from genesis_jax.errors import PrepareError, ScanError
from genesis_jax.imaging.geometry import Grid, read_placed
from genesis_jax.imaging.scans import scan_of_file
from genesis_jax.inference.inputs import find_inputs


def test_grids_that_differ_are_told_apart():
    grid = Grid.of(make_image())
    assert grid.difference(Grid.of(make_image())) is None
    for what, other in (
        ('direction', make_image('straight')),
        ('size', make_image(size=(19, 23, 14))),
        ('spacing', make_image(spacing=(0.7, 0.9, 2.31))),
    ):
        assert Grid.of(other).difference(grid) == what


@pytest.mark.parametrize(('voxels', 'fits'), [(0.05, True), (0.15, False)])
def test_prediction_takes_the_channels_that_a_preparation_takes(tmp_path, voxels, fits):
    """One is stored as RAS, and off by a part of the smallest voxel side."""
    first, second = make_image('straight'), sitk.DICOMOrient(make_image('straight'), 'RAS')
    second.SetOrigin(np.add(second.GetOrigin(), (0.7 * voxels, 0, 0)))
    paths = (write(first, tmp_path / 'a_0000.nrrd'), write(second, tmp_path / 'a_0001.nrrd'))
    label = write(sitk.Cast(second > 0, sitk.sitkUInt8), tmp_path / 'labels' / 'a.nrrd')
    scans = [scan_of_file(path) for path in paths]
    spacing = (2.0, 2.0, 2.0)
    reading = Reading('mri', 2, {0: 0, 1: 1}, 'nobody', spacing)
    if not fits:
        with pytest.raises(ScanError, match=r'a_0000.nrrd and a_0001.nrrd differ in origin'):
            read_placed(scans, ['T1', 'T2'], 'mri', spacing)
        with pytest.raises(PrepareError, match=r'a_0001.nrrd has the origin'):
            read_labelled(Files(paths, label), reading)
        return
    placed = read_placed(scans, ['T1', 'T2'], 'mri', spacing)
    prepared = read_labelled(Files(paths, label), reading)
    np.testing.assert_array_equal(placed.voxels, prepared.voxels)
    np.testing.assert_array_equal(placed.voxels[..., 0], placed.voxels[..., 1])


def test_a_case_in_one_file_and_in_several_is_refused(tmp_path):
    for name in ('case', 'case_0000', 'case_0001'):
        write(make_image(), tmp_path / f'{name}.nii.gz')
    expected = 'case.nii.gz and case_0000.nii.gz are of the same scan, case; keep'
    with pytest.raises(PrepareError, match=expected):
        find_inputs(tmp_path, ['T1', 'T2'], tmp_path / 'out')
    assert len(find_inputs(tmp_path, ['T1'], tmp_path / 'out')) == 3
