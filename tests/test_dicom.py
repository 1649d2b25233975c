"""DICOM: every voxel at its place and with its value, whatever the files, or a refusal by name."""

import itertools
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from dicoms import AXES, ENHANCED_CT, MR, dataset, frames, group, save, single
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from data_prep.splits.patients import infer_patients
from genesis_jax.errors import ScanError, ScanRemark, collected_remarks
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_image, read_volume

UP = [(0, 0, 2.0 * k) for k in range(8)]
RAMP = (np.arange(24 * 24).reshape(24, 24) % 5).astype(np.uint16)


def read(folder, modality='other'):
    """The values [X, Y, Z] of the only scan, its image, and the remarks on it."""
    (scan,) = find_scans(folder)
    with collected_remarks() as told:
        image = read_image(scan, modality)
    return sitk.GetArrayFromImage(image).T, image, told


def refused(folder, words, modality='other'):
    (scan,) = find_scans(folder)
    with pytest.raises(ScanError, match=words):
        read_volume(scan, modality)


def write(folder, made):
    for number, one in enumerate(made):
        save(folder / f'{number:02}.dcm', one)


# --- values --------------------------------------------------------------------------------------


def test_every_slice_has_its_own_slope(tmp_path):
    slopes = [1, *[0.004] * 7]
    made = [
        single(RAMP + 100, UP[k], k, sop=MR, modality='MR', slope=slopes[k], intercept=k)
        for k in range(8)
    ]
    write(tmp_path, made)
    values, *_ = read(tmp_path, 'mri')
    expected = [slope * (RAMP.T + 100.0) + k for k, slope in enumerate(slopes)]
    np.testing.assert_allclose(values, np.stack(expected, -1), rtol=1e-6)


@pytest.mark.parametrize('first', [np.uint16, np.int16])
def test_every_slice_has_its_own_sign(tmp_path, first):
    other = np.int16 if first == np.uint16 else np.uint16
    pixels = [RAMP.astype(first), *[RAMP.astype(other) for _ in range(7)]]
    for plane in pixels:
        plane[4:8, 4:8] = -500 if plane.dtype == np.int16 else 60_000
    write(tmp_path, [single(plane, UP[k], k) for k, plane in enumerate(pixels)])
    values, image, _ = read(tmp_path)
    np.testing.assert_array_equal(values, np.stack([p.T.astype(int) for p in pixels], -1))
    assert image.GetPixelIDTypeAsString() == '32-bit signed integer'


def test_hu_are_int16_where_their_bits_fit(tmp_path):
    tags = {'BitsStored': 12, 'HighBit': 11, 'intercept': -1024}
    write(tmp_path, [single(RAMP + 1000, UP[k], k, **tags) for k in range(8)])
    values, image, told = read(tmp_path)
    assert values.dtype == np.int16 and not told
    np.testing.assert_array_equal(values, np.repeat(RAMP.T.astype(int)[..., None] - 24, 8, -1))


def test_bits_that_no_value_uses_are_nothing(tmp_path):
    """Overlays lie in the high bits; negative values of 12 bits have no sign there."""
    signed = np.where(RAMP % 2, -3, 5).astype(np.int16)
    stored = (signed & 0x0FFF | 0x5000).astype(np.int16)
    tags = {'BitsStored': 12, 'HighBit': 11}
    write(tmp_path, [single(stored, UP[k], k, **tags) for k in range(8)])
    values, *_ = read(tmp_path)
    np.testing.assert_array_equal(values[..., 3], signed.T)


def test_what_is_shown_inverted_is_not_inverted(tmp_path):
    tags = {'PhotometricInterpretation': 'MONOCHROME1', 'intercept': -1024}
    write(tmp_path, [single(RAMP + 124, UP[k], k, **tags) for k in range(8)])
    values, *_ = read(tmp_path)
    np.testing.assert_array_equal(values[..., 0], RAMP.T.astype(int) - 900)


def test_ct_without_rescale_tags_is_remarked_on(tmp_path):
    made = [single(RAMP.astype(np.int16) * 200 - 800, UP[k], k) for k in range(8)]
    for one in made:
        del one.RescaleSlope, one.RescaleIntercept
    write(tmp_path, made)
    *_, told = read(tmp_path, 'ct')
    assert len(told) == 1 and 'no rescale tags' in told[0]
    assert not read(tmp_path)[2]


