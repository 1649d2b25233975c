"""DICOM SEG and RTSTRUCT: whose they are, and every voxel of them at its place."""

import numpy as np
import pytest
import SimpleITK as sitk
from dicoms import AXES, ENHANCED_CT, frames, patient_tags, save, single, structure_set
from oblique import rotation
from segmented import builder, metadata, prepare, read, refused

from data_prep import dicom_labels
from genesis_jax.errors import ScanError, collected_remarks
from genesis_jax.imaging.dicom_labels import match, read_label_file, read_labels
from genesis_jax.imaging.geometry import Grid
from genesis_jax.imaging.scans import find_scans, find_with_objects
from genesis_jax.imaging.seg_writing import write_seg
from genesis_jax.imaging.volumes import read_image

highdicom = pytest.importorskip('highdicom')

COUNT, ROWS, COLUMNS = 9, 24, 20
SPACING = (0.75, 0.5)  # between rows, then columns
GAP = 2.0
OBLIQUE = rotation().T[:2].ravel()
TILTED = np.array([0, 0.2, 1.0])  # mm along y for each along z
NAMES = ('liver', 'kidney')


def write_series(folder, *, axes=AXES, series='1.2.3', flipped=False, normal=None, **tags):
    """A CT of noise; returns its only scan."""
    x, y = np.reshape(axes, (2, 3))
    step = GAP * (np.cross(x, y) if normal is None else np.array(normal))
    rng = np.random.default_rng(int(series[-1]))
    for k in range(COUNT):
        pixels = rng.integers(0, 2000, (ROWS, COLUMNS)).astype(np.uint16)
        where = np.array([-10.0, 5, 30]) + step * (-k if flipped else k)
        tags = patient_tags() | tags
        made = single(
            pixels, where, k, axes=axes, spacing=SPACING, series=series, intercept=-1024, **tags
        )
        save(folder / f'{k}.dcm', made)
    (scan,) = find_scans(folder)
    return scan


def some_labels(shape=(COLUMNS, ROWS, COUNT)):
    """Class indices without any symmetry, and with an empty slice between others."""
    labels = np.zeros(shape, np.uint8)
    labels[3:9, 2:7, 1:4] = 1
    labels[5:7, 4:20, 5:8] = 2
    labels[14, 20, 7] = 1
    return labels


def read_back(scan, *paths, classes=NAMES):
    """Class indices [I, J, K] of a scan, and the remarks on them."""
    files = [read_label_file(path) for path in paths]
    with collected_remarks() as told:
        image = read_labels(scan, files, classes, 'ct')
    assert Grid.of(image).difference(Grid.of(read_image(scan, 'ct'))) is None
    return sitk.GetArrayFromImage(image).T, told


def written(scan, path, labels=None):
    image = read_image(scan, 'ct')
    labels = some_labels(image.GetSize()) if labels is None else labels
    write_seg(labels, Grid.of(image), path, scan, 'ct', NAMES)
    return labels, image


# --- SEG -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('axes', [AXES, OBLIQUE, (1, 0, 0, 0, 0, -1)], ids=['axial', 'oblique', 'coronal'])
@pytest.mark.parametrize('flipped', [False, True])
def test_what_is_written_is_read_and_lies_on_the_source(tmp_path, axes, flipped):
    scan = write_series(tmp_path / 'ct', axes=axes, flipped=flipped)
    labels, image = written(scan, tmp_path / 'seg.dcm')
    found, told = read_back(scan, tmp_path / 'seg.dcm')
    np.testing.assert_array_equal(found, labels)
    assert not told
    theirs = highdicom.seg.segread(tmp_path / 'seg.dcm')
    assert [segment.segment_label for segment in theirs.SegmentSequence] == list(NAMES)
    assert theirs.SegmentSequence[0].SegmentAlgorithmType == 'AUTOMATIC'
    assert theirs.ReferencedSeriesSequence[0].SeriesInstanceUID == '1.2.3'
    assert theirs.FrameOfReferenceUID == '1.2.9' and theirs.Manufacturer == 'genesis-jax'
    volume = theirs.get_volume(combine_segments=True)
    for index in (1, 2):
        places = np.argwhere(volume.array == index)
        world = places @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        held = [image.TransformPhysicalPointToContinuousIndex((*(p * [-1, -1, 1]),) if volume.coordinate_system.name != 'PATIENT' else tuple(p)) for p in world]
        np.testing.assert_allclose(
            sorted(map(tuple, np.rint(held))), np.argwhere(labels == index), atol=1e-3
        )
    itk = sitk.ReadImage(str(tmp_path / 'seg.dcm'))
    assert sitk.GetArrayFromImage(itk).sum() in (np.count_nonzero(labels), 255 * np.count_nonzero(labels))


def test_a_tilted_series(tmp_path):
    """It is read on an upright grid; its SEG lies on its own slices."""
    scan = write_series(tmp_path / 'ct', normal=TILTED)
    labels, image = written(scan, tmp_path / 'seg.dcm')
    assert image.GetSize()[1] > ROWS
    theirs = highdicom.seg.segread(tmp_path / 'seg.dcm')
    for item in theirs.PerFrameFunctionalGroupsSequence:
        x, y, z = item.PlanePositionSequence[0].ImagePositionPatient
        assert y == pytest.approx(5 + 0.2 * (z - 30))
    found, told = read_back(scan, tmp_path / 'seg.dcm')
    assert 'tilted' in told[0]
    assert np.count_nonzero(found != labels) < 0.1 * np.count_nonzero(labels)
