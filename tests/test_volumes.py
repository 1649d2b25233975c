"""Scan files of every format become the same volume, and broken ones say what is wrong."""

import gzip
import itertools
import locale
import re
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.dicom import own_locale
from data_prep.integrity import ScanError
from data_prep.volumes import find_scans, read_volume

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


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('orientation', ['PSR', 'RAS', 'ASL', 'LPI'])
def test_every_orientation_is_brought_to_lps(tmp_path, name, orientation):
    voxels = make_voxels()
    write(tmp_path, f'scan.{name}', voxels, orientation=orientation)
    volume = read_only_scan(tmp_path)
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32, np.float64])
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
    voxels = np.broadcast_to(10 * x, (20, 16, 12)).copy()
    write(tmp_path, 'scan.mha', voxels, spacing=(1, 1, 2))
    volume = read_only_scan(tmp_path, spacing=(0.5, 1, 1))
    assert volume.spacing == (0.5, 1, 1)
    assert volume.voxels.shape == (40, 16, 24)
    np.testing.assert_array_equal(volume.voxels[:39, 8, 8], 5 * np.arange(39))


def test_resampling_does_not_let_padding_bleed(tmp_path):
    voxels = np.full((20, 20, 20), 1000, np.int16)
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


# Broken scans


def refused(folder, match, modality='ct'):
    with pytest.raises(ScanError, match=match) as error:
        read_only_scan(folder, modality)
    message = str(error.value)
    assert '\n' not in message and str(folder) not in message


def cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize('name', FORMATS)
def test_garbage_is_refused(tmp_path, name):
    (tmp_path / f'scan.{name}').write_bytes(b'not an image' * 100)
    refused(tmp_path, 'copy|export')


@pytest.mark.parametrize('name', FORMATS)
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / f'scan.{name}').touch()
    refused(tmp_path, 'copy|export')


@pytest.mark.parametrize(
    ('name', 'payload', 'compress'),
    [
        ('scan.mhd', 'scan.raw', False),
        ('scan.mhd', 'scan.zraw', True),
        ('scan.mha', 'scan.mha', False),
        ('scan.mha', 'scan.mha', True),
        ('scan.nii', 'scan.nii', False),
        ('scan.nii.gz', 'scan.nii.gz', True),
    ],
)
def test_a_truncated_file_is_refused(tmp_path, name, payload, compress):
    write(tmp_path, name, make_voxels(), compress=compress)
    cut(tmp_path / payload)
    refused(tmp_path, 'truncated')


@pytest.mark.parametrize('compress', [False, True])
def test_a_truncated_nrrd_is_refused(tmp_path, compress):
    cut(write(tmp_path, 'scan.nrrd', make_voxels(), compress=compress))
    refused(tmp_path, 'cannot be read as an image .*copy or export')


def test_a_header_alone_is_refused(tmp_path):
    write(tmp_path, 'scan.mhd', make_voxels())
    (tmp_path / 'scan.raw').unlink()
    refused(tmp_path, r'scan\.raw as its data file, which is missing')


