"""Scan files of every format and orientation become the same volume."""

import gzip
import locale

import numpy as np
import pytest
import SimpleITK as sitk
from scanned import FORMATS, SPACING, make_image, make_voxels, read_only_scan, write, write_series

from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_volume


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_is_read_back(tmp_path, name):
    voxels = make_voxels()
    write(tmp_path, f'scan.{name}', voxels)
    volume = read_only_scan(tmp_path)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)
    assert volume.window == (-1000, 1000)


@pytest.mark.parametrize('name', ['mhd', 'mha', 'nii.gz', 'nrrd', 'nhdr'])
def test_compressed_files_are_read_back(tmp_path, name):
    voxels = make_voxels()
    write(tmp_path, f'scan.{name}', voxels, compress=True)
    np.testing.assert_array_equal(read_only_scan(tmp_path).voxels, voxels)


def test_zraw_is_what_a_compressed_mhd_points_to(tmp_path):
    write(tmp_path, 'scan.mhd', make_voxels(), compress=True)
    assert (tmp_path / 'scan.zraw').exists()
    assert [scan.scan_id for scan in find_scans(tmp_path)] == ['scan']


def test_gzip_members_and_four_dimensions_of_one_volume_are_fine(tmp_path):
    voxels = make_voxels()
    path = write(tmp_path, 'scan.nii', voxels)
    sitk.WriteImage(sitk.JoinSeries([make_image(voxels)]), str(path))
    content = path.read_bytes()
    path.unlink()
    packed = gzip.compress(content[:500]) + gzip.compress(content[500:])
    (tmp_path / 'scan.nii.gz').write_bytes(packed)
    np.testing.assert_array_equal(read_only_scan(tmp_path).voxels, voxels)


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('orientation', ['PSR', 'RAS', 'ASL', 'LPI'])
def test_every_orientation_is_brought_to_lps(tmp_path, name, orientation):
    voxels = make_voxels()
    write(tmp_path, f'scan.{name}', voxels, orientation=orientation)
    volume = read_only_scan(tmp_path)
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.filterwarnings('ignore::genesis_jax.errors.ScanRemark')  # no HU are unsigned
def test_other_pixel_types_become_int16(tmp_path, dtype):
    voxels = np.abs(make_voxels(dtype))
    voxels[0, 0, 0] = 40_000
    write(tmp_path, 'scan.nrrd', voxels)
    np.testing.assert_array_equal(read_only_scan(tmp_path).voxels, voxels.clip(None, 32767))


def test_a_volume_outlives_its_image(tmp_path):
    voxels = make_voxels(shape=(64, 64, 64))
    write(tmp_path, 'scan.mhd', voxels)
    kept = [read_only_scan(tmp_path).voxels for _ in range(3)]
    for array in kept:
        np.testing.assert_array_equal(array, voxels)


def test_ct_padding_becomes_minus_1024(tmp_path):
    voxels = make_voxels()
    voxels[:3] = -3024
    write(tmp_path, 'scan.mhd', voxels)
    volume = read_only_scan(tmp_path)
    np.testing.assert_array_equal(volume.clean(volume.voxels), voxels.clip(-1024, None))


def test_resampling_keeps_extent_and_values(tmp_path):
    x = np.arange(20, dtype=np.int16)[:, None, None]
    voxels = np.broadcast_to(10 * x - 100, (20, 16, 12)).copy()
    write(tmp_path, 'scan.mha', voxels, spacing=(1, 1, 2))
    volume = read_only_scan(tmp_path, spacing=(0.5, 1, 1))
    assert volume.spacing == (0.5, 1, 1)
    assert volume.voxels.shape == (40, 16, 24)
    np.testing.assert_array_equal(volume.voxels[:39, 8, 8], 5 * np.arange(39) - 100)


def test_resampling_does_not_let_padding_bleed(tmp_path):
    voxels = np.full((20, 20, 20), 500, np.int16)
    voxels[:10] = -3024
    write(tmp_path, 'scan.mha', voxels, spacing=(1, 1, 1))
    assert read_only_scan(tmp_path, spacing=(0.5, 0.5, 0.5)).voxels.min() == -1024


