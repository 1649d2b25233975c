"""Predictions on whole scans come back in the scans' own geometry, whatever that is."""

import csv
import gc
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.geometry import read_placed, restore
from data_prep.inputs import find_inputs
from data_prep.prepare import PrepareError
from genesis_jax import checkpoints, parallel, predict
from genesis_jax.cards import load_model
from genesis_jax.models import from_card
from genesis_jax.outcome import Outcome
from genesis_jax.predict_scans import Segmenter, segment

WINDOW = (16, 16, 16)
CARD = {
    'network': 'unet3d',
    'task': 'segmentation',
    'classes': ['background', 'bone'],
    'outputs': 1,
    'in_channels': 1,
    'channels': ['CT'],
    'cube_shape': [*WINDOW, 1],
    'modality': 'ct',
    'spacing': None,
    'window': None,
    'config': {'model': {'width': 2}, 'overlap': 0.25},
}


@pytest.fixture(autouse=True)
def _no_start(monkeypatch):
    monkeypatch.setattr(parallel, 'start', lambda: None)  # JAX runs already


def rotation():
    """An oblique direction: the axes turned by 25, 17 and 40 degrees one after the other."""
    turned = np.eye(3)
    for axis, degrees in enumerate((25, 17, 40)):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        step = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
        turned = turned @ step
    return turned


DIRECTIONS = {
    'oblique': rotation(),
    'permuted': np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], float),
    'permuted and oblique': rotation() @ np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]], float),
    'straight': np.eye(3),
}


def make_image(direction='oblique', size=(19, 23, 13), spacing=(0.7, 0.9, 2.3), blobs=False):
    """HU without any symmetry; `blobs`: smooth, else noise."""
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, size[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    if blobs:
        image = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), 3.0)
        image = sitk.Cast((image - 7) * 60, sitk.sitkInt16)
    image.SetOrigin((-31.5, 12.25, 107.0))
    image.SetDirection(DIRECTIONS[direction].ravel().tolist())
    return image


