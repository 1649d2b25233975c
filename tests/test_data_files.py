"""NRRD and MetaImage whose voxels lie in several files: all there and in order, or refused."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from genesis_jax.errors import ScanError
from genesis_jax.imaging import itk
from genesis_jax.imaging.scans import find_scans

VOXELS = np.random.default_rng(0).integers(-900, 900, (8, 4, 6)).astype('<i2')  # z, y, x
HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
DimSize = 6 4 8
ElementSpacing = 1 1 1
ElementType = MET_SHORT
"""
NRRD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 6 4 8
space directions: (1,0,0) (0,1,0) (0,0,1)
endian: little
encoding: raw
"""


def names(count=8):
    return ''.join(f's{number}.raw\n' for number in range(count))


def write(folder, data_file, lines='', before=b''):
    for number, plane in enumerate(VOXELS):
        (folder / f's{number}.raw').write_bytes(before + plane.tobytes())
    path = folder / 'scan.mhd'
    path.write_text(f'{HEADER}{lines}ElementDataFile = {data_file}\n')
    return find_one(path)


def find_one(path):
    (scan,) = find_scans(path.parent)
    return scan


def voxels_of(scan):
    return sitk.GetArrayFromImage(itk.read(scan.files[0], 1)[0])


def refused(scan, match):
    with pytest.raises(ScanError, match=match):
        voxels_of(scan)


@pytest.mark.parametrize(
    ('data_file', 'lines', 'before'),
    [
        (f'LIST\n{names()}', '', b''),
        (f'LIST 2D\n{names()}', '', b''),
        (f'LIST\n{names()}', 'HeaderSize = 10\n', b'0123456789'),
        (f'LIST\n{names()}', 'HeaderSize = -1\n', b'0123456789'),
        ('s%d.raw 0 7 1', '', b''),
        ('s%d.raw 0', '', b''),
    ],
)
def test_slices_are_read_in_order(tmp_path, data_file, lines, before):
    assert np.array_equal(voxels_of(write(tmp_path, data_file, lines, before)), VOXELS)


@pytest.mark.parametrize(
    ('data_file', 'found'),
    [(f'LIST\n{names(7)}', 7), ('s%d.raw 0 6 1', 7), ('s%d.raw 0 7 2', 4), ('LIST 2D', 0)],
)
def test_too_few_slices_are_refused(tmp_path, data_file, found):
    refused(write(tmp_path, data_file), f'names {found} data files .* is that of 8; correct')


def test_an_unknown_type_of_voxels_is_refused(tmp_path):
    scan = write(tmp_path, 's%d.raw 0 7 1')
    text = scan.files[0].read_text()
    scan.files[0].write_text(text.replace('MET_SHORT', 'MET_STRING'))
    refused(scan, "has 'MET_STRING' as its ElementType")


def test_a_missing_and_a_short_slice_are_named(tmp_path):
    scan = write(tmp_path, 's%d.raw 0 7 1')
    (tmp_path / 's3.raw').write_bytes(b'0' * 20)
    refused(scan, re.escape('promises 48 bytes of voxels in s3.raw and 20 are there'))
    (tmp_path / 's3.raw').unlink()
    refused(scan, 'names s3.raw as its data file, which is missing')
    refused(write(tmp_path, 's%q.raw 0 7 1'), 'a pattern with its first number')


@pytest.mark.parametrize('size', ['-1', '0', 'right'])
def test_the_voxels_of_one_file_begin_after_its_header(tmp_path, size):
    text = f'{HEADER}HeaderSize = {"%03d" if size == "right" else size}\nElementDataFile = LOCAL\n'
    text = text.replace('%03d', f'{len(text):04}')
    path = tmp_path / 'scan.mha'
    path.write_bytes(text.encode() + VOXELS.tobytes())
    assert np.array_equal(voxels_of(find_one(path)), VOXELS)


@pytest.mark.parametrize(
    ('size', 'trailing', 'match'),
    [
        ('10', b'', 'has the HeaderSize 10, by which its voxels begin at byte 10'),
        ('-1', b'more', 'has the HeaderSize -1, by which its voxels begin'),
        ('-2', b'', "has the HeaderSize '-2', but a number of bytes"),
        ('ten', b'', "has the HeaderSize 'ten'"),
    ],
)
def test_a_header_size_that_contradicts_the_header_is_refused(tmp_path, size, trailing, match):
    path = tmp_path / 'scan.mha'
    text = f'{HEADER}HeaderSize = {size}\nElementDataFile = LOCAL\n'
    path.write_bytes(text.encode() + VOXELS.tobytes() + trailing)
    refused(find_one(path), match)


@pytest.mark.parametrize('size', [7, -1])
def test_a_data_file_may_have_a_header_of_its_own(tmp_path, size):
    path = tmp_path / 'scan.mhd'
    path.write_text(f'{HEADER}HeaderSize = {size}\nElementDataFile = voxels.raw\n')
    (tmp_path / 'voxels.raw').write_bytes(b'7 bytes' + VOXELS.tobytes())
    assert np.array_equal(voxels_of(find_one(path)), VOXELS)
    (tmp_path / 'voxels.raw').write_bytes(b'7 bytes' + VOXELS.tobytes()[:-8])
    refused(find_one(path), 'is truncated')


@pytest.mark.parametrize('data_file', [f'LIST\n{names(7)}', 's%d.raw 0 6 1'])
def test_too_few_slices_of_a_nrrd_are_refused(tmp_path, data_file):
    write(tmp_path, 'LOCAL')
    (tmp_path / 'scan.mhd').unlink()
    (tmp_path / 'scan.nhdr').write_text(f'{NRRD}data file: {data_file.strip()}\n')
    scan = find_one(tmp_path / 'scan.nhdr')
    with pytest.raises(ScanError):
        voxels_of(scan)


@pytest.mark.parametrize('data_file', [f'LIST\n{names()}', 's%d.raw 0 7 1'])
@pytest.mark.parametrize(('name', 'start'), [('scan.mhd', HEADER), ('scan.nhdr', NRRD)])
def test_files_that_a_header_names_are_not_passed_over(tmp_path, data_file, name, start):
    write(tmp_path, 'LOCAL')
    (tmp_path / 'scan.mhd').unlink()
    field = 'data file: ' if name == 'scan.nhdr' else 'ElementDataFile = '
    (tmp_path / name).write_text(f'{start}{field}{data_file.strip()}\n')
    (tmp_path / 'notes.txt').touch()
    lines = []
    (scan,) = find_scans(tmp_path, lines.append)
    assert lines == ['Passed over, as of no format that is read: 1 (.txt 1)']
    assert np.array_equal(voxels_of(scan), VOXELS)
