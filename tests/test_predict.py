"""Predictions on whole scans come back in the scans' own geometry, whatever that is."""

import os

import numpy as np
import pytest
import SimpleITK as sitk
from oblique import CARD, DIRECTIONS, assert_same_geometry, make_image, read_table, write
from scanned import make_voxels, write_series

from genesis_jax.card import Card
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.geometry import read_placed, restore
from genesis_jax.inference.inputs import find_inputs
from genesis_jax.inference.scans import Segmenter, segment


def bright(batch):
    """A network that sees one voxel: the probability of bone is the normalised intensity."""
    return batch


def run_bright(source, output, **card):
    segmenter = Segmenter(bright, Card.from_dict(CARD | card), overlap=0.5, batch_size=4)
    return segment(find_inputs(source, CARD['channels'], output), segmenter, output)


@pytest.mark.parametrize('direction', DIRECTIONS)
@pytest.mark.parametrize('suffix', ['.nii.gz', '.nii', '.mha', '.mhd', '.nrrd', '.nhdr'])
def test_a_segmentation_lies_where_its_scan_does(tmp_path, direction, suffix):
    image = make_image(direction)
    source = write(image, tmp_path / 'in' / f'scan{suffix}')
    outcome = run_bright(source, tmp_path / 'out')
    assert outcome.scans == 1 and not outcome.skipped
    written = {'.nii': '.nii.gz', '.nhdr': '.nrrd'}.get(suffix, suffix)
    found = sitk.ReadImage(str(tmp_path / 'out' / f'scan{written}'))
    assert found.GetPixelID() == sitk.sitkUInt8
    assert_same_geometry(found, sitk.ReadImage(str(source)))
    expected = sitk.GetArrayFromImage(image) > 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)
    (row,) = read_table(tmp_path / 'out' / 'summary.csv')
    assert row['scan'] == 'scan'
    assert float(row['bone_ml']) == pytest.approx(expected.sum() * 0.7 * 0.9 * 2.3 / 1000, abs=1e-3)


@pytest.mark.parametrize('direction', DIRECTIONS)
@pytest.mark.parametrize('spacing', [(1.5, 1.5, 1.5), (0.5, 0.6, 3.1)])
def test_a_resampled_scan_comes_back_to_its_own_grid(tmp_path, direction, spacing):
    image = make_image(direction, blobs=True)
    source = write(image, tmp_path / 'in' / 'scan.mha')
    outcome = run_bright(source, tmp_path / 'out', spacing=list(spacing))
    assert outcome.scans == 1, outcome.skipped
    found = sitk.ReadImage(str(tmp_path / 'out' / 'scan.mha'))
    assert_same_geometry(found, image)
    found, expected = sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(image) > 0
    assert 0.2 < expected.mean() < 0.8
    assert (found == expected).mean() > 0.95  # a shift by one voxel leaves less


def test_the_border_beyond_the_resampled_grid_is_not_lost(tmp_path):
    """10 voxels of 1 mm become 3 of 3 mm, whose last centre is 3 mm before the scan's."""
    image = sitk.GetImageFromArray(np.full((10, 10, 10), 500, np.int16))
    source = write(image, tmp_path / 'in' / 'scan.nii.gz')
    run_bright(source, tmp_path / 'out', spacing=[3, 3, 3])
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / 'out' / 'scan.nii.gz'))).all()


def test_turning_back_equals_resampling_back(tmp_path):
    source = write(make_image('permuted and oblique'), tmp_path / 'scan.mha')
    (case,) = find_inputs(source, ['CT'], tmp_path / 'out')
    scan = read_placed(case.channels, ['CT'], 'ct')
    assert scan.prepared.size != scan.stored.size
    values = scan.voxels[..., 0].astype(np.float32)
    reference = scan.prepared.image(np.ascontiguousarray(values))
    resampled = sitk.Resample(reference, sitk.ReadImage(str(source)), sitk.Transform())
    turned = restore(values, scan.prepared, scan.stored)
    np.testing.assert_allclose(turned, sitk.GetArrayFromImage(resampled).T, atol=0.1)


