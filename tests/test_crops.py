"""Patches lie around their points whatever the orientation, spacing and border of the scan."""

import numpy as np
import pytest
import SimpleITK as sitk

from genesis_jax.imaging.crops import (
    crop,
    crop_mask,
    outside,
    prepare_image,
    to_index,
    to_world,
)
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.volumes import oriented, padding_of, read_volume

SHAPE, SPACING, BRIGHT = (20, 18, 14), (0.7, 0.9, 2.5), (5, 12, 9)


def rotation(degrees):
    """About an axis between x, y and z."""
    axis = np.array([1, 2, 3]) / 14**0.5
    cross = np.cross(np.eye(3), axis)
    angle = np.deg2rad(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def scan_of(voxels, degrees=0.0, spacing=SPACING):
    """An image of int16 [X, Y, Z] that is nearest to LPS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing)
    image.SetOrigin((-30.5, 12.25, 100))
    image.SetDirection(rotation(degrees).ravel())
    return image


def noise(rng):
    return rng.integers(-900, 100, SHAPE).astype(np.int16)


@pytest.mark.parametrize('degrees', [0, 20])
@pytest.mark.parametrize('orientation', ['LPS', 'RAS', 'RAI', 'PIR', 'SLA'])
def test_a_point_of_the_world_lies_in_the_middle(rng, orientation, degrees):
    voxels = noise(rng)
    voxels[BRIGHT] = 3000
    image = scan_of(voxels, degrees)
    point = image.TransformIndexToPhysicalPoint(BRIGHT)
    stored = sitk.DICOMOrient(image, orientation)
    prepared, window = prepare_image(stored, 'ct')
    patch, origin = crop(prepared, point, (7, 6, 4))
    assert patch.dtype == np.int16 and patch.shape == (7, 6, 4) and window == (-1000, 1000)
    assert patch[3, 3, 2] == 3000
    assert origin == (2, 9, 7)
    np.testing.assert_array_equal(patch, voxels[2:9, 9:15, 7:11])


def test_the_nearest_voxel_is_the_middle(rng):
    voxels = noise(rng)
    image = scan_of(voxels, 20)
    for shift in (-0.45, 0.45):
        index = [n + shift for n in BRIGHT]
        patch, _ = crop(image, image.TransformContinuousIndexToPhysicalPoint(index), (5, 5, 3))
        assert patch[2, 2, 1] == voxels[BRIGHT]


@pytest.mark.parametrize('degrees', [0, 20])
@pytest.mark.parametrize('spacing', [(1, 1, 1), (0.4, 0.4, 0.4), (2, 1, 3)])
def test_a_resampled_cube_is_cut_from_the_resampled_scan(tmp_path, rng, spacing, degrees):
    stored = sitk.DICOMOrient(scan_of(noise(rng), degrees), 'RAI')
    sitk.WriteImage(stored, str(tmp_path / 'scan.nrrd'))
    whole = read_volume(Scan('scan', 'scan', (tmp_path / 'scan.nrrd',)), 'ct', spacing).voxels
    prepared, _ = prepare_image(stored, 'ct')
    point = oriented(stored).TransformIndexToPhysicalPoint(BRIGHT)
    patch, origin = crop(prepared, point, (5, 4, 3), spacing)
    x, y, z = origin
    np.testing.assert_array_equal(patch, whole[x : x + 5, y : y + 4, z : z + 3])
    middle = np.array(origin) + (2, 2, 1)
    off = np.abs(middle * spacing - np.array(BRIGHT) * SPACING)
    assert (off <= np.array(spacing) / 2 + 1e-6).all()


@pytest.mark.parametrize('spacing', [None, (1.0, 1.0, 1.0)])
def test_voxels_outside_the_scan_are_padded(rng, spacing):
    image = scan_of(noise(rng))
    corner = image.TransformIndexToPhysicalPoint((0, 0, 0))
    patch, origin = crop(image, corner, (8, 8, 8), spacing)
    assert origin == (-4, -4, -4)
    assert (patch[:4] == -1024).all() and (patch[:, :, :2] == -1024).all()
    assert (patch[4:, 4:, 4:] > -1024).all()
    far, _ = crop(image, (1e4, 0, 0), (3, 3, 3), spacing, padding=7)
    assert (far == 7).all()


def test_ct_padding_is_raised_and_other_modalities_are_not_touched(rng):
    voxels = noise(rng)
    voxels[0, 0, 0] = -2000
    for modality, lowest in (('ct', -1024), ('mri', -2000)):
        prepared, _ = prepare_image(scan_of(voxels), modality)
        patch, _ = crop(prepared, prepared.GetOrigin(), (3, 3, 3), padding=padding_of(modality))
        assert patch[1, 1, 1] == lowest
        assert patch[0, 0, 0] == padding_of(modality) == {'ct': -1024, 'mri': 0}[modality]


def test_a_mask_is_cut_like_its_scan():
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[4:9, 10:15, 8:11] = 1
    image = scan_of(voxels, 20)
    point = image.TransformIndexToPhysicalPoint(BRIGHT)
    mask = crop_mask(image, point, (8, 6, 4))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, voxels[1:9, 9:15, 7:11])
    fine = crop_mask(image, point, (40, 40, 40), (0.35, 0.45, 0.5))
    assert set(np.unique(fine)) == {0, 1}
    volume = fine.sum() * 0.35 * 0.45 * 0.5 / (voxels.sum() * np.prod(SPACING))
    assert 0.9 < volume < 1.1


def test_indices_and_world_are_inverse(rng):
    image = scan_of(noise(rng), 20)
    indices = rng.uniform(-3, 20, (10, 3))
    points = to_world(image, indices)
    np.testing.assert_allclose(to_index(image, points), indices, atol=1e-9)
    for index, point in zip(indices, points, strict=True):
        expected = image.TransformContinuousIndexToPhysicalPoint(index.tolist())
        np.testing.assert_allclose(point, expected, atol=1e-9)


def test_outside_begins_half_a_voxel_from_the_outer_voxels():
    image = scan_of(np.zeros(SHAPE, np.int16))
    indices = np.array([[-0.5, 0, 0], [19.5, 17.5, 13.5], [-0.6, 0, 0], [0, 17.6, 0], [0, 0, 20]])
    assert outside(image, indices).tolist() == [False, False, True, True, True]