def test_a_table_of_values_is_refused(tmp_path):
    made = [single(RAMP, UP[k], k) for k in range(8)]
    for one in made:
        one.ModalityLUTSequence = Sequence([group()])
    write(tmp_path, made)
    refused(tmp_path, r'00.dcm, whose values are meant through a table \(Modality LUT\)')


@pytest.mark.parametrize('syntax', [RLELossless, DeflatedExplicitVRLittleEndian])
def test_compressed_slices(tmp_path, syntax):
    for k in range(8):
        made = single(RAMP + k, UP[k], k)
        if syntax == RLELossless:
            made.compress(syntax)
        else:
            made.file_meta.TransferSyntaxUID = syntax
        save(tmp_path / f'{k}.dcm', made)
    values, *_ = read(tmp_path)
    np.testing.assert_array_equal(values[..., 7], RAMP.T + 7)


@pytest.mark.parametrize(
    'syntax', ['JPEG2000Lossless', 'JPEGLSLossless', 'JPEGLosslessProcess14_1', 'RLELossless']
)
def test_slices_compressed_by_gdcm(tmp_path, syntax):
    gdcm = pytest.importorskip('gdcm')
    for k in range(8):
        file = save(tmp_path / f'{k}.dcm', single(RAMP + k, UP[k], k))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    values, *_ = read(tmp_path)
    np.testing.assert_array_equal(values[..., 7], RAMP.T + 7)


def test_big_endian(tmp_path):
    for k in range(8):
        made = single((RAMP + k).byteswap(), UP[k], k)
        made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        save(tmp_path / f'{k}.dcm', made)
    values, *_ = read(tmp_path)
    np.testing.assert_array_equal(values[..., 7], RAMP.T + 7)


# --- places --------------------------------------------------------------------------------------


