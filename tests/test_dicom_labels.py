"""DICOM SEG and RTSTRUCT: whose they are, and every voxel of them at its place."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicoms import AXES, ENHANCED_CT, frames, patient_tags, save, single, structure_set
from hospital import (
    COLUMNS,
    COUNT,
    GAP,
    ROWS,
    SPACING,
    box,
    drawn,
    placed,
    some_labels,
    write_series,
)
from oblique import rotation
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from genesis_jax.errors import ScanError, collected_remarks
from genesis_jax.imaging.dicom_labels import read_label_file, read_labels
from genesis_jax.imaging.frames import quiet
from genesis_jax.imaging.geometry import Grid
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.seg_writing import check_series, write_seg

highdicom = pytest.importorskip('highdicom')

OBLIQUE = rotation().T[:2].ravel()
TILTED = np.array([0, 0.2, 1.0])  # mm along y for each along z
NAMES = ('liver', 'kidney')


def read_back(scan, *paths, classes=NAMES):
    """Class indices [I, J, K] of a scan, and the remarks on them."""
    files = [read_label_file(path) for path in paths]
    with collected_remarks() as told:
        image = read_labels(scan, files, classes, 'ct')
    assert Grid.of(image).difference(placed(scan)[0]) is None
    return sitk.GetArrayFromImage(image).T, told


def written(scan, path, labels=None):
    grid, _ = placed(scan)
    labels = some_labels(grid.size) if labels is None else labels
    with collected_remarks() as told:
        write_seg(labels, grid, path, scan, 'ct', NAMES)
    return labels, grid, told


# --- SEG -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('flipped', [False, True])
@pytest.mark.parametrize(
    'axes', [AXES, OBLIQUE, (1, 0, 0, 0, 0, -1)], ids=['axial', 'oblique', 'coronal']
)
def test_what_is_written_is_read_and_lies_on_the_source(tmp_path, axes, flipped):
    scan = write_series(tmp_path / 'ct', axes=axes, flipped=flipped)
    labels, grid, _ = written(scan, tmp_path / 'seg.dcm')
    found, told = read_back(scan, tmp_path / 'seg.dcm')
    np.testing.assert_array_equal(found, labels)
    assert not told
    theirs = highdicom.seg.segread(tmp_path / 'seg.dcm')
    assert [segment.segment_label for segment in theirs.SegmentSequence] == list(NAMES)
    assert theirs.SegmentSequence[0].SegmentAlgorithmType == 'AUTOMATIC'
    assert theirs.ReferencedSeriesSequence[0].SeriesInstanceUID == '1.2.3'
    assert theirs.FrameOfReferenceUID == '1.2.9' and theirs.Manufacturer == 'genesis-jax'
    volume = theirs.get_volume(combine_segments=True)
    to_index = np.linalg.inv(grid.affine) @ volume.affine
    for index in (1, 2):
        held = np.argwhere(volume.array == index) @ to_index[:3, :3].T + to_index[:3, 3]
        expected = np.argwhere(labels == index)
        np.testing.assert_allclose(held[np.lexsort(held.round().T[::-1])], expected, atol=1e-3)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / 'seg.dcm')))
    whole = itk.ravel()[: itk.size // 8 * 8]  # ITK does not read bits that fill no byte
    assert np.count_nonzero(whole) == np.count_nonzero(labels)


def test_a_tilted_series_has_its_labels_on_its_own_slices(tmp_path):
    scan = write_series(tmp_path / 'ct', normal=TILTED)
    labels, grid, _ = written(scan, tmp_path / 'seg.dcm')
    assert grid.size[1] > ROWS
    theirs = highdicom.seg.segread(tmp_path / 'seg.dcm')
    for item in theirs.PerFrameFunctionalGroupsSequence:
        _, y, z = item.PlanePositionSequence[0].ImagePositionPatient
        assert y == pytest.approx(5 + 0.2 * (z - 30))
    found, told = read_back(scan, tmp_path / 'seg.dcm')
    assert 'tilted by 11.3 degrees' in told[0]
    # There and back, each time to the nearest voxel.
    assert np.count_nonzero(found != labels) < 0.15 * np.count_nonzero(labels)
    centres = [np.argwhere(one == 1).mean(axis=0) for one in (found, labels)]
    np.testing.assert_allclose(*centres, atol=0.3)


def make_seg(path, scan, masks, kind='BINARY', change=lambda made: made, **options):
    """A SEG by highdicom alone: masks bool or float [K, J, I] by name, on the scan's slices."""
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    segments = [
        SegmentDescription(number, name, codes.SCT.Organ, codes.SCT.Liver, 'MANUAL')
        for number, name in enumerate(masks, start=1)
    ]
    sources = [pydicom.dcmread(path) for path in scan.files]
    for source in sources:
        for name in ('PatientName', 'PatientBirthDate', 'PatientSex', 'StudyDate', 'StudyTime'):
            setattr(source, name, '')
        source.StudyID = source.AccessionNumber = source.ReferringPhysicianName = ''
        source.SliceThickness = GAP
    made = Segmentation(
        sources, np.stack(list(masks.values()), -1), kind, segments, highdicom.UID(), 1,
        highdicom.UID(), 1, 'maker', 'model', '1', '0', **options
    )  # fmt: skip
    change(made)
    return save(path, made)