def write(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def read_table(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def assert_same_geometry(found, expected):
    assert found.GetSize() == expected.GetSize()
    np.testing.assert_allclose(found.GetSpacing(), expected.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(found.GetOrigin(), expected.GetOrigin(), rtol=1e-5)
    np.testing.assert_allclose(found.GetDirection(), expected.GetDirection(), atol=1e-5)


def bright(batch):
    """A network that sees one voxel: the probability of bone is the normalised intensity."""
    return batch


def run_bright(source, output, **card):
    segmenter = Segmenter(bright, CARD | card, overlap=0.5, batch_size=4)
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
    segmenter = Segmenter(three, card, 0.5, 4, keep_probabilities=True)
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
    outcome = segment(inputs, Segmenter(predict_second, card, 0.5, 4), tmp_path / 'out')
    assert seen['channels'] == 2 and outcome.scans == 2
    a, b = (sitk.ReadImage(str(tmp_path / 'out' / f'{name}.nii.gz')) for name in 'ab')
    np.testing.assert_array_equal(sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b))
    assert 'CASE_0000 (FLAIR), CASE_0001 (T1)' in outcome.skipped['lone_*']
    assert 'CASE_0000 (FLAIR), CASE_0001 (T1)' in outcome.skipped['single.nii.gz']
    assert 'different geometry' in outcome.skipped['other_*']


def test_a_dicom_folder_becomes_one_nifti_named_after_it(tmp_path):
    from test_volumes import make_voxels, write_series

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
    assert case.case_id == 'scan'
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
        ('segmentation', 'labelsTs/deep/er'),
    ],
)
def test_label_files_are_no_input(tmp_path, capsys, scan, label):
    for name in (scan, label):
        write(make_image(), tmp_path / 'in' / f'{name}.nii.gz')
    inputs = find_inputs(tmp_path / 'in', ['CT'], tmp_path / 'out')
    assert [case.case_id for case in inputs] == [scan]
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
    assert 'a_0000 and a_0001 look like channels of one case' in capsys.readouterr().out


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

    monkeypatch.setattr('data_prep.geometry.sitk.WriteImage', interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_bright(source, tmp_path / 'out')
    assert list((tmp_path / 'out').rglob('*')) == []


# ---------------------------------------------------------------- the command


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Makes the run of a network of width 2 that was never trained."""

    def make(**fields):
        card = CARD | fields
        network = from_card(card)
        x = jnp.zeros((1, *WINDOW, card['in_channels']))
        variables = jax.jit(lambda: network.init(jax.random.key(0), x, train=True))()
        run = tmp_path_factory.mktemp('run')
        parts = list(variables['params'])
        checkpoints.export(run / 'export' / 'model', variables, parts, card)
        return run

    return make


@pytest.fixture(scope='module')
def segmenter_run(exported):
    return exported()


@pytest.fixture(scope='module')
def classifier_run(exported):
    return exported(
        network='classifier3d', task='classification', classes=['no', 'nodule'],
        config={'model': {'width': 2, 'hidden': 4}},
    )  # fmt: skip


def command(run, source, output, *options):
    arguments = [f'--model={run}', f'--input={source}', f'--output={output}', *options]
    return predict.main([*arguments, '--batch_size=2'])


def sentence(capsys, *arguments, status=1):
    """The one sentence with which the command refuses."""
    with pytest.raises(SystemExit) as exited:
        command(*arguments)
    assert exited.value.code == status
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1, said
    return said


def test_the_command_segments_a_folder_and_lists_what_it_skipped(tmp_path, segmenter_run, capsys):
    write(make_image(), tmp_path / 'in' / 'deep' / 'one.nii.gz')
    write(make_image('permuted'), tmp_path / 'in' / 'two.nrrd')
    (tmp_path / 'in' / 'broken.mha').write_text('ObjectType = Image')
    assert command(segmenter_run, tmp_path / 'in', tmp_path / 'out') == 1
    said = capsys.readouterr().out
    assert 'Scans predicted: 2, skipped: 1' in said
    assert '  broken.mha has no ElementDataFile line' in said
    assert 'deep/one:' in said and 'On average: bone' in said
    rows = read_table(tmp_path / 'out' / 'summary.csv')
    assert [row['scan'] for row in rows] == ['deep/one', 'two']
    for name, direction in {'deep/one.nii.gz': 'oblique', 'two.nrrd': 'permuted'}.items():
        found = sitk.ReadImage(str(tmp_path / 'out' / name))
        assert_same_geometry(found, make_image(direction))
    hidden = [path for path in (tmp_path / 'out').rglob('.*')]
    assert not hidden


def test_the_command_gives_what_the_network_gives(tmp_path, segmenter_run):
    """A scan of one window: no blending, so the network's own answer at the same voxels."""
    image = make_image('permuted', size=WINDOW)
    source = write(image, tmp_path / 'in' / 'scan.mha')
    assert command(segmenter_run, source, tmp_path / 'out', '--probabilities') == 0
    network, (variables, _) = from_card(CARD), checkpoints.load_export(
        segmenter_run / 'export' / 'model'
    )  # fmt: skip
    voxels = sitk.GetArrayFromImage(sitk.DICOMOrient(image, 'LPS')).T
    x = ((voxels.astype(np.float32) + 1000) / 2000).clip(0, 1)[None, ..., None]
    p = jax.jit(lambda v, x: jax.nn.sigmoid(network.predict(v, x)))(variables, x)
    probabilities = sitk.ReadImage(str(tmp_path / 'out' / 'scan_p1_bone.mha'))
    found = sitk.GetArrayFromImage(sitk.DICOMOrient(probabilities, 'LPS')).T
    np.testing.assert_allclose(found, p[0, ..., 0], atol=1e-5)


def test_results_are_not_overwritten_unless_asked(tmp_path, segmenter_run, capsys):
    source = write(make_image(), tmp_path / 'in' / 'scan.mha')
    assert command(segmenter_run, source, tmp_path / 'out') == 0
    assert '--overwrite' in sentence(capsys, segmenter_run, source, tmp_path / 'out')
    assert command(segmenter_run, source, tmp_path / 'out', '--overwrite') == 0


def test_what_now_fails_keeps_no_earlier_result(tmp_path, segmenter_run, capsys):
    for name in ('good.mha', 'spoilt.mhd', 'spoilt_p1_x.mhd'):
        write(make_image(), tmp_path / 'in' / name)
    options = (segmenter_run, tmp_path / 'in', tmp_path / 'out', '--probabilities')
    assert command(*options) == 0
    before = {path.name for path in (tmp_path / 'out').iterdir()}
    gone = {'spoilt.mhd', 'spoilt.zraw', 'spoilt_p1_bone.mhd', 'spoilt_p1_bone.zraw'}
    assert gone | {'good.mha', 'spoilt_p1_x.mhd'} < before
    (tmp_path / 'in' / 'spoilt.raw').write_bytes(b'')
    assert command(*options, '--overwrite') == 1
    assert 'skipped: 1' in capsys.readouterr().out
    assert {path.name for path in (tmp_path / 'out').iterdir()} == before - gone
    rows = read_table(tmp_path / 'out' / 'summary.csv')
    assert [row['scan'] for row in rows] == ['good', 'spoilt_p1_x']
    for path in (tmp_path / 'in').iterdir():
        path.write_bytes(b'')
    assert command(*options, '--overwrite') == 1
    assert not list((tmp_path / 'out').iterdir())


def test_no_earlier_classification_stays_where_all_scans_fail(tmp_path, classifier_run):
    write(make_image(), tmp_path / 'in' / 'one.mha')
    (tmp_path / 'points.csv').write_text('scan,x,y,z\none,-31.5,12.25,107\n')
    options = (f'--candidates={tmp_path / "points.csv"}', '--overwrite')
    assert command(classifier_run, tmp_path / 'in', tmp_path / 'out', *options) == 0
    assert (tmp_path / 'out' / 'predictions.csv').exists()
    data = (tmp_path / 'in' / 'one.mha').read_bytes()
    (tmp_path / 'in' / 'one.mha').write_bytes(data[:-1000])
    assert command(classifier_run, tmp_path / 'in', tmp_path / 'out', *options) == 1
    assert not (tmp_path / 'out' / 'predictions.csv').exists()


def test_the_command_classifies_candidates(tmp_path, classifier_run, capsys):
    first, second = make_image(), make_image('permuted')
    write(first, tmp_path / 'in' / 'one.nii.gz')
    write(second, tmp_path / 'in' / 'two.mha')
    (tmp_path / 'in' / 'broken.mha').write_text('ObjectType = Image')
    rows = []
    for name, image in {'two.mha': second, 'one': first, 'two': second}.items():
        point = image.TransformContinuousIndexToPhysicalPoint((9.2, 8.7, 6.1))
        rows.append([name, *point, len(rows)])
    rows.append(['broken', 0, 0, 0, 'x'])
    table = tmp_path / 'points.csv'
    with table.open('w', newline='') as file:
        csv.writer(file).writerows([['scan', 'x', 'y', 'z', 'note'], *rows])
    options = (f'--candidates={table}',)
    assert command(classifier_run, tmp_path / 'in', tmp_path / 'out', *options) == 1
    said = capsys.readouterr().out
    assert 'Scans predicted: 2, skipped: 1' in said and 'Candidates: 3 of 4' in said
    found = read_table(tmp_path / 'out' / 'predictions.csv')
    assert [row['scan'] for row in found] == ['two.mha', 'one', 'two', 'broken']
    assert [row['note'] for row in found] == ['0', '1', '2', 'x']
    values = [float(row['p_nodule']) for row in found[:3]]
    assert all(0 < value < 1 for value in values) and found[3]['p_nodule'] == ''
    assert values[0] == pytest.approx(values[2]) and 'p_no' not in found[0]
    assert '--overwrite' in sentence(capsys, classifier_run, tmp_path / 'in', tmp_path / 'out',
                                     *options)  # fmt: skip


def test_candidates_of_luna16_are_taken_as_they_come(tmp_path, classifier_run):
    """Their scans are named without the folder of the subset."""
    image = make_image()
    for name in ('subset9/1.3.6.1.4', 'subset8/1.3.6.1.5', '1.3.6.1.5'):
        write(image, tmp_path / 'in' / f'{name}.mhd')
    point = ','.join(map(str, image.TransformContinuousIndexToPhysicalPoint((9, 8, 6))))
    table = tmp_path / 'candidates_V2.csv'
    header = 'seriesuid,coordX,coordY,coordZ,class\n'
    table.write_text(header + f'1.3.6.1.4,{point},0\n1.3.6.1.5,{point},1\n')
    options = (f'--candidates={table}',)
    assert command(classifier_run, tmp_path / 'in', tmp_path / 'out', *options) == 0
    rows = read_table(tmp_path / 'out' / 'predictions.csv')
    assert [row['seriesuid'] for row in rows] == ['1.3.6.1.4', '1.3.6.1.5']
    assert all(0 < float(row['p_nodule']) < 1 for row in rows)


def test_points_that_contradict_the_scans_are_refused(tmp_path, classifier_run, capsys):
    for name in ('one', 'a/two', 'b/two'):
        write(make_image(), tmp_path / 'in' / f'{name}.nii.gz')
    table = tmp_path / 'points.csv'
    arguments = (classifier_run, tmp_path / 'in', tmp_path / 'out', f'--candidates={table}')
    for text, wanted in {
        'scan,x,y,z\none,900,0,0\n': 'row 2: the point 900, 0, 0',
        'scan,x,y,z\nnone,0,0,0\n': "row 2: the input has no scan 'none'; add it",
        'scan,x,y,z\ntwo,0,0,0\n': "has 2 scans 'two' (a/two.nii.gz and b/two.nii.gz); name the",
        'scan,x,y\none,0,0\n': 'must name scan, x, y, z, or seriesuid, coordX, coordY, coordZ',
        'scan,x,y,z\n': 'no row below its header',
    }.items():
        table.write_text(text)
        assert wanted in sentence(capsys, *arguments)
    assert not (tmp_path / 'out').exists()


def test_bad_arguments_are_one_sentence(tmp_path, segmenter_run, classifier_run, exported, capsys):
    scan = write(make_image(), tmp_path / 'in' / 'scan.mha')
    out = tmp_path / 'out'
    assert '--candidates' in sentence(capsys, classifier_run, scan, out)
    assert '--candidates' in sentence(capsys, segmenter_run, scan, out, '--candidates=x.csv')
    assert 'no exported network' in sentence(capsys, tmp_path, scan, out)
    assert 'does not exist' in sentence(capsys, segmenter_run, tmp_path / 'none', out / 'deep')
    assert not out.exists()
    assert 'holds the input' in sentence(capsys, segmenter_run, scan, tmp_path / 'in')
    assert 'cannot be made' in sentence(capsys, segmenter_run, scan, scan)
    assert 'overlap' in sentence(capsys, segmenter_run, scan, out, '--overlap=1', status=2)
    two = exported(network='classifier3d', task='classification', in_channels=2,
                   channels=['T1', 'T2'], config={'model': {'width': 2, 'hidden': 0}})  # fmt: skip
    assert '2 channels' in sentence(capsys, two, scan, out, '--candidates=x.csv')


# Orbax leaves its other reads to an event loop that it has closed when the first one failed.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_damaged_export_is_one_sentence(tmp_path, segmenter_run, capsys, caplog):
    gc.collect()  # what tests before this one left
    caplog.clear()
    scan = write(make_image(), tmp_path / 'in' / 'scan.mha')
    for number, (pattern, content) in enumerate(
        (
            ('state/d/*', ''),
            ('state/_METADATA', '{"tree_metadata": '),
            ('state/_METADATA', '{}'),
            ('_CHECKPOINT_METADATA', '[1]'),
        )
    ):
        run = tmp_path / f'run_{number}'
        shutil.copytree(segmenter_run, run)
        for file in (run / 'export' / 'model').glob(pattern):
            file.write_text(content)
        assert 'is damaged; copy or export it again' in sentence(
            capsys, run, scan, tmp_path / 'out'
        )
        gc.collect()  # what reads leave behind is logged when it is collected
        assert not caplog.records  # Orbax tells it in its own words


def test_a_card_that_lacks_fields_is_one_sentence(tmp_path, capsys):
    for lacking in ('config', 'classes', 'window'):
        card = {name: value for name, value in CARD.items() if name != lacking}
        model = tmp_path / lacking / 'export' / 'model'
        checkpoints.export(model, {'params': {'head': {'bias': np.zeros(1)}}}, ['head'], card)
        assert 'is damaged' in sentence(capsys, tmp_path / lacking, tmp_path, tmp_path / 'out')


def test_the_folder_of_several_runs_names_one_of_them(tmp_path, segmenter_run, capsys):
    for name in ('seed_1', 'seed_0'):
        shutil.copytree(segmenter_run, tmp_path / 'runs' / name)
    said = sentence(capsys, tmp_path / 'runs', tmp_path, tmp_path / 'out')
    assert f'expected a folder such as {tmp_path / "runs" / "seed_0" / "export" / "model"}' in said


def test_what_is_no_model_is_told_from_what_it_is(tmp_path, exported, capsys):
    places = ('pre/export/encoder', 'stopped/checkpoints', 'group/seed_0/checkpoints')
    for name in (*places, 'empty'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'hub').mkdir()
    for name in ('hub/config.json', 'hub/model.safetensors', 'notes.txt'):
        (tmp_path / name).write_text('{}')
    (tmp_path / 'published.pt').write_bytes(b'PK\x03\x04')
    for name, words in {
        'none': 'there is no folder',
        'pre': 'is of a pre-training, whose network restores cubes',
        'pre/export': 'is of a pre-training',
        'stopped': 'its run has not ended',
        'group': 'its run has not ended',
        'empty': 'is no exported network',
        'hub': 'is a folder of config.json and model.safetensors',
        'notes.txt': 'is a file;',
        'published.pt': 'is a PyTorch file',
    }.items():
        said = sentence(capsys, tmp_path / name, tmp_path, tmp_path / 'out')
        assert words in said and 'export/encoder' not in said
        assert ('such as WORKDIR/seed_0' in said) == (words != 'its run has not ended')
    assert load_model(exported() / 'export')[1]['task'] == 'segmentation'


def test_without_simpleitk_the_command_says_what_to_install(tmp_path, segmenter_run, capsys,
                                                            monkeypatch):  # fmt: skip
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert 'genesis-jax[prep]' in sentence(capsys, segmenter_run, tmp_path, tmp_path / 'out')


def test_running_out_of_device_memory_stops_everything_with_advice():
    from genesis_jax.errors import UserError

    outcome = Outcome(None)
    with pytest.raises(UserError, match='batch_size'):
        outcome.skip('scan', jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory'))
    outcome.skip('scan', RuntimeError('what\nis this'))
    assert outcome.skipped == {'scan': 'failed unexpectedly (RuntimeError: what is this)'}