@pytest.mark.parametrize('name', ['scan.nii.gz', 'scan.mha', 'scan.nrrd'])
def test_a_flipped_byte_in_a_compressed_file_is_noticed(tmp_path, name):
    path = write(tmp_path, name, make_voxels(shape=(64, 64, 32)), compress=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(tmp_path, 'corrupted|cannot be read as an image')


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
def test_2d_4d_and_vector_images_are_refused(tmp_path, name):
    image = make_image(make_voxels())
    wrong = {
        '2D image of 10 x 12': image[:, :, 3],
        '2D image of 10 x 12 x 1': image[:, :, 3:4],
        r'4 dimensions \(10 x 12 x 8 x 2\)': sitk.JoinSeries([image, image]),
        '3 numbers per voxel': sitk.Compose(image, image, image),
    }
    for match, unusable in wrong.items():
        sitk.WriteImage(unusable, str(tmp_path / f'scan.{name}'))
        refused(tmp_path, match)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize(('modality', 'dtype'), [('ct', np.float32), ('mri', np.float64)])
def test_voxels_that_are_not_finite_are_refused(tmp_path, name, value, modality, dtype):
    voxels = make_voxels(dtype)
    voxels[3, 4, 5] = value
    write(tmp_path, f'scan.{name}', voxels)
    refused(tmp_path, 'NaN or infinite', modality)


@pytest.mark.parametrize('value', ['0', '-0.75', 'nan', 'inf'])
def test_an_unusable_spacing_is_refused(tmp_path, value):
    write(tmp_path, 'a.mhd', make_voxels())
    write(tmp_path, 'b.nrrd', make_voxels())
    write(tmp_path, 'c.nii', make_voxels())
    header = (tmp_path / 'a.mhd').read_text()
    (tmp_path / 'a.mhd').write_text(re.sub('(ElementSpacing = )0.75', rf'\g<1>{value}', header))
    content = (tmp_path / 'b.nrrd').read_bytes()
    content = re.sub(b'space directions.*', f'spacings: {value} 0.5 1.25'.encode(), content)
    content = re.sub(b'(space|space origin): .*\n', b'', content)
    (tmp_path / 'b.nrrd').write_bytes(content)
    content = bytearray((tmp_path / 'c.nii').read_bytes())
    struct.pack_into('<f', content, 80, float(value))
    (tmp_path / 'c.nii').write_bytes(content)
    for scan in find_scans(tmp_path):
        with pytest.raises(ScanError, match=f'spacing of {float(value):g} x 0.5 x 1.25 mm'):
            read_volume(scan, 'ct')


def test_a_spacing_that_is_no_number_is_refused(tmp_path):
    path = write(tmp_path, 'scan.mhd', make_voxels())
    path.write_text(path.read_text().replace('ElementSpacing = 0.75', 'ElementSpacing = wide'))
    refused(tmp_path, "spacing 'wide 0.5 1.25', which is not a list of numbers")


def test_a_constant_mri_is_refused(tmp_path):
    write(tmp_path, 'scan.nii', np.full((10, 10, 10), 4, np.int16))
    refused(tmp_path, r'constant \(every voxel is 4\)', 'mri')


def test_a_vanished_file_is_refused(tmp_path):
    path = write(tmp_path, 'scan.nii', make_voxels())
    (scan,) = find_scans(tmp_path)
    path.unlink()
    with pytest.raises(ScanError, match='No such file'):
        read_volume(scan, 'ct')


def test_missing_dicom_slices_are_located(tmp_path):
    heights = np.delete(SPACING[2] * np.arange(9), 5)
    write_series(tmp_path, make_voxels(), heights=heights)
    refused(tmp_path, r'missing or unevenly spaced slices: 2\.50 mm between 028 and 035, 1\.25 mm')


def test_duplicate_dicom_slices_are_located(tmp_path):
    write_series(tmp_path, make_voxels(), heights=[0, 1, 2, 3, 3, 4, 5, 6])
    refused(tmp_path, 'two slices at the same position .021 and 028.')


@pytest.mark.parametrize(
    ('what', 'shape', 'tags'),
    [
        ('size', (12, 10), {}),
        ('orientation', (10, 12), {'t0020_0037': '1\\0\\0\\0\\0\\-1'}),
        ('spacing', (10, 12), {'t0028_0030': '0.9\\0.9'}),
    ],
)
def test_mixed_dicom_slices_are_refused(tmp_path, what, shape, tags):
    write_series(tmp_path, make_voxels())
    write_series(tmp_path / 'other', make_voxels(shape=(*shape, 1)), heights=[99], **tags)
    image = sitk.ReadImage(str(tmp_path / 'other' / '000'))
    if what == 'spacing':
        image.SetSpacing((0.9, 0.9, 1))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO('GDCMImageIO')
    writer.SetFileName(str(tmp_path / 'odd'))
    writer.Execute(image)
    (tmp_path / 'other' / '000').unlink()
    refused(tmp_path, f'mixes slices of different {what}')


def test_dicom_of_another_modality_is_refused(tmp_path):
    write_series(tmp_path, make_voxels())
    refused(tmp_path, 'modality CT where MR was asked for', 'mri')
    assert read_only_scan(tmp_path, 'other').voxels.shape == (10, 12, 8)


def test_a_single_dicom_slice_is_refused(tmp_path):
    write_series(tmp_path, make_voxels(shape=(10, 12, 1)))
    refused(tmp_path, 'single slice')


def test_dicom_in_colour_is_refused(tmp_path):
    write_series(tmp_path, make_voxels())
    for path in tmp_path.iterdir():
        image = sitk.ReadImage(str(path))
        colour = sitk.Compose(*[sitk.Cast(image, sitk.sitkUInt8)] * 3)
        for key in image.GetMetaDataKeys():
            if not key.startswith('0028'):
                colour.SetMetaData(key, image.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.SetImageIO('GDCMImageIO')
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(path))
        writer.Execute(colour)
    refused(tmp_path, 'colour images', 'other')


def test_broken_dicom_files_are_refused(tmp_path):
    (tmp_path / 'junk.dcm').write_bytes(b'junk' * 100)
    refused(tmp_path, r'^is not a readable DICOM image')


def test_a_truncated_dicom_slice_is_refused(tmp_path):
    write_series(tmp_path, make_voxels(shape=(64, 64, 8)))
    cut(tmp_path / '014')
    refused(tmp_path, '014, which is not a readable DICOM image')


def test_nothing_is_printed_by_the_libraries(tmp_path, capfd):
    for index, name in enumerate(FORMATS):
        (tmp_path / f'{index}.{name}').write_bytes(b'not an image')
    cut(write(tmp_path, 'cut.mhd', make_voxels()).with_suffix('.raw'))
    write_series(tmp_path / 'series', make_voxels())
    for scan, modality in itertools.product(find_scans(tmp_path), ('ct', 'mri')):
        try:
            read_volume(scan, modality)
        except ScanError:
            continue
    assert capfd.readouterr() == ('', '')


def test_a_nifti_without_sides_is_refused(tmp_path):
    path = write(tmp_path, 'scan.nii', make_voxels())
    content = bytearray(path.read_bytes())
    struct.pack_into('<h', content, 42, 0)
    path.write_bytes(content)
    refused(tmp_path, 'without usable sides')


def test_reading_dicom_leaves_the_locale_alone(tmp_path):
    """ITK's reader would leave the C locale, in which Python reads and writes ASCII only."""
    before = locale.setlocale(locale.LC_ALL)
    write_series(tmp_path, np.zeros((8, 8, 4), np.int16))
    read_volume(find_scans(tmp_path)[0], 'ct')
    assert locale.setlocale(locale.LC_ALL) == before