@pytest.mark.parametrize(('slope', 'intercept'), [(1, -1024), (-2, 10), (3, 0)])
def test_dicom_series_is_rescaled_and_ordered(tmp_path, slope, intercept):
    stored = make_voxels()
    voxels = slope * stored + intercept
    write_series(tmp_path / 'study', voxels, slope=slope, intercept=intercept)
    pixels = (tmp_path / 'study' / '000').read_bytes()[-2 * 10 * 12 :]
    np.testing.assert_array_equal(np.frombuffer(pixels, np.int16), stored[:, :, 0].T.ravel())
    (scan,) = find_scans(tmp_path)
    assert scan.scan_id == scan.shown == 'study/1.2.840.7'
    volume = read_volume(scan, 'ct')
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.spacing, SPACING)


def test_one_folder_may_hold_several_series_beside_other_files(tmp_path):
    first, second = make_voxels(), -make_voxels()
    write_series(tmp_path / 'a', first)
    for path in sorted((tmp_path / 'a').iterdir()):
        path.rename(path.with_name(f'first_{path.name}.dcm'))
    write_series(tmp_path / 'a', second, t0020_000e='1.2.840.9')
    (tmp_path / 'a' / 'DICOMDIR').write_bytes(b'\0' * 128 + b'DICM')
    (tmp_path / 'a' / 'notes.txt').write_text('nothing')
    scans = find_scans(tmp_path)
    assert [scan.scan_id for scan in scans] == ['a/1.2.840.7', 'a/1.2.840.9']
    for scan, voxels in zip(scans, (first, second), strict=True):
        np.testing.assert_array_equal(read_volume(scan, 'ct').voxels, voxels)


def test_reading_dicom_leaves_the_locale_alone(tmp_path):
    """ITK's reader would leave the C locale, in which Python reads and writes ASCII only."""
    before = locale.setlocale(locale.LC_ALL)
    write_series(tmp_path, make_voxels())
    read_volume(find_scans(tmp_path)[0], 'ct')
    assert locale.setlocale(locale.LC_ALL) == before


def test_ids_are_relative_unique_and_pass_over_hidden_files(tmp_path):
    for name in ('b/x.nii.gz', 'b/x.mha', 'a/deep/y.MHA', '.hidden/z.nii', '._x.nii', 'c.raw'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    scans = find_scans(tmp_path)
    assert [scan.scan_id for scan in scans] == ['a/deep/y', 'b/x.mha', 'b/x.nii.gz']
    assert [scan.shown for scan in scans] == ['a/deep/y.MHA', 'b/x.mha', 'b/x.nii.gz']


# MRI and other modalities: stored values and window


def test_mri_integers_are_kept_and_the_window_is_their_robust_range(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 1000, (64, 64, 64)).astype(np.uint16)
    voxels[1, 1, 1] = 30_000  # one hot voxel must not stretch the window
    write(tmp_path, 'scan.nii', voxels.astype(np.float32))
    volume = read_only_scan(tmp_path, 'mri')
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.window == pytest.approx((5, 995), abs=5)


@pytest.mark.parametrize('scale', [1e-3, 100.0])
def test_other_values_are_spread_over_the_positive_range(tmp_path, scale):
    voxels = np.random.default_rng(0).random((64, 64, 64)).astype(np.float32) * scale
    write(tmp_path, 'scan.nrrd', voxels)
    volume = read_only_scan(tmp_path, 'other')
    assert volume.window == (0, 32767)
    np.testing.assert_allclose(volume.voxels, voxels / scale * 32767, atol=500)
    assert volume.voxels.min() == 0 and volume.voxels.max() == 32767


def test_a_nearly_empty_image_has_a_window(tmp_path):
    voxels = np.zeros((64, 64, 64), np.int16)
    voxels[30, 30, 30] = 7
    write(tmp_path, 'scan.nii', voxels)
    assert read_only_scan(tmp_path, 'mri').window == (0, 7)
