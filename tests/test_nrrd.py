"""NRRD and MetaImage: what their headers say of the geometry, and ITK does not heed."""

import bz2
import re

import numpy as np
import pytest
import SimpleITK as sitk
from scanned import SPACING, make_image, make_voxels, write

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.scans import scan_of_file
from genesis_jax.imaging.volumes import read_image

GRID = 'space directions: (0.75,0,0) (0,0.5,0) (0,0,1.25)', 'space origin: (-20,-30,40)'
LPS = 'space: left-posterior-superior'
SIDES = 'dimension: 3', 'sizes: 10 12 8'


def nrrd(path, *fields, content=None, encoding='raw'):
    """Writes int16 voxels below a header of these fields."""
    lines = 'NRRD0005', 'type: int16', 'endian: little', f'encoding: {encoding}', *fields
    content = make_voxels().astype('<i2').tobytes('F') if content is None else content
    path.write_bytes('\n'.join([*lines, '', '']).encode() + content)
    return path


def read(path):
    return read_image(scan_of_file(path), 'ct')


def refused(path, match):
    with pytest.raises(ScanError, match=match) as error:
        read(path)
    assert '\n' not in str(error.value)


def assert_placed(image):
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, make_voxels())
    np.testing.assert_allclose(image.GetSpacing(), SPACING)
    np.testing.assert_allclose(image.GetOrigin(), (-20, -30, 40))
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())


@pytest.mark.parametrize(('unit', 'mm'), [('um', 1e-3), ('µm', 1e-3), ('cm', 10), ('m', 1000)])
def test_space_units_are_honoured_and_told(tmp_path, unit, mm):
    sides = [side / mm for side in SPACING]
    vectors = ' '.join(f'({",".join(map(str, row))})' for row in np.diag(sides))
    origin = ','.join(str(place / mm) for place in (-20, -30, 40))
    geometry = f'space directions: {vectors}', f'space origin: ({origin})'
    units = f'space units: "{unit}" "{unit}" "{unit}"'
    path = nrrd(tmp_path / 's.nrrd', *SIDES, LPS, *geometry, units)
    with pytest.warns(ScanRemark, match=f'in units of {mm:g} mm'):
        assert_placed(read(path))


def test_units_that_are_no_lengths_are_refused(tmp_path):
    for units in ('"mm" "mm" "um"', '"inch" "inch" "inch"'):
        path = nrrd(tmp_path / 's.nrrd', *SIDES, LPS, *GRID, f'space units: {units}')
        refused(path, 'gives its geometry in .*convert it to mm')
    assert_placed(read(nrrd(path, *SIDES, LPS, *GRID, 'space units: "mm" "mm" "mm"')))


@pytest.mark.parametrize('place', range(4))
@pytest.mark.parametrize('vector', ['none', '(nan,nan,nan)'])
def test_a_list_of_one_is_no_axis_of_space(tmp_path, place, vector):
    sizes, kinds, vectors = ['10', '12', '8'], ['domain'] * 3, GRID[0].split(': ')[1].split(' ')
    for fields, value in ((sizes, '1'), (kinds, 'list'), (vectors, vector)):
        fields.insert(place, value)
    fields = f'sizes: {" ".join(sizes)}', f'kinds: {" ".join(kinds)}', LPS, GRID[1]
    directions = f'space directions: {" ".join(vectors)}'
    assert_placed(read(nrrd(tmp_path / 's.nrrd', 'dimension: 4', *fields, directions)))


def test_spacings_of_a_list_are_no_spacings(tmp_path):
    fields = 'sizes: 1 10 12 8', 'kinds: list domain domain domain'
    spacings = 'spacings: nan 0.75 0.5 1.25', 'units: "" "mm" "mm" "mm"'
    path = nrrd(tmp_path / 's.nrrd', 'dimension: 4', *fields, *spacings)
    with pytest.warns(ScanRemark, match='does not say how it lies in the patient'):
        assert read(path).GetSpacing() == SPACING