def test_a_tilted_gantry_is_resampled_to_right_angles(tmp_path):
    """A bar along z at x = y = 0, in a head CT tilted by 20 degrees."""
    tilt = np.deg2rad(20)
    row, column = np.array([1, 0, 0.0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    i, j = np.meshgrid(np.arange(40), np.arange(40))
    for k in range(24):
        position = np.array([-20, -20 * np.cos(tilt), -20 * np.sin(tilt) + 2 * k])
        world = position + i[..., None] * row + j[..., None] * column
        inside = (abs(world[..., 0]) <= 5) & (abs(world[..., 1]) <= 5)
        pixels = np.where(inside, 400, -500).astype(np.int16)
        save(tmp_path / f'{k}.dcm', single(pixels, position, k, axes=(*row, *column)))
    values, image, told = read(tmp_path, 'ct')
    assert told == ['has slices tilted by 20.0 degrees (a gantry); it is resampled to right angles']
    indices = np.argwhere(values > -50)
    points = np.array([image.TransformIndexToPhysicalPoint(p.tolist()) for p in indices])
    assert np.ptp(points[:, 2]) > 40
    for low in range(5, 40, 5):
        part = points[(points[:, 2] >= low) & (points[:, 2] < low + 5)]
        assert np.abs(part[:, :2].mean(axis=0)).max() < 0.5
    assert set(np.unique(values)) >= {-1024, -500, 400}
    np.testing.assert_allclose(np.linalg.det(np.reshape(image.GetDirection(), (3, 3))), 1)


@pytest.mark.parametrize(
    ('heights', 'words'),
    [
        ([0, 1, 2, 3, 5, 6, 7], r'2\.000 mm between 03.dcm and 04.dcm, 1\.000 mm elsewhere'),
        ([0, 1, 2, 3, 4.2, 5.4, 6.6, 7.8], 'stacks of different gaps'),
        (np.cumsum([1.0] * 20 + [1.08] * 20), 'stacks of different gaps'),  # adds up to more
        ([0, 0, 1, 1, 2, 2], 'has 2 images at every position, as of 2 phases, echoes'),
        ([0, 1, 2, 2, 3], r'at the same position \(02.dcm and 03.dcm\)'),
    ],
)
def test_slices_off_their_places_are_refused(tmp_path, heights, words):
    write(tmp_path, [single(RAMP, (0, 0, z), k) for k, z in enumerate(heights)])
    refused(tmp_path, words)


def test_slices_that_jump_aside_are_refused(tmp_path):
    places = [(3 * (k == 4), 0, 2 * k) for k in range(8)]
    write(tmp_path, [single(RAMP, place, k) for k, place in enumerate(places)])
    refused(tmp_path, r'04.dcm lies 2.\d+ mm beside the line of the others')


@pytest.mark.parametrize('gap', [0.625, 0.45, 0.33, 3.0])
def test_rounded_places_are_no_fault(tmp_path, gap):
    """Oblique, small pixels, positions rounded to 0.1 mm: right to a quarter of a voxel."""
    x, y, normal = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    normal = np.cross(x, y)
    places = [np.round(gap * k * normal, 1) for k in range(40)]
    options = {'axes': (*x, *y), 'spacing': (0.43, 0.43)}
    write(tmp_path, [single(RAMP, place, k, **options) for k, place in enumerate(places)])
    _, image, told = read(tmp_path)
    assert not told
    for k in (0, 20, 39):
        found = image.TransformIndexToPhysicalPoint((0, 0, k))
        assert np.linalg.norm(np.array(found) - gap * k * normal) < 0.12


@pytest.mark.parametrize(
    ('tag', 'value'),
    [
        *itertools.product(['RescaleSlope', 'RescaleIntercept'], [b'1\\1 ', b'xx', b'nan ']),
        ('RescaleSlope', b'0 '),
    ],
)
def test_scales_that_are_none_are_refused_by_name(tmp_path, tag, value):
    made = [single(RAMP, UP[k], k, slope='7.77', intercept='8.88') for k in range(8)]
    write(tmp_path, made)
    old = b'7.77' if tag == 'RescaleSlope' else b'8.88'
    file = tmp_path / '03.dcm'
    file.write_bytes(file.read_bytes().replace(old, value.ljust(4)))
    refused(tmp_path, f'03.dcm, whose {tag} is .*; expected a number')


def test_a_slice_without_the_scale_of_the_others_is_refused(tmp_path):
    made = [single(RAMP, UP[k], k, intercept=-1024) for k in range(8)]
    del made[2].RescaleSlope, made[2].RescaleIntercept
    write(tmp_path, made)
    refused(tmp_path, '02.dcm, which has no rescale slope and intercept where others have')


def test_values_of_the_real_world_where_no_others_are(tmp_path):
    made = frames(STEPS, UP)
    for i, own in enumerate(made.PerFrameFunctionalGroupsSequence):
        del own.PixelValueTransformationSequence
        mapped = {'RealWorldValueSlope': 0.5 * (i + 1), 'RealWorldValueIntercept': 3.0}
        own.RealWorldValueMappingSequence = group(
            RealWorldValueMappingSequence=mapped
        ).RealWorldValueMappingSequence
    save(tmp_path / 'a.dcm', made)
    values, *_ = read(tmp_path)
    np.testing.assert_allclose(values, STEPS.T * (0.5 * np.arange(1, 9)) + 3)


@pytest.mark.parametrize(('kind', 'padding', 'lowest'), [('u2', 63536, 0), ('i2', -32768, -2048)])
def test_padding_beyond_the_bits_is_the_lowest_value(tmp_path, kind, padding, lowest):
    pixels = RAMP.astype(kind)
    pixels[:4] = np.array(padding).astype(kind)
    tags = {'BitsStored': 12, 'HighBit': 11, 'PixelPaddingValue': padding}
    write(tmp_path, [single(pixels, UP[k], k, **tags) for k in range(8)])
    values, *_ = read(tmp_path)
    assert (values[:, :4] == lowest).all() and (values[:, 4:] == RAMP.T[:, 4:, None]).all()


def test_axes_that_are_no_directions_are_refused(tmp_path):
    write(tmp_path, [single(RAMP, UP[k], k, axes=(1, 0, 0, 0.1, 1, 0)) for k in range(8)])
    refused(tmp_path, 'rows and columns are not at right angles')


def test_single_slices_of_an_enhanced_class_lie_where_their_tags_say(tmp_path):
    axes, spacing = (0, 1, 0, 0, 0, -1), (0.5, 0.25)
    for k in range(8):
        one = single(RAMP, (2.0 * k, -30, 40), k, axes=axes, spacing=spacing, sop=ENHANCED_CT)
        save(tmp_path / f'{k}.dcm', one)
    _, image, _ = read(tmp_path)
    assert image.GetSpacing() == pytest.approx((0.25, 0.5, 2))
    assert image.GetOrigin() == pytest.approx((14, -30, 40))  # the normal points to the right
    assert image.GetDirection()[::3] == pytest.approx((0, 1, 0))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 1 << 30),
    st.booleans(),
    st.tuples(*[st.floats(0.3, 3)] * 3),
    st.booleans(),
)
def test_a_bright_box_lies_where_its_files_say(tmp_path_factory, seed, enhanced, spacing, mirror):
    rng = np.random.default_rng(seed)
    x, y, z = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if mirror:
        y = -y
    normal = np.cross(x, y)
    origin, shape = rng.uniform(-100, 100, 3), (9, 11, 7)
    voxels = rng.integers(-1000, -500, shape).astype(np.int16)
    start = rng.integers(1, 4, 3)
    box = tuple(slice(a, a + 3) for a in start)
    voxels[box] = rng.integers(500, 1000, (3, 3, 3))
    centre = start + 1
    places = [origin + k * spacing[2] * normal for k in range(shape[2])]
    wanted = origin + centre * spacing @ np.array([x, y, normal])
    options = {'axes': (*x, *y), 'spacing': (spacing[1], spacing[0])}
    planes = voxels.T
    order = rng.permutation(shape[2])
    folder = tmp_path_factory.mktemp('box')
    if enhanced:
        options['axes'] = [options['axes']] * shape[2]
        save(folder / 'a.dcm', frames(planes[order], [places[k] for k in order], **options))
    else:
        write(folder, [single(planes[k], places[k], int(k), **options) for k in order])
    values, image, told = read(folder)
    assert not told
    np.testing.assert_array_equal(values, voxels)
    found = image.TransformContinuousIndexToPhysicalPoint(centre.astype(float).tolist())
    np.testing.assert_allclose(found, wanted, atol=1e-3)