def test_of_several_classes_the_likeliest_wins_and_probabilities_are_kept(tmp_path):
    image = make_image()
    source = write(image, tmp_path / 'in' / 'scan.nrrd')
    classes = ['background', 'soft tissue', 'bone']

    def three(batch):
        x = batch[..., 0]
        return np.stack([1 - x, np.full_like(x, 0.6), x], -1)

    card = CARD | {'classes': classes, 'outputs': 3}
    segmenter = Segmenter(three, Card.from_dict(card), 0.5, 4, keep_probabilities=True)
    outcome = segment(find_inputs(source, ['CT'], tmp_path / 'out'), segmenter, tmp_path / 'out')
    names = {'scan.nrrd', 'summary.csv', 'scan_p0_background.nrrd', 'scan_p1_soft_tissue.nrrd'}
    assert set(os.listdir(tmp_path / 'out')) == names | {'scan_p2_bone.nrrd'}
    x = (sitk.GetArrayFromImage(image) + 1000) / np.float32(2000)
    expected = np.argmax(three(x[..., None]), -1)
    read = {n: sitk.ReadImage(str(tmp_path / 'out' / n)) for n in names if n != 'summary.csv'}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read['scan.nrrd']), expected)
    background = read['scan_p0_background.nrrd']
    assert_same_geometry(background, image)
    np.testing.assert_allclose(sitk.GetArrayFromImage(background), 1 - x, atol=1e-6)
    assert set(outcome.rows[0]) == {'scan', 'seconds', 'soft tissue_ml', 'bone_ml'}


def test_the_window_of_the_card_is_used(tmp_path):
    source = write(make_image(), tmp_path / 'in' / 'scan.mha')
    run_bright(source, tmp_path / 'out', window=[-200, 800])
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / 'out' / 'scan.mha')))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(source))) > 300
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('full_range', [True, False])
def test_the_window_of_mri_is_found_as_for_the_training(tmp_path, full_range):
    image = make_image()
    image[3, 3, 3] = 30000  # which the robust range leaves out
    source = write(image, tmp_path / 'in' / 'scan.mha')
    run_bright(source, tmp_path / 'out', modality='mri', full_range=full_range)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / 'out' / 'scan.mha')))
    assert found[3, 3, 3] == 1
    assert (found.sum() == 1) == full_range


def test_channels_come_from_numbered_files_or_from_one_4d_file(tmp_path):
    first, second = make_image(), make_image(blobs=True)
    write(first, tmp_path / 'in' / 'a_0000.nii.gz')
    write(second, tmp_path / 'in' / 'a_0001.nii.gz')
    write(sitk.JoinSeries(first, second), tmp_path / 'in' / 'b.nii.gz')
    write(first, tmp_path / 'in' / 'lone_0000.nii.gz')
    write(first, tmp_path / 'in' / 'single.nii.gz')
    write(first, tmp_path / 'in' / 'other_0000.nii.gz')
    write(make_image('straight'), tmp_path / 'in' / 'other_0001.nii.gz')
    seen = {}

    def predict_second(batch):
        seen['channels'] = batch.shape[-1]
        return batch[..., 1:]

    names = ['FLAIR', 'T1']
    card = CARD | {'channels': names, 'in_channels': 2, 'modality': 'mri'}
    inputs = find_inputs(tmp_path / 'in', names, tmp_path / 'out')
    outcome = segment(
        inputs, Segmenter(predict_second, Card.from_dict(card), 0.5, 4), tmp_path / 'out'
    )
    assert seen['channels'] == 2 and outcome.scans == 2
    a, b = (sitk.ReadImage(str(tmp_path / 'out' / f'{name}.nii.gz')) for name in 'ab')
    np.testing.assert_array_equal(sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b))
    assert 'CASE_0000 (FLAIR), CASE_0001 (T1)' in outcome.skipped['lone_*']
    assert 'CASE_0000 (FLAIR), CASE_0001 (T1)' in outcome.skipped['single.nii.gz']
    assert 'different geometry' in outcome.skipped['other_*']


def test_a_dicom_folder_becomes_one_nifti_named_after_it(tmp_path):
    write_series(tmp_path / 'patient', make_voxels())
    outcome = run_bright(tmp_path / 'patient', tmp_path / 'out')
    assert outcome.scans == 1, outcome.skipped
    found = sitk.ReadImage(str(tmp_path / 'out' / 'patient.nii.gz'))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found).T, make_voxels() > 0)
    np.testing.assert_allclose(found.GetOrigin(), (-20, -30, 0))