@pytest.mark.parametrize(
    ('fields', 'match'),
    [
        ([], r'size of its voxels .*: 1 x 1 x 1 mm is assumed'),
        (['spacings: 0.75 0.5 1.25'], 'does not say how it lies in the patient: .*taken for LPS'),
        (['space: scanner-xyz', *GRID], "the space 'scanner-xyz', which does not say how it lies"),
    ],
)
def test_what_a_nrrd_does_not_say_is_told(tmp_path, fields, match):
    with pytest.warns(ScanRemark, match=match):
        read(nrrd(tmp_path / 's.nrrd', *SIDES, *fields))


@pytest.mark.parametrize('space', ['RAS', 'right-anterior-superior', 'left-anterior-superior'])
def test_spaces_become_lps(tmp_path, space):
    image = read(nrrd(tmp_path / 's.nrrd', *SIDES, f'space: {space}', *GRID))
    x = 1 if space.startswith('left') else -1
    np.testing.assert_allclose(image.GetOrigin(), (-20 * x, 30, 40))
    np.testing.assert_allclose(np.diag(np.reshape(image.GetDirection(), (3, 3))), (x, -1, 1))


def test_bzip2_is_refused_by_name(tmp_path):
    content = bz2.compress(make_voxels().tobytes('F'))
    path = nrrd(tmp_path / 's.nrrd', *SIDES, LPS, *GRID, content=content, encoding='bzip2')
    refused(path, 'is compressed by bzip2, which is not read; save it with the encoding gzip')


def sheared(path, shear):
    if path.suffix == '.nrrd':
        directions = f'space directions: (0.75,0,0) ({shear},0.5,0) (0,0,1.25)'
        return nrrd(path, *SIDES, LPS, directions, GRID[1])
    text = write(path.parent, path.name, make_voxels()).read_text()
    matrix = f'TransformMatrix = 1 0 0 {2 * shear} 1 0 0 0 1'
    path.write_text(re.sub('TransformMatrix = .*', matrix, text))
    return path


@pytest.mark.parametrize('name', ['s.nrrd', 's.mhd'])
def test_sheared_axes_are_turned_or_refused_with_a_remedy_that_works(tmp_path, name):
    image = read(sheared(tmp_path / name, 0.0005))
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    path = sheared(tmp_path / name, 0.05)
    refused(path, r'by its directions two of them are off by 5\.7 degrees .*SimpleITK.Resample')
    straight = sitk.Resample(sitk.ReadImage(str(path)), make_image(make_voxels()))
    sitk.WriteImage(straight, str(path))
    assert read(path).GetSize() == (10, 12, 8)


def with_fields(path, *lines):
    path.write_text(path.read_text().replace('ElementType', '\n'.join([*lines, 'ElementType'])))
    return path


def test_what_itk_ignores_in_a_metaimage(tmp_path):
    path = write(tmp_path, 's.mhd', make_voxels())
    before = path.read_text()
    with_fields(path, 'DistanceUnits = um')
    with pytest.warns(ScanRemark, match='in units of 0.001 mm'):
        image = read(path)
    np.testing.assert_allclose(image.GetSpacing(), np.array(SPACING) / 1000)
    np.testing.assert_allclose(image.GetOrigin(), (-0.02, -0.03, 0.04))
    path.write_text(before)
    with_fields(path, 'ElementToIntensityFunctionSlope = 2')
    refused(path, 'scales its voxels by ElementToIntensityFunctionSlope')
    path.write_text(re.sub('TransformMatrix = .*', 'TransformMatrix = 0 0 0 0 0 0 0 0 0', before))
    refused(path, 'Bad direction, determinant is 0')
    path.write_text(re.sub('ElementSpacing = .*\n', '', before))
    with pytest.warns(ScanRemark, match='ElementSpacing.: 1 x 1 x 1 mm is assumed'):
        assert read(path).GetSpacing() == (1, 1, 1)


@pytest.mark.parametrize(
    ('line', 'match'),
    [
        ('NDims = 7', "has the NDims '7', but 3 is expected"),
        ('DimSize = 10 12', "has '10 12' as its dimsize, but 3 numbers are expected"),
        ('TransformMatrix = 1 0 0 1', 'as its transformmatrix, but 9 numbers are expected'),
    ],
)
def test_lists_of_a_wrong_length_are_refused_before_itk_crashes(tmp_path, line, match):
    path = write(tmp_path, 's.mhd', make_voxels())
    path.write_text(re.sub(f'{line.split()[0]} = .*', line, path.read_text()))
    refused(path, match)
