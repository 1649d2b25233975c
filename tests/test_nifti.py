"""NIfTI: every voxel at its place and value, as nibabel says; results lie where their scans do."""

import gzip
import tempfile
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.processing import resample_to_output
from niftis import PLAIN, rewrite, save
from scanned import make_voxels
from test_predict import run_bright

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.geometry import read_placed, restore, write_image
from genesis_jax.imaging.scans import find_scans, scan_of_file
from genesis_jax.imaging.volumes import read_channels, read_image

PLACE = ('qform_code', 'sform_code', 'quatern_b', 'quatern_c', 'quatern_d', 'qoffset_x',
         'qoffset_y', 'qoffset_z', 'srow_x', 'srow_y', 'srow_z', 'xyzt_units')  # fmt: skip


def read(path):
    return read_image(scan_of_file(path), 'other')


def affine(image):
    """The matrix of an image from voxels to world mm, RAS as nibabel's."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ matrix


def voxels_of(image):
    return sitk.GetArrayFromImage(image).T


def refused(path, match):
    with pytest.raises(ScanError, match=match) as error:
        read(path)
    assert '\n' not in str(error.value)


@st.composite
def matrices(draw):
    """Oblique, anisotropic, flipped: a matrix [4, 4] of voxels of 0.4 to 5 mm."""
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    directions, _ = np.linalg.qr(seed.normal(size=(3, 3)))
    flips = draw(st.tuples(*[st.sampled_from([1, -1])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.4, 5)] * 3))
    matrix = np.eye(4)
    matrix[:3, :3] = directions * flips * spacing
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return matrix


@settings(max_examples=60, deadline=None)
@given(
    matrices(),
    st.tuples(*[st.integers(5, 12)] * 3),
    st.sampled_from(['qform', 'sform', 'both']),
    st.sampled_from(['int16', 'uint8', 'float32', 'scaled']),
    st.sampled_from([(2, 1.0), (0, 1.0), (3, 1000.0), (1, 0.001)]),
    st.sampled_from(['.nii', '.nii.gz', '.hdr']),
)
def test_a_box_is_where_nibabel_and_itk_see_it(matrix, size, forms, kind, units, suffix):
    code, per_mm = units
    voxels = np.random.default_rng(0).integers(0, 100, size).astype('int16')
    low, high = np.array(size) // 4, np.array(size) // 4 + 2
    voxels[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = 200
    scaling = {'scl_slope': 0.0127, 'scl_inter': -31.5} if kind == 'scaled' else {}
    stored = voxels.astype('int16' if kind == 'scaled' else kind)
    in_unit = np.diag([per_mm, per_mm, per_mm, 1]) @ matrix
    given_forms = {name: in_unit for name in ('qform', 'sform') if forms in (name, 'both')}
    kind = Nifti1PairHeader if suffix == '.hdr' else nibabel.Nifti1Header
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore', ScanRemark)  # a few voxels of micrometres are a tiny scan
        path = Path(folder, f'scan{suffix}')
        fields = {'xyzt_units': code, **scaling}
        save(path, stored, **{'sform': None, **given_forms}, kind=kind, **fields)
        reference = nibabel.load(path)
        truth = np.diag([1 / per_mm] * 3 + [1]) @ reference.affine
        half = np.linalg.norm(matrix[:3, :3], axis=0).min() / 2
        centre = np.append((low + high - 1) / 2, 1)

        image = read(path)
        assert np.linalg.norm((affine(image) - truth) @ centre) < 0.01 * half
        expected = reference.get_fdata()
        np.testing.assert_allclose(voxels_of(image), expected, rtol=1e-6, atol=1e-5)

        scan = read_placed([scan_of_file(path)], ['CT'], 'ct')
        bright = (scan.voxels[..., 0] >= np.rint(expected.max())).astype(np.uint8)
        result = Path(folder, 'out', 'scan.nii.gz')
        write_image(restore(bright, scan.prepared, scan.stored), scan.stored, result, path)
        found = nibabel.load(result)
        np.testing.assert_array_equal(np.asarray(found.dataobj), voxels == 200)
        np.testing.assert_array_equal(found.affine, reference.affine)
        for field in PLACE:
            np.testing.assert_array_equal(found.header[field], reference.header[field])
        seen, by_itk = (sitk.ReadImage(str(file)) for file in (path, result))
        np.testing.assert_allclose(affine(by_itk), affine(seen), rtol=1e-6, atol=1e-6)
        if code == 2:
            assert np.linalg.norm((affine(by_itk) - truth) @ centre) < half


# qform, sform, pixdim


@pytest.mark.parametrize(('sform_code', 'qform_code'), [(2, 1), (4, 1), (1, 2)])
def test_a_qform_elsewhere_is_told_and_the_result_keeps_both(tmp_path, sform_code, qform_code):
    sform = np.array([[0, -1.0, 0, 40], [1, 0, 0, -30], [0, 0, 1, 12], [0, 0, 0, 1]])
    codes = {'sform_code': sform_code, 'qform_code': qform_code}
    path = save(tmp_path / 'in/s.nii.gz', make_voxels(), sform=sform, qform=PLAIN, **codes)
    match = rf'sform \(code {sform_code}\) and a qform .* differ by up to 54.6 mm: its sform was'
    with pytest.warns(ScanRemark, match=match):
        image = read(path)
    np.testing.assert_allclose(affine(image), sform, atol=1e-6)
    outcome = run_bright(path, tmp_path / 'out')
    assert any('differ by up to 54.6 mm' in line for line in outcome.lines)
    before, after = (nibabel.load(file).header for file in (path, tmp_path / 'out/s.nii.gz'))
    for field in (*PLACE, 'pixdim'):
        np.testing.assert_array_equal(after[field], before[field])
    assert after.get_data_dtype() == np.uint8


@pytest.mark.parametrize(('shift', 'told'), [(0.2, False), (0.4, True)])
def test_rounding_is_no_difference(tmp_path, shift, told):
    moved = PLAIN.copy()
    moved[0, 3] = shift
    path = save(tmp_path / 's.nii', make_voxels(), qform=moved)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        read(path)
    assert bool(caught) == told


def test_an_unusable_qform_beside_an_sform_is_told(tmp_path):
    path = save(tmp_path / 's.nii', make_voxels(), qform=PLAIN, quatern_b=2.0)
    with pytest.warns(ScanRemark, match=r'has a qform that is no rotation .*its sform .* was used'):
        np.testing.assert_array_equal(affine(read(path)), PLAIN)
    rewrite(path, sform_code=0)
    refused(path, 'has a qform that is no rotation .*; correct it, or set an sform')


def test_a_quaternion_that_rounding_made_longer_is_one(tmp_path):
    half = np.diag([0.0, 0.0, -1.0, 1.0])
    half[0, 1] = half[1, 0] = 1
    rounded = {'quatern_b': 0.70711, 'quatern_c': 0.70711, 'quatern_d': 0.0}
    path = save(tmp_path / 's.nii', make_voxels(), sform=None, qform=half, **rounded)
    np.testing.assert_allclose(affine(read(path)), half, atol=1e-6)
    for length in (1.0009, 1.0011, 3.0):
        rewrite(path, quatern_b=length, quatern_c=0)
        if length < 1.001:
            np.testing.assert_allclose(affine(read(path)), np.diag([1, -1, -1, 1]), atol=1e-6)
        else:
            refused(path, f'the length {length:g}[0-9]*, but 1 at most is expected')


def test_pixdim_that_differs_is_told_and_the_sform_is_used(tmp_path):
    path = save(tmp_path / 's.nii', make_voxels(), pixdim=[1, 1, 1, 1.25, 0, 0, 0, 0])
    match = r'1 x 1 x 1 mm by its sform and of 1 x 1 x 1.25 mm by its pixdim, which differ .* 1.75'
    with pytest.warns(ScanRemark, match=match):
        assert read(path).GetSpacing() == (1, 1, 1)


def test_without_qform_and_sform_a_guess_is_told(tmp_path):
    path = save(tmp_path / 's.nii', make_voxels(), sform=None, pixdim=[1, 0.5, 0.7, 2, 0, 0, 0, 0])
    with pytest.warns(ScanRemark, match='left and right are a guess'):
        image = read(path)
    np.testing.assert_allclose(affine(image), nibabel.load(path).affine, atol=1e-6)


@pytest.mark.parametrize('field', ['sform_code', 'qform_code'])
def test_a_code_that_nifti_does_not_know_is_refused(tmp_path, field):
    path = save(tmp_path / 's.nii', make_voxels(), qform=PLAIN, **{field: 7})
    refused(path, f'has the {field} 7, but NIfTI knows 0 to 5')
    rewrite(path, **{field: 1})
    read(path)


@pytest.mark.parametrize(('value', 'match'), [(0, 'singular'), (np.nan, 'NaN or infinity')])
def test_an_sform_of_nothing_is_refused_with_a_remedy_that_works(tmp_path, value, match):
    rows = {f'srow_{axis}': [value] * 4 for axis in 'xyz'}
    path = save(tmp_path / 's.nii', make_voxels(), qform=PLAIN, **rows)
    refused(path, f'{match}.*set its sform_code to 0 if its qform is right')
    rewrite(path, sform_code=0)
    np.testing.assert_allclose(affine(read(path)), PLAIN, atol=1e-6)


def test_a_slightly_sheared_sform_is_the_nearest_rotation(tmp_path):
    """Half a voxel over 500, and the middle of the scan stays."""
    sform = np.diag([-0.5, -0.7, 2.0, 1.0])
    sform[0, 1] = 0.0005
    path = save(tmp_path / 's.nii', np.zeros((200, 200, 20), np.int16), sform=sform)
    image = read(path)
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    middle = np.array([99.5, 99.5, 9.5, 1])
    np.testing.assert_allclose(affine(image) @ middle, sform @ middle, atol=1e-5)
    assert np.abs((affine(image) - sform) @ np.array([199, 199, 19, 1])).max() < 0.05


def test_a_sheared_sform_is_refused_and_the_remedy_works(tmp_path):
    sform = np.diag([-0.5, -0.7, 2.0, 1.0])
    sform[0, 1] = 0.05
    path = save(tmp_path / 's.nii', make_voxels(), sform=sform)
    refused(path, r'not at right angles: by its sform .* off by 4\.1 degrees .*resample_to_output')
    nibabel.save(resample_to_output(nibabel.load(path)), path)
    read(path)
    sform[0, 1] = 0.05
    path = save(tmp_path / 'q.nii', make_voxels(), sform=sform, qform=np.diag([-0.5, -0.7, 2, 1]))
    refused(path, 'set its sform_code to 0 if its qform is right, or else resample')
    rewrite(path, sform_code=0)
    read(path)


# Units


@pytest.mark.parametrize(
    ('code', 'mm'), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (8, 1), (10, 1), (11, 0.001)]
)
def test_units_are_honoured(tmp_path, code, mm):
    """8, 16 and 24 in xyzt_units are units of time."""
    sform = np.diag([-2 / mm, -3 / mm, 4 / mm, 1])
    sform[:3, 3] = np.array([10, 20, 30]) / mm
    path = save(tmp_path / 's.nii', make_voxels(), sform=sform, qform=sform, xyzt_units=code)
    image = read(path)
    np.testing.assert_allclose(image.GetSpacing(), (2, 3, 4), rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), (-10, -20, 30), rtol=1e-6)


def test_units_that_cannot_be_meant(tmp_path):
    path = save(tmp_path / 's.nii', make_voxels(), xyzt_units=1)
    refused(path, 'in metres, by which they are 1000 x 1000 x 1000 mm; .*set its xyzt_units to 2')
    rewrite(path, xyzt_units=2)
    read(path)
    rewrite(path, xyzt_units=3)
    with pytest.warns(ScanRemark, match='in micrometres, by which they are 0.001 x 0.001 x 0.001'):
        read(path)
    rewrite(path, xyzt_units=5)
    refused(path, 'has the unit of length 5 in xyzt_units')


# Values


@pytest.mark.parametrize('slope', [0.0, np.nan, np.inf])
def test_a_slope_of_nothing_is_no_scaling(tmp_path, slope):
    voxels = make_voxels()
    path = save(tmp_path / 's.nii', voxels, scl_slope=slope, scl_inter=-1024)
    image = read(path)
    assert image.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(voxels_of(image), voxels)


@pytest.mark.parametrize('slope', [1.0, 2.0])
@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'int32', 'uint32', 'int64', 'float64'])
def test_scaling_is_exact(tmp_path, dtype, slope):
    voxels = np.abs(make_voxels()).clip(0, 255).astype(dtype)
    path = save(tmp_path / 's.nii', voxels, scl_slope=slope, scl_inter=-1024)
    np.testing.assert_array_equal(voxels_of(read(path)), slope * voxels.astype(float) - 1024)


def test_an_intercept_that_is_no_number_is_refused(tmp_path):
    path = save(tmp_path / 's.nii', make_voxels(), scl_slope=1, scl_inter=np.nan)
    refused(path, 'slope 1 and the intercept nan, by which its voxels are no numbers')


@pytest.mark.parametrize('start', [0, 100, 348, 352.5, np.nan])
def test_voxels_within_the_header_are_refused(tmp_path, start):
    path = save(tmp_path / 's.nii', make_voxels(), vox_offset=start)
    refused(path, f'start at byte {start:g} .*set it to where they start, at 352 or after it')
    rewrite(path, vox_offset=352)
    np.testing.assert_array_equal(voxels_of(read(path)), make_voxels())


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('kind', [Nifti2Header, Nifti2PairHeader, Nifti1PairHeader])
def test_both_versions_pairs_and_byte_orders(tmp_path, order, kind):
    path = tmp_path / 'in' / ('s.nii' if kind.is_single else 's.hdr')
    save(path, make_voxels(), kind=kind, order=order)
    (scan,) = find_scans(tmp_path / 'in')
    assert scan.scan_id == 's'
    np.testing.assert_array_equal(voxels_of(read(path)), make_voxels())
    run_bright(path, tmp_path / 'out')
    result = nibabel.load(tmp_path / 'out/s.nii.gz')
    np.testing.assert_array_equal(np.asarray(result.dataobj), make_voxels() > 0)
    np.testing.assert_array_equal(result.affine, PLAIN)


def test_channels_in_four_dimensions(tmp_path):
    both = np.stack([make_voxels(), -make_voxels()], axis=-1)
    path = save(tmp_path / 's.nii.gz', both)
    for image, channel in zip(read_channels(path, 2, 'other'), (0, 1), strict=True):
        np.testing.assert_array_equal(voxels_of(image), both[..., channel])
        np.testing.assert_array_equal(affine(image), PLAIN)


@pytest.mark.parametrize(('dtype', 'numbers'), [('complex64', 2), ('V3', 3)])
def test_several_numbers_in_a_voxel_are_refused(tmp_path, dtype, numbers):
    kind = [('R', 'u1'), ('G', 'u1'), ('B', 'u1')] if dtype == 'V3' else dtype
    refused(
        save(tmp_path / 's.nii', np.zeros((5, 5, 5), kind)), f'holds {numbers} numbers per voxel'
    )


@pytest.mark.parametrize('code', [0, 1, 7, 255])
def test_unknown_data_types_are_refused(tmp_path, code):
    path = save(tmp_path / 's.nii', make_voxels())
    rewrite(path, datatype=code)
    refused(path, f'holds voxels of the data type {code}, which is not one that is read')


# Files that are called something else


def test_compression_is_seen_by_the_content(tmp_path):
    plain = save(tmp_path / 'plain.nii', make_voxels()).read_bytes()
    packed = gzip.compress(plain)
    names = {
        'not_compressed.nii.gz': plain,
        'compressed.nii': packed,
        'padded.nii.gz': packed + b'\0' * 512,
        'members.nii.gz': gzip.compress(plain[:200]) + b'\0' * 3 + gzip.compress(plain[200:]),
    }
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(voxels_of(read(tmp_path / name)), make_voxels())
    (tmp_path / 'cut.nii').write_bytes(packed[:-9])
    refused(tmp_path / 'cut.nii', 'is truncated: its compressed data ends early')


def test_pairs_and_what_only_looks_like_them(tmp_path):
    path = save(tmp_path / 'p.hdr', make_voxels(), kind=Nifti1PairHeader)
    data = (tmp_path / 'p.img').read_bytes()
    (tmp_path / 'p.img').unlink()
    refused(path, r'has its voxels in p\.img, which is missing; put it beside it')
    (tmp_path / 'p.img.gz').write_bytes(gzip.compress(data))
    np.testing.assert_array_equal(voxels_of(read(path)), make_voxels())
    (tmp_path / 'p.img.gz').unlink()
    (tmp_path / 'p.img').write_bytes(data[:-1])
    refused(path, 'is truncated: its header promises 1920 bytes of voxels and 1919 are there')
    (tmp_path / 'p.img').write_bytes(b'')
    refused(path, 'is truncated: .* 0 are there')
    alone = path.rename(tmp_path / 'p.nii')
    refused(alone, r'voxels are in an \.img file of their own; call it \.hdr')
    single = save(tmp_path / 'q.nii', make_voxels()).rename(tmp_path / 'q.hdr')
    refused(single, r'voxels are in the same file; call it \.nii')
    rewrite(single, magic=b'')
    refused(single, 'is an Analyze file, .*, which does not tell left from right')
    (tmp_path / 'text.hdr').write_text('ENVI\nsamples = 4')
    refused(tmp_path / 'text.hdr', 'does not start with a NIfTI header')


def test_nibabel_prints_nothing(tmp_path, capfd):
    odd = {'pixdim': [0, 1, 1, 1, -1, 0, 0, 0], 'bitpix': 7}
    path = save(tmp_path / 'in/s.nii', make_voxels(), **odd)
    read(path)
    write_image(np.zeros((10, 12, 8), np.float32), None, tmp_path / 'out.nii.gz', path)
    assert capfd.readouterr() == ('', '')
    assert nibabel.load(tmp_path / 'out.nii.gz').get_data_dtype() == np.float32
    assert sorted(file.name for file in tmp_path.iterdir()) == ['in', 'out.nii.gz']
