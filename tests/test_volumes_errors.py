"""Scans that are broken, incomplete or of another kind say what is wrong, in one sentence."""

import itertools
import re
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scanned import FORMATS, SPACING, make_image, make_voxels, read_only_scan, write, write_series

from genesis_jax.errors import ScanError, collected_remarks
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_volume


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
    refused(tmp_path, "has 'wide 0.5 1.25' in its header, which is not a list of numbers")


def test_a_constant_mri_is_refused(tmp_path):
    write(tmp_path, 'scan.nii', np.full((10, 10, 10), 4, np.int16))
    refused(tmp_path, r'constant \(every voxel is 4\)', 'mri')


def test_a_vanished_file_is_refused(tmp_path):
    path = write(tmp_path, 'scan.nii', make_voxels())
    (scan,) = find_scans(tmp_path)
    path.unlink()
    with pytest.raises(ScanError, match='No such file'):
        read_volume(scan, 'ct')


def test_a_nifti_without_sides_is_refused(tmp_path):
    path = write(tmp_path, 'scan.nii', make_voxels())
    content = bytearray(path.read_bytes())
    struct.pack_into('<h', content, 42, 0)
    path.write_bytes(content)
    refused(tmp_path, 'without usable sides')


# DICOM


def test_missing_dicom_slices_are_located(tmp_path):
    heights = np.delete(SPACING[2] * np.arange(9), 5)
    write_series(tmp_path, make_voxels(), heights=heights)
    refused(
        tmp_path, r'missing or unevenly spaced slices: 2\.500 mm between 028 and 035, 1\.250 mm'
    )


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
@pytest.mark.parametrize('others', [1, 4])
def test_dicom_slices_of_another_kind_are_left_out_or_refused(tmp_path, what, shape, tags, others):
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
    if others > 1:
        for file in range(3, 8):
            (tmp_path / f'{7 * file:03}').unlink()
        refused(tmp_path, f'mixes slices of different {what}: .* in 000 and .* in odd')
        return
    with collected_remarks() as told:
        volume = read_only_scan(tmp_path)
    assert told == [f'holds one image of another {what}, left out: odd']
    np.testing.assert_array_equal(volume.voxels, make_voxels())


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
    refused(tmp_path, 'holds 014, whose pixels .* are fewer bytes than its header promises')


# Every kind at once


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