def shuffled(made):
    """The same file with its frames in another order."""
    frames = list(made.PerFrameFunctionalGroupsSequence)
    order = np.random.default_rng(0).permutation(len(frames))
    pixels = made.pixel_array.reshape(len(frames), ROWS, COLUMNS)[order]
    made.PerFrameFunctionalGroupsSequence = Sequence(frames[k] for k in order)
    made.PixelData = pydicom.pixels.pack_bits(pixels, pad=True)


def unspaced(made):
    """The same file without what says how far its slices are apart."""
    shared = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for name in ('SpacingBetweenSlices', 'SliceThickness'):
        if name in shared:
            delattr(shared, name)


@pytest.mark.parametrize('change', [lambda made: made, shuffled, unspaced])
def test_segments_in_any_case_with_frames_missing_and_in_any_order(tmp_path, change):
    scan = write_series(tmp_path / 'ct')
    labels = some_labels()
    masks = {' Liver': labels.T == 1, 'KIDNEY': labels.T == 2, 'other': labels.T == 0}
    found, told = read_back(scan, make_seg(tmp_path / 'seg.dcm', scan, masks, change=change))
    np.testing.assert_array_equal(found, labels)
    only = {'kidney': labels.T == 2}
    found, told = read_back(scan, make_seg(tmp_path / 'seg.dcm', scan, only, change=change))
    np.testing.assert_array_equal(found, np.where(labels == 2, 2, 0))
    assert told == ["has no label 'liver', whose voxels count as background"]
    single_frame = {'kidney': (labels.T == 2) & (np.arange(COUNT) == 6)[:, None, None]}
    found, _ = read_back(scan, make_seg(tmp_path / 'seg.dcm', scan, single_frame, change=change))
    np.testing.assert_array_equal(found.T, 2 * single_frame['kidney'])


def test_a_file_that_ends_early_is_refused(tmp_path):
    scan = write_series(tmp_path / 'ct')

    def cut(made):
        made.PixelData = made.PixelData[:-20]

    masks = {'liver': some_labels().T == 1}
    with pytest.raises(ScanError, match='the labels seg.dcm, whose pixels cannot be decoded'):
        read_back(scan, make_seg(tmp_path / 'seg.dcm', scan, masks, change=cut), classes=('liver',))