# --- several frames in a file --------------------------------------------------------------------

STEPS = np.stack([RAMP + 1024 + 100 * k for k in range(8)]).astype(np.uint16)


def test_frames_are_put_in_the_order_of_their_places(tmp_path):
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    made = frames(STEPS[order], [UP[k] for k in order], spacing=(0.5, 0.25), intercept=-1024)
    save(tmp_path / 'a.dcm', made)
    values, image, told = read(tmp_path)
    np.testing.assert_array_equal(values, STEPS.T.astype(int) - 1024)
    assert image.GetSpacing() == pytest.approx((0.25, 0.5, 2)) and not told


def test_frames_have_slopes_of_their_own(tmp_path):
    slopes = [1] * 4 + [0.5] * 4
    save(tmp_path / 'a.dcm', frames(STEPS, UP, slopes=slopes, intercept=-1024))
    values, *_ = read(tmp_path)
    np.testing.assert_allclose(values, STEPS.T * np.array(slopes) - 1024)
    np.testing.assert_array_equal(
        np.median(values, (0, 1)) // 2 * 2, [2, 102, 202, 302, -312, -262, -212, -162]
    )


def test_what_frames_share_holds_for_all(tmp_path):
    made = frames(STEPS, UP)
    made.SharedFunctionalGroupsSequence = Sequence(
        [
            group(
                PlaneOrientationSequence={'ImageOrientationPatient': list(AXES)},
                PixelMeasuresSequence={'PixelSpacing': [0.5, 0.5]},
                PixelValueTransformationSequence={'RescaleSlope': 1, 'RescaleIntercept': -1024},
            )
        ]
    )
    for own in made.PerFrameFunctionalGroupsSequence:
        del own.PlaneOrientationSequence, own.PixelMeasuresSequence
        del own.PixelValueTransformationSequence
    save(tmp_path / 'a.dcm', made)
    values, image, _ = read(tmp_path)
    assert image.GetSpacing() == pytest.approx((0.5, 0.5, 2)) and values[0, 0, 3] == 300


