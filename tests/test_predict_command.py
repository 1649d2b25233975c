"""python -m genesis_jax.predict, from the command line to its files."""

import csv
import gc
import shutil

import jax
import numpy as np
import pytest
import SimpleITK as sitk
from oblique import (
    CARD,
    WINDOW,
    assert_same_geometry,
    export_untrained,
    make_image,
    read_table,
    write,
)

from genesis_jax import checkpoints, parallel, predict
from genesis_jax.card import Card
from genesis_jax.inference.prediction_log import Outcome
from genesis_jax.models import from_card
from genesis_jax.runs.cards import load_model


@pytest.fixture(autouse=True)
def _no_start(monkeypatch):
    monkeypatch.setattr(parallel, 'start', lambda: None)  # JAX runs already


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    return lambda **fields: export_untrained(tmp_path_factory.mktemp('run'), **fields)


@pytest.fixture(scope='module')
def segmenter_run(exported):
    return exported()


@pytest.fixture(scope='module')
def classifier_run(exported):
    return exported(
        network='classifier3d', task='classification', classes=['no', 'nodule'],
        config={'model': {'width': 2, 'hidden': 4}}, parts=['encoder', 'hidden', 'head'],
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
    network, (variables, _) = from_card(Card.from_dict(CARD)), checkpoints.load_export(
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
    for lacking in ('config', 'classes', 'modality'):
        card = {name: value for name, value in CARD.items() if name != lacking}
        model = tmp_path / lacking / 'export' / 'model'
        checkpoints.export(model, {'params': {'head': {'bias': np.zeros(1)}}}, ['head'], card)
        assert 'is damaged' in sentence(capsys, tmp_path / lacking, tmp_path, tmp_path / 'out')


def test_what_is_no_model_is_told_from_what_it_is(tmp_path, exported, capsys):
    places = ('pre/export/encoder', 'stopped/checkpoints', 'group/seed_0/checkpoints')
    for name in (*places, 'empty', 'pruned/seed_0'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'pruned' / 'seed_0' / 'results.json').write_text('{}')
    (tmp_path / 'hub').mkdir()
    for name in ('hub/config.json', 'hub/model.safetensors', 'notes.txt'):
        (tmp_path / name).write_text('{}')
    (tmp_path / 'published.pt').write_bytes(b'PK\x03\x04')
    for name, words in {
        'none': 'there is no folder',
        'pre': 'is of a pre-training, whose network restores its input',
        'pre/export': 'is of a pre-training',
        'stopped': 'its run has not ended',
        'group': 'its run has not ended',
        'pruned': 'though its run has ended; copy export/ from where it ran',
        'empty': 'is no exported network',
        'hub': 'is a folder of config.json and model.safetensors',
        'notes.txt': 'is a file;',
        'published.pt': 'is a PyTorch file',
    }.items():
        said = sentence(capsys, tmp_path / name, tmp_path, tmp_path / 'out')
        assert words in said and 'export/encoder' not in said
        assert ('such as WORKDIR/seed_0' in said) == ('its run has' not in words)
    assert load_model(exported() / 'export')[1]['task'] == 'segmentation'


def test_without_simpleitk_the_command_says_what_to_install(tmp_path, segmenter_run, capsys,
                                                            monkeypatch):  # fmt: skip
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert "pip install -e '.[prep]'" in sentence(capsys, segmenter_run, tmp_path, tmp_path / 'out')


def test_running_out_of_device_memory_stops_everything_with_advice():
    from genesis_jax.errors import UserError

    outcome = Outcome(None)
    with pytest.raises(UserError, match='batch_size'):
        outcome.skip('scan', jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory'))
    outcome.skip('scan', RuntimeError('what\nis this'))
    assert outcome.skipped == {'scan': 'failed unexpectedly (RuntimeError: what is this)'}