def test_results_of_an_earlier_run_are_no_input(tmp_path):
    write(make_image(), tmp_path / 'scan.nii.gz')
    write(make_image(), tmp_path / 'out' / 'scan.nii.gz')
    (case,) = find_inputs(tmp_path, ['CT'], tmp_path / 'out')
    assert case.scan_id == 'scan'
    with pytest.raises(PrepareError, match='holds no scan'):
        find_inputs(tmp_path / 'out', ['CT'], tmp_path / 'out')


@pytest.mark.parametrize(
    ('scan', 'label'),
    [
        ('Batch 1/volume-3', 'Batch 1/segmentation-3'),
        ('imagesTr/case_0000', 'labelsTr/case'),
        ('HGG/a/a_flair', 'HGG/a/a_seg'),
        ('VSD.Brain.XX.O.MR_Flair.5/VSD.Brain.XX.O.MR_Flair.5', 'VSD.Brain_3more.XX.O.OT.6/VSD.6'),
        ('ct', 'ct.seg'),
        ('t1_masked', 't1_mask'),
        ('a/label', 'a/b-label'),
        ('subset0/1.2', 'seg-lungs-LUNA16/1.2'),
        ('masked/a', 'masks/a'),
        ('segment', 'labelsTs/deep/er'),
        ('case_0/imaging', 'case_0/segmentation'),
        ('imagesVa/a', 'labelsVa/a'),
        ('s1/ct', 's1/segmentations/liver'),
        ('img/a', 'label/a'),
        ('p_frame01', 'p_frame01_gt'),
    ],
)
def test_label_files_are_no_input(tmp_path, capsys, scan, label):
    for name in (scan, label):
        write(make_image(), tmp_path / 'in' / f'{name}.nii.gz')
    inputs = find_inputs(tmp_path / 'in', ['CT'], tmp_path / 'out')
    assert [case.scan_id for case in inputs] == [scan]
    assert f'labels by their names: 1 of 2 files ({label}.nii.gz)' in capsys.readouterr().out
    (alone,) = find_inputs(tmp_path / 'in' / f'{label}.nii.gz', ['CT'], tmp_path / 'out')
    assert not alone.reason and not capsys.readouterr().out
    (tmp_path / 'in' / f'{scan}.nii.gz').unlink()
    with pytest.raises(PrepareError, match='files that are labels by their names'):
        find_inputs(tmp_path / 'in', ['CT'], tmp_path / 'out')


def test_channels_given_to_a_network_of_one_are_told(tmp_path, capsys):
    for name in ('a_0000', 'b_0001', 'b_0002'):
        write(make_image(), tmp_path / f'{name}.nii.gz')
    assert len(find_inputs(tmp_path, ['CT'], tmp_path / 'out')) == 3
    assert not capsys.readouterr().out
    write(make_image(), tmp_path / 'a_0001.nii.gz')
    assert len(find_inputs(tmp_path, ['CT'], tmp_path / 'out')) == 4
    assert 'a_0000 and a_0001 look like channels of one scan' in capsys.readouterr().out


def test_what_is_no_scan_is_told_from_its_name(tmp_path):
    (tmp_path / 'README.md').write_text('# Scans')
    with pytest.raises(PrepareError, match=r'README.md is no scan; expected .nii'):
        find_inputs(tmp_path / 'README.md', ['CT'], tmp_path / 'out')
    (tmp_path / 'a.dcm').write_text('# Scans')
    outcome = run_bright(tmp_path / 'a.dcm', tmp_path / 'out')
    assert outcome.skipped == {'a.dcm': 'is not a readable DICOM image'}


def test_an_interrupted_write_leaves_nothing_that_looks_done(tmp_path, monkeypatch):
    source = write(make_image(), tmp_path / 'in' / 'scan.mhd')

    def interrupted(image, name, **_):
        with open(name, 'w') as file:
            file.write('half')
        raise KeyboardInterrupt

    monkeypatch.setattr('genesis_jax.imaging.geometry.sitk.WriteImage', interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_bright(source, tmp_path / 'out')
    assert list((tmp_path / 'out').rglob('*')) == []