@pytest.mark.parametrize(
    ('positions', 'axes', 'words'),
    [
        ([(0, 0, 2 * k + 20 * (k > 3)) for k in range(8)], None, 'missing or unevenly spaced'),
        ([(0, 0, 2 * (k % 4)) for k in range(8)], None, 'has 2 images at every position'),
        (UP, [AXES] * 4 + [(0, 1, 0, 0, 0, -1)] * 4, 'different orientation'),
    ],
)
def test_frames_of_no_one_stack_are_refused(tmp_path, positions, axes, words):
    save(tmp_path / 'a.dcm', frames(STEPS, positions, axes=axes))
    refused(tmp_path, words)


def test_missing_frames_are_refused(tmp_path):
    save(tmp_path / 'a' / 'a.dcm', frames(STEPS, UP[:7]))
    refused(tmp_path / 'a', 'promises 8 frames and describes 7')
    made = frames(STEPS, UP)
    made.PixelData = made.PixelData[: -STEPS[0].nbytes]
    save(tmp_path / 'b' / 'b.dcm', made)
    refused(tmp_path / 'b', 'b.dcm, whose pixels .* are fewer bytes than its header promises')


def test_frames_without_places_are_refused(tmp_path):
    secondary = '1.2.840.10008.5.1.4.1.1.7.3'
    save(tmp_path / 'a.dcm', dataset(STEPS, sop=secondary, NumberOfFrames=8))
    refused(tmp_path, 'frame 1 of a.dcm, which has no usable pixel spacing')


# --- files ---------------------------------------------------------------------------------------


def slices(folder, numbers, **tags):
    for k in numbers:
        save(folder / f'{k:03}.dcm', single(RAMP + k, (0, 0, 2.0 * k), k, **tags))


@pytest.mark.parametrize('parts', [(range(8), range(8, 16)), (range(0, 16, 2), range(1, 16, 2))])
def test_a_series_in_two_folders_is_one_scan(tmp_path, parts):
    for name, part in zip('ab', parts, strict=True):
        slices(tmp_path / name, part)
    values, _, told = read(tmp_path)
    np.testing.assert_array_equal(values[0, 0], np.arange(16))
    assert told == ['lies in 2 folders (a, b)']


def test_copies_of_slices_are_left_out(tmp_path):
    slices(tmp_path / 'a', range(8))
    slices(tmp_path / 'b', range(8))
    values, _, told = read(tmp_path)
    assert (
        values.shape[2] == 8
        and 'copies of 8 slices (b/000.dcm, b/001.dcm, b/002.dcm and' in told[1]
    )


def test_other_slices_at_the_same_places_are_another_scan(tmp_path):
    slices(tmp_path / 'a', range(8))
    for k in range(8):
        save(tmp_path / 'b' / f'{k}', single(RAMP + 9, UP[k], k, SOPInstanceUID=f'1.9.{k}'))
    one, other = find_scans(tmp_path)
    assert (one.scan_id, other.scan_id) == ('a/1.2.3', 'b/1.2.3')
    assert set(infer_patients([one, other]).values()) == {'a'}  # so never in train and validation
    with pytest.warns(ScanRemark, match=r'shares its series UID .* \(a, b\), which is no part'):
        read_volume(one, 'other')


def test_stacks_that_do_not_go_on_are_scans_of_their_folders(tmp_path):
    """Another orientation, another gap, a stack elsewhere: the remedy that errors name works."""
    slices(tmp_path / 'a', range(8))
    axes = (0, 1, 0, 0, 0, -1)
    for k in range(8):
        save(tmp_path / 'b' / f'{k}', single(RAMP, (2.0 * k, 0, 0), 100 + k, axes=axes))
        save(tmp_path / 'c' / f'{k}', single(RAMP, (0, 0, 300 + 5.0 * k), 200 + k))
    scans = find_scans(tmp_path)
    assert [scan.scan_id for scan in scans] == ['a/1.2.3', 'b/1.2.3', 'c/1.2.3']
    assert set(infer_patients(scans).values()) == {'a'}
    with collected_remarks():
        assert [read_volume(scan, 'other').voxels.shape[2] for scan in scans] != []
        assert read_volume(scans[2], 'other').spacing[2] == pytest.approx(5)


def test_phases_in_files_of_several_frames_are_scans_of_their_own(tmp_path):
    for phase in range(2):
        save(tmp_path / f'{phase}.dcm', frames(STEPS + phase, UP, instance=f'1.5.{phase}'))
    scans = find_scans(tmp_path)
    assert [scan.scan_id for scan in scans] == ['1.2.3_1', '1.2.3_2']
    with collected_remarks():
        first, second = (read_volume(scan, 'other').voxels for scan in scans)
    np.testing.assert_array_equal(second, first + 1)