@pytest.mark.parametrize('syntax', [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_transfer_syntaxes(tmp_path, syntax):
    scan = write_series(tmp_path / 'ct')

    def recode(made):
        made.file_meta.TransferSyntaxUID = syntax

    path = make_seg(tmp_path / 'seg.dcm', scan, {'liver': some_labels().T == 1}, change=recode)
    found, _ = read_back(scan, path, classes=('liver',))
    np.testing.assert_array_equal(found, some_labels() == 1)


def test_fractions_from_a_half_on(tmp_path):
    scan = write_series(tmp_path / 'ct')
    share = np.zeros((COUNT, ROWS, COLUMNS), np.float32)
    share[2, 3:6, 4] = 0.4, 0.5, 0.9
    path = make_seg(
        tmp_path / 'seg.dcm', scan, {'liver': share}, 'FRACTIONAL', max_fractional_value=200
    )
    found, _ = read_back(scan, path, classes=('liver',))
    np.testing.assert_array_equal(np.argwhere(found), [[4, 4, 2], [4, 5, 2]])


def test_a_label_map(tmp_path):
    scan = write_series(tmp_path / 'ct')
    labels = some_labels()
    masks = {'kidney': labels.T == 2, 'liver': labels.T == 1}
    found, told = read_back(scan, make_seg(tmp_path / 'seg.dcm', scan, masks, 'LABELMAP'))
    np.testing.assert_array_equal(found, labels)
    assert not told


def test_of_two_classes_the_last_wins(tmp_path):
    scan = write_series(tmp_path / 'ct')
    masks = {name: np.zeros((COUNT, ROWS, COLUMNS), bool) for name in NAMES}
    masks['liver'][2, 3:9, 4:8] = masks['kidney'][2, 7:12, 4:8] = True
    path = make_seg(tmp_path / 'seg.dcm', scan, masks)
    found, told = read_back(scan, path)
    assert (np.count_nonzero(found == 1), np.count_nonzero(found == 2)) == (16, 20)
    assert told == [
        "has voxels of two classes, which count as of the last ('liver' and 'kidney' 8)"
    ]
    found, _ = read_back(scan, path, classes=NAMES[::-1])
    assert (np.count_nonzero(found == 2), np.count_nonzero(found == 1)) == (24, 12)


def test_another_grid_is_resampled_by_its_own_place(tmp_path):
    """A SEG of a series of half the slices, turned about in its planes."""
    scan = write_series(tmp_path / 'ct')
    coarse = tmp_path / 'coarse'
    for k in range(5):  # 4 mm apart, rows running to the front
        where = (-10 + SPACING[1] * (COLUMNS - 1), 5 + SPACING[0] * (ROWS - 1), 30 + 4 * k)
        pixels = np.zeros((ROWS, COLUMNS), np.uint16)
        axes, tags = (-1, 0, 0, 0, -1, 0), patient_tags()
        made = single(pixels, where, k, axes=axes, spacing=SPACING, series='1.2.4', **tags)
        save(coarse / f'{k}.dcm', made)
    (other,) = find_scans(coarse)
    mask = np.zeros((5, ROWS, COLUMNS), bool)
    mask[2, 4:7, 10:15] = True

    def spaced(made):
        shared = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        shared.SpacingBetweenSlices = 4.0

    path = make_seg(tmp_path / 'seg.dcm', other, {'liver': mask}, change=spaced)
    found, _ = read_back(scan, path, classes=('liver',))
    x, y, z = (sorted(set(axis)) for axis in np.argwhere(found).T.tolist())
    assert x == list(range(COLUMNS - 15, COLUMNS - 10)) and y == list(range(ROWS - 7, ROWS - 4))
    assert 4 in z and len(z) == 2  # a slice of 4 mm on two of 2 mm


def test_labels_beside_the_scan_are_refused_and_beyond_it_told(tmp_path):
    scan = write_series(tmp_path / 'ct')
    masks = {'liver': np.zeros((COUNT, ROWS, COLUMNS), bool)}
    masks['liver'][:3, 2:5, 2:5] = True

    def moved(mm):
        def change(made):
            for item in made.PerFrameFunctionalGroupsSequence:
                place = item.PlanePositionSequence[0]
                x, y, z = place.ImagePositionPatient
                place.ImagePositionPatient = [x, y, z - mm]

        return change

    path = make_seg(tmp_path / 'seg.dcm', scan, masks, change=moved(GAP))
    found, told = read_back(scan, path, classes=('liver',))
    assert np.count_nonzero(found) == 2 * 9 and 'labels that reach beyond it' in told[0]
    path = make_seg(tmp_path / 'seg.dcm', scan, masks, change=moved(100))
    with pytest.raises(ScanError, match='has labels that lie beside it'):
        read_back(scan, path, classes=('liver',))
    masks = {'liver': masks['liver'], 'kidney': masks['liver'][::-1]}
    path = make_seg(tmp_path / 'seg.dcm', scan, masks, change=moved(6 * GAP))
    found, told = read_back(scan, path)
    assert np.count_nonzero(found == 2) == np.count_nonzero(found) == 3 * 9
    assert any("(seg.dcm), so that 'liver' is background" in text for text in told)

    def elsewhere(made):
        made.FrameOfReferenceUID = '1.2.77'

    path = make_seg(tmp_path / 'seg.dcm', scan, masks, change=elsewhere)
    with pytest.raises(ScanError, match='another frame of reference'):
        read_back(scan, path, classes=('liver',))


def test_many_frames_in_one_file(tmp_path):
    """Their frames in no order; the SEG's are those of the file."""
    heights = [2, 0, 1, 4, 3, 5, 8, 6, 7]
    pixels = np.arange(COUNT * ROWS * COLUMNS).reshape(COUNT, ROWS, COLUMNS).astype(np.uint16)
    positions = [(0, 0, 3.0 * k) for k in heights]
    made = frames(pixels, positions, sop=ENHANCED_CT, **patient_tags())
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = '1.2.3.1'
    for item in made.PerFrameFunctionalGroupsSequence:
        item.PixelMeasuresSequence[0].SliceThickness = 3
    save(tmp_path / 'ct' / 'all.dcm', made)
    (scan,) = find_scans(tmp_path / 'ct')
    labels = some_labels()
    written(scan, tmp_path / 'seg.dcm', labels)
    found, told = read_back(scan, tmp_path / 'seg.dcm')
    np.testing.assert_array_equal(found, labels)


def test_nothing_found_is_an_empty_file_and_told(tmp_path):
    scan = write_series(tmp_path / 'ct')
    *_, told = written(scan, tmp_path / 'seg.dcm', np.zeros((COLUMNS, ROWS, COUNT), np.uint8))
    assert told == ['has no voxel of any class; its segments are empty']
    found, _ = read_back(scan, tmp_path / 'seg.dcm')
    assert not found.any()


def test_a_series_without_its_study_is_refused(tmp_path):
    scan = write_series(tmp_path / 'ct', StudyInstanceUID='')
    with pytest.raises(ScanError, match='has no StudyInstanceUID'):
        written(scan, tmp_path / 'seg.dcm')
    assert not list(tmp_path.glob('*seg*'))


def test_what_no_seg_can_refer_to_is_known_before_a_prediction(tmp_path):
    for number, tag in enumerate(('StudyInstanceUID', 'FrameOfReferenceUID')):
        scan = write_series(tmp_path / str(number), **{tag: ''})
        with pytest.raises(ScanError, match=f'has no {tag}'):
            check_series(scan, 'ct', NAMES)
    scan = write_series(tmp_path / 'alike', SOPInstanceUID='1.2.3.4')
    with pytest.raises(ScanError, match='has slices of the same SOPInstanceUID'):
        check_series(scan, 'ct', NAMES)
    check_series(write_series(tmp_path / 'good', PatientName='ANON 1'), 'ct', NAMES)


def test_what_a_header_may_not_say_is_left_empty(tmp_path):
    bad = {'PatientBirthDate': '31.12.1950', 'PatientSex': 'MALE', 'StudyTime': '25:99'}
    with quiet():
        scan = write_series(tmp_path / 'ct', StudyDate='20240131', **bad)
    labels, _, told = written(scan, tmp_path / 'seg.dcm')
    assert told == [
        f'has a {name} that is no valid one, which is left empty in the DICOM SEG' for name in bad
    ]
    made = pydicom.dcmread(tmp_path / 'seg.dcm')
    assert not made.PatientBirthDate and not made.StudyTime and made.StudyDate == '20240131'
    np.testing.assert_array_equal(read_back(scan, tmp_path / 'seg.dcm')[0], labels)


# --- RTSTRUCT ------------------------------------------------------------------------------------


def outlined(scan, path, rois, classes=('liver',), **options):
    save(path, structure_set(rois, '1.2.3', **options))
    return read_back(scan, path, classes=classes)


@pytest.mark.parametrize('flipped', [False, True])
@pytest.mark.parametrize('axes', [AXES, OBLIQUE])
def test_a_box_holds_the_voxels_whose_centres_are_inside(tmp_path, axes, flipped):
    scan = write_series(tmp_path / 'ct', axes=axes, flipped=flipped)
    grid, _ = placed(scan)
    contours = [drawn(grid, box(2.6, 8.4, 4.5, 10.2), place) for place in (3, 4, 5)]
    found, told = outlined(scan, tmp_path / 'rt.dcm', {'LIVER ': contours})
    expected = np.zeros_like(found)
    expected[3:9, 5:11, 3:6] = 1
    np.testing.assert_array_equal(found, expected)
    assert not told


def test_polygons_are_exact(tmp_path):
    """Against a test of every centre by itself."""
    scan = write_series(tmp_path / 'ct')
    grid, _ = placed(scan)
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radius = rng.uniform(3, 9, (40, 1))
    corners = (10.03, 11.57) + radius * np.stack([np.cos(angles), np.sin(angles)], -1)
    found, _ = outlined(scan, tmp_path / 'rt.dcm', {'liver': [drawn(grid, corners, 4)]})
    for x, y in np.ndindex(COLUMNS, ROWS):
        ends = zip(corners, np.roll(corners, -1, axis=0), strict=True)
        crossings = sum(
            (a[1] > y) != (b[1] > y) and x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
            for a, b in ends
        )
        assert found[x, y, 4] == crossings % 2


def test_a_ring_has_a_hole_drawn_either_way(tmp_path):
    scan = write_series(tmp_path / 'ct')
    grid, _ = placed(scan)
    outer, inner = box(1.5, 15.5, 2.5, 18.5), box(5.5, 9.5, 6.5, 12.5)
    expected = np.zeros(grid.size, np.uint8)
    expected[2:16, 3:19, 2] = 1
    expected[6:10, 7:13, 2] = 0
    # Out along a slit, around the hole, and back along it.
    keyhole = [*outer, outer[0], inner[0], *inner[:0:-1], inner[0], outer[0]]
    for contours in ([outer, inner], [keyhole], [outer, inner, outer]):
        rois = {'liver': [drawn(grid, contour, 2) for contour in contours]}
        found, _ = outlined(scan, tmp_path / 'rt.dcm', rois)
        np.testing.assert_array_equal(found, expected)


def test_contours_through_centres_share_no_voxel(tmp_path):
    scan = write_series(tmp_path / 'ct')
    grid, _ = placed(scan)
    rois = {
        'liver': [drawn(grid, box(2, 8, 3, 9), 1)],
        'kidney': [drawn(grid, box(8, 12, 3, 9), 1)],
    }
    found, told = outlined(scan, tmp_path / 'rt.dcm', rois, NAMES)
    assert [np.count_nonzero(found == index) for index in (1, 2)] == [36, 24] and not told


def test_a_tilted_series_is_filled_on_its_own_slices(tmp_path):
    scan = write_series(tmp_path / 'ct', normal=TILTED)
    grid, _ = placed(scan)
    contours = []
    for place in range(COUNT):  # x, y in mm, moving with the slices
        x, y, z = np.array([-10.0, 5, 30]) + GAP * TILTED * place
        contours.append([(x + a, y + b, z) for a, b in box(1.1, 6, 3.4, 9.4)])
    found, _ = outlined(scan, tmp_path / 'rt.dcm', {'liver': contours})
    for place in range(COUNT):
        centre = np.argwhere(found[:, :, place]).mean(axis=0)
        world = grid.affine @ [*centre, place, 1]
        expected = np.array([-10 + 3.5, 5 + 6.4, 30]) + GAP * TILTED * place
        np.testing.assert_allclose(world[:3], expected, atol=0.5)


def test_contours_that_are_off_are_told(tmp_path):
    scan = write_series(tmp_path / 'ct')
    grid, _ = placed(scan)
    corners = box(2.5, 8.5, 3.5, 9.5)

    def remarks(*places, **roi):
        contours = [drawn(grid, corners, place) for place in places]
        found, told = outlined(
            scan, tmp_path / 'rt.dcm', {'liver': [*contours, *roi.get('more', [])]}
        )
        return sorted({z for _, _, z in np.argwhere(found).tolist()}), told

    assert remarks(1, 2, 3.3) == (
        [1, 2, 3],
        ["has contours of 'liver' in a plane between its slices, now on these (rt.dcm)"],
    )
    assert remarks(1, 2, 2.4) == (
        [1, 2],
        ["has contours of 'liver' in a plane between others, left out (rt.dcm)"],
    )
    held, told = remarks(-3, 7, 8, 8.4, 20)
    assert held == [7, 8] and "2 contours of 'liver' that are beyond its slices" in told[0]
    held, told = remarks(2, 4, 6, 8)
    assert held == [2, 4, 6, 8] and "'liver' on one of 2 slices only" in told[0]
    upright = drawn(grid, corners, 2)
    upright[2:, 2] += 5
    point = ('POINT', upright[:1])
    line = ('OPEN_PLANAR', drawn(grid, corners, 6))
    held, told = remarks(1, 2, more=[upright, point, line])
    assert held == [1, 2] and len(told) == 2
    assert "2 contours of 'liver' that are not closed" in told[0]
    assert told[1].startswith("has a contour of 'liver' that is not parallel to its slices, which")
    with pytest.raises(ScanError, match='none of the classes liver; it has none that can be fill'):
        remarks(more=[line])
    with pytest.raises(ScanError, match=r"contours of 'liver' \(rt.dcm\); check that the labels"):
        remarks(-3, 20)
    assert remarks(2.5, 3.5, 4.5, 5.5)[0] == [3, 4, 5, 6]


def test_a_class_wholly_beyond_the_slices_is_background(tmp_path):
    scan = write_series(tmp_path / 'ct')
    grid, _ = placed(scan)
    corners = box(2.5, 8.5, 3.5, 9.5)
    rois = {'liver': [drawn(grid, corners, 3)], 'kidney': [drawn(grid, corners, 20)]}
    found, told = outlined(scan, tmp_path / 'rt.dcm', rois, NAMES)
    assert np.count_nonzero(found) == np.count_nonzero(found[3:9, 4:10, 3] == 1) == 36
    assert told == [
        "has a contour of 'kidney' that is beyond its slices, which is left out (rt.dcm)",
        "has no voxel inside the closed contours of 'kidney' (rt.dcm), so that 'kidney' is "
        'background',
    ]


def test_a_contour_that_is_no_list_of_points_is_refused(tmp_path):
    scan = write_series(tmp_path / 'ct')
    grid, _ = placed(scan)
    made = structure_set({'liver': [drawn(grid, box(2, 8, 3, 9), 2)]}, '1.2.3')
    item = made.ROIContourSequence[0].ContourSequence[0]
    item.ContourData = item.ContourData[:-1]
    save(tmp_path / 'rt.dcm', made)
    with pytest.raises(ScanError, match=r"a contour of 'liver' that is no list of points \(rt.dcm"):
        read_back(scan, tmp_path / 'rt.dcm', classes=('liver',))