def test_one_series_of_two_patients_is_told_and_stays_in_one_split(tmp_path):
    slices(tmp_path / 'a', range(8))
    slices(tmp_path / 'b', range(8, 16), PatientID='P2')
    slices(tmp_path / 'c', range(16, 24), PatientID='')
    scans = find_scans(tmp_path)
    assert len(scans) == 3 and len(set(infer_patients(scans).values())) == 1
    assert all('with a scan of another PatientID' in scan.remark for scan in scans)
    slices(tmp_path / 'b', range(8, 16), PatientID='P1')
    assert read(tmp_path)[0].shape[2] == 24  # no PatientID is nobody else's


def test_files_without_a_series_uid_are_the_series_of_their_folder(tmp_path):
    for name in 'ab':
        for k in range(8):
            made = single(RAMP + k, UP[k], k)
            del made.SeriesInstanceUID
            save(tmp_path / name / f'{k}.dcm', made)
    scans = find_scans(tmp_path)
    assert [scan.scan_id for scan in scans] == ['a/without_series_uid', 'b/without_series_uid']
    assert len(set(infer_patients(scans).values())) == 2


def test_objects_without_an_image_are_told_of_and_harm_nothing(tmp_path):
    slices(tmp_path, range(8))
    for name, sop in (
        ('rs', '1.2.840.10008.5.1.4.1.1.481.3'),
        ('rd', '1.2.840.10008.5.1.4.1.1.481.2'),
        ('sr', '1.2.840.10008.5.1.4.1.1.88.67'),
        ('pr', '1.2.840.10008.5.1.4.1.1.11.1'),
        ('ko', '1.2.840.10008.5.1.4.1.1.88.59'),
        ('reg', '1.2.840.10008.5.1.4.1.1.66.1'),
        ('seg', '1.2.840.10008.5.1.4.1.1.66.4'),
    ):
        made = dataset(RAMP, sop=sop, modality=name.upper())
        if name not in ('rd', 'seg'):
            for tag in ('Rows', 'Columns', 'PixelData', 'BitsAllocated'):
                delattr(made, tag)
        save(tmp_path / f'{name}.dcm', made)
    lines = []
    (scan,) = find_scans(tmp_path, lines.append)
    assert len(scan.files) == 8 and len(lines) == 7
    assert 'Passed over, as DICOM of another kind: RT Structure Set, 1 (rs.dcm, ...)' in lines
    assert read_volume(scan, 'other').voxels.shape == (24, 24, 8)


def test_one_odd_file_is_left_out_and_named(tmp_path):
    slices(tmp_path, range(8))
    report = dataset(RAMP, instance='1.2.3.99', sop='1.2.840.10008.5.1.4.1.1.7')
    save(tmp_path / 'dose.dcm', report)
    values, _, told = read(tmp_path)
    assert values.shape[2] == 8 and told == [
        'holds one image not of its slices, left out: dose.dcm'
    ]


@pytest.mark.parametrize('meta', [True, False])
def test_files_without_a_preamble_are_recognised(tmp_path, meta):
    slices(tmp_path, range(8))
    for path in sorted(tmp_path.iterdir()):
        raw = path.read_bytes()
        start = 132 if meta else 132 + 12 + int.from_bytes(raw[140:144], 'little')
        path.with_suffix('').write_bytes(raw[start:])
        path.unlink()
    (tmp_path / 'text').write_bytes(b'\x08\0\x05\0 is how a letter could begin, too')
    values, *_ = read(tmp_path)
    np.testing.assert_array_equal(values[0, 0], np.arange(8))


def test_nothing_of_pydicom_is_printed(tmp_path, capfd, caplog):
    slices(tmp_path, range(8), PatientName='a name')
    for path in tmp_path.iterdir():
        raw = path.read_bytes().replace(b'1.2.3.', b'1.x.3.')  # a UID with a letter in it
        path.write_bytes(raw.replace(b'a name', b'\xff\xfe\xfd\xfc\xff\xff'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        (scan,) = find_scans(tmp_path)
        assert read_volume(scan, 'other').voxels.shape == (24, 24, 8)
    assert not caplog.records and capfd.readouterr() == ('', '')
