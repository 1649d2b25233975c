"""The test of a fine-tuned network, repeated from its export by the command."""

import csv
import dataclasses
import errno
import json
import os
import re
import tempfile

import ml_collections
import numpy as np
import pytest
from make_labelled import make

from genesis_jax import evaluate, metrics, parallel
from genesis_jax.data import labelled
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.inference import ensemble
from genesis_jax.runs.cards import card_hash, check_data, load_model


@pytest.fixture(autouse=True)
def _no_start(monkeypatch):
    monkeypatch.setattr(parallel, 'start', lambda: None)  # JAX runs already


@pytest.fixture(scope='module')
def runs(make_target, tmp_path_factory):
    """A fine-tuned run of each task."""
    folder = tmp_path_factory.mktemp('runs')
    for name in ('seg', 'cls'):
        finetune(make_target(name, epochs=1), folder / name)
    return {name: folder / name / 'seed_0' for name in ('seg', 'cls')}


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def refusal(capsys, *arguments, status=1):
    """The one sentence with which the command refuses."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([*map(str, arguments)])
    assert stopped.value.code == status
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1, said
    return said


def _full(**_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_paths_are_local_or_in_a_bucket(runs, tmp_path, monkeypatch, capsys):
    model, data, output = f'--model={runs["cls"]}', '--data_dir=~/none', f'--output={tmp_path}'
    monkeypatch.setenv('HOME', str(tmp_path))
    assert f"there is no dataset 'cls' in '{tmp_path}/none'" in refusal(capsys, model, data, output)
    said = refusal(capsys, '--model=s3://b/run', output, status=2)
    assert 'argument --model: s3://b/run is a URL; expected a local path or gs://BUCKET' in said


def test_help_says_what_may_be_in_a_bucket(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(['--help'])
    words = ' '.join(capsys.readouterr().out.split())
    options = [part.split()[0] for part in words.split(' --')[1:] if 'gs://BUCKET' in part]
    assert options == ['model', 'output', 'data_dir']


@pytest.mark.parametrize(('name', 'table'), [('seg', 'cases.csv'), ('cls', 'predictions.csv')])
def test_it_repeats_what_the_run_found(name, table, runs, tmp_path, capsys):
    assert evaluate.main([f'--model={runs[name]}', f'--output={tmp_path}']) == 0
    again, before = rows_of(tmp_path / table), rows_of(runs[name] / table)
    assert [row['scan_id'] for row in again] == [row['scan_id'] for row in before]
    assert again == before
    measured = json.loads((runs[name] / 'results.json').read_text())['metrics']
    said = capsys.readouterr().out
    for metric in ('dice', 'iou') if name == 'seg' else ('auc', 'accuracy'):
        assert f'| {metric} | {measured[metric]:.4f} |' in said
    assert said.startswith('| test |') and 'no test' not in said


class Brightness:
    """A network whose probability is above a half where a voxel is above half of its window."""

    def predict(self, variables, x):
        return 20 * (x - 0.5)


@pytest.mark.parametrize('window', [None, [-1000, 0]])
@pytest.mark.parametrize('split', ['test', 'validation'])  # whole scans, and patches
def test_segmentations_are_measured_in_their_window_and_spacing(split, window, runs, monkeypatch):
    monkeypatch.setattr(ensemble, 'from_card', lambda card: Brightness())
    variables, card = load_model(runs['seg'])
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    predict, card = ensemble.predictor(variables, card), dataclasses.replace(card, window=window)
    rows, _ = evaluate.evaluate(predict, card, dataset, split)
    records = list(dataset.cases if split == 'test' else dataset.validation)
    for row, record in zip(rows, records, strict=True):
        predicted = record['cube'][..., 0] > (0 if window is None else -500)
        mask = record['mask'] == 1
        assert row['dice'] == pytest.approx(metrics.dice(predicted, mask))
        for spacing, alike in (((1, 1, 2), True), ((1, 1, 1), False)):
            surfaces = metrics.surface_distances(predicted, mask, spacing)
            for name in ('hd95', 'surface_dice'):
                expected = getattr(metrics, name)(*surfaces)
                if alike or window is not None:  # with false voxels everywhere every axis counts
                    assert (row[name] == pytest.approx(expected)) == alike


def test_classifications_are_measured_in_the_window_of_the_card(runs, monkeypatch):
    class Mean:
        def predict(self, variables, x):
            return x.mean(axis=(1, 2, 3))

    monkeypatch.setattr(ensemble, 'from_card', lambda card: Mean())
    variables, card = load_model(runs['cls'])
    predict = ensemble.predictor(variables, card)
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    for window in (None, [-1000, 0]):
        low, high = window or (-1000, 1000)
        rows, _ = evaluate.evaluate(predict, dataclasses.replace(card, window=window), dataset)
        for row, record in zip(rows, list(dataset.test), strict=True):
            x = np.clip((record['cube'] - low) / (high - low), 0, 1).mean()
            assert row['p_ball1'] == pytest.approx(1 / (1 + np.exp(-x)), rel=1e-4)


def test_another_split_and_another_dataset(runs, balls, tmp_path, capsys):
    model, other = f'--model={runs["cls"]}/export/model', tmp_path / 'other'
    assert evaluate.main([model, f'--output={tmp_path / "a"}', '--split=train']) == 0
    assert len(rows_of(tmp_path / 'a' / 'predictions.csv')) == 8
    said = capsys.readouterr().out
    assert said.startswith('| train |')
    assert 'trained on (or chosen by) 4 of these 4 patients: this is no test' in said
    found = json.loads((tmp_path / 'a' / 'results.json').read_text())
    assert (found['patients'], found['patients_of_training']) == (4, 4)
    make(other, 'hospital_b', 'classification', splits=['train', 'validation'] + ['test'] * 3)
    data = [f'--data_dir={other}', '--name=hospital_b', '--other_patients']
    assert evaluate.main([model, f'--output={tmp_path / "b"}', *data]) == 0
    assert len(rows_of(tmp_path / 'b' / 'predictions.csv')) == 6
    found = json.loads((tmp_path / 'b' / 'results.json').read_text())
    assert 'no test' not in capsys.readouterr().out and found['patients_of_training'] == 0
    assert (found['dataset'], found['split'], found['examples']) == ('hospital_b', 'test', 6)
    card = load_model(runs['cls'])[1]
    (member,) = found['members']
    assert member['card_hash'] == card_hash(card) != card_hash(dataclasses.replace(card, seed=1))
    assert 0 <= found['metrics']['auc'] <= 1


def test_patients_of_the_training_are_no_test(runs, tmp_path, capsys):
    data_dir = tmp_path / 'again'
    make(data_dir, 'cls', 'classification', splits=['test', 'test', 'train', 'validation', 'test'])
    arguments = [f'--model={runs["cls"]}', f'--data_dir={data_dir}', f'--output={tmp_path / "out"}']
    assert '3 of the 3 test patients' in refusal(capsys, *arguments)
    assert not (tmp_path / 'out').exists()
    assert evaluate.main([*arguments, '--other_patients']) == 0


@pytest.mark.parametrize(
    ('field', 'here', 'words'),
    [
        ('channels', ['T1'], 'of channels CT and the dataset'),
        ('modality', 'mri', "of modality 'ct' and"),
        ('spacing', [1.0, 1.0, 2.0], 'has 1, 1, 2; prepare it again without --spacing'),
        ('classes', ['background', 'ball2'], 'choose a dataset of the same classes'),
    ],
)
def test_data_unlike_that_of_the_training_is_refused(field, here, words, runs):
    card = load_model(runs['seg'])[1]
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    check_data(card, dataset, 'model', 'seg')
    other = dataclasses.replace(dataset, about=dataset.about | {field: here})
    with pytest.raises(UserError, match=re.escape(words)):
        check_data(card, other, 'model', 'seg')


def test_how_windows_are_found_and_spacing_are_compared_where_they_matter(runs):
    _, card = load_model(runs['seg'])
    card = dataclasses.replace(card, modality='mri', spacing=[1, 1, 2], window=None)
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    about = dataset.about | {'modality': 'mri', 'spacing': [1.0, 1.0, 2.0]}
    check_data(card, dataclasses.replace(dataset, about=about), 'model', 'seg')
    other = dataclasses.replace(dataset, about=about | {'full_range': True})
    with pytest.raises(UserError, match='of full_range False'):
        check_data(card, other, 'model', 'seg')
    check_data(dataclasses.replace(card, window=[0, 1]), other, 'model', 'seg')
    other = dataclasses.replace(dataset, about=about | {'spacing': None})
    with pytest.raises(UserError, match='--spacing=1,1,2'):
        check_data(card, other, 'model', 'seg')


def test_the_luna16_score_needs_all_negatives(runs):
    variables, card = load_model(runs['cls'])
    predict = ensemble.predictor(variables, card)
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    for kept, expected in (('all', True), (10.0, False)):
        recipe = {'negatives_per_positive': {'train': 10.0, 'validation': 10.0, 'test': kept}}
        drawn = dataclasses.replace(dataset, about=dataset.about | {'recipe': recipe})
        found = evaluate.evaluate(predict, card, drawn)[1]
        assert ('luna16_score' in found) == expected
        assert 'auc' in found


def test_results_are_not_lost(runs, tmp_path, capsys):
    arguments = [f'--model={runs["cls"]}', f'--output={tmp_path}', '--split=validation']
    assert evaluate.main(arguments) == 0
    before = (tmp_path / 'results.json').read_text()
    assert 'or give --overwrite' in refusal(capsys, *arguments)
    (tmp_path / 'cases.csv').write_text('of another evaluation')
    assert evaluate.main([*arguments, '--overwrite']) == 0
    assert (tmp_path / 'results.json').read_text() == before
    assert not (tmp_path / 'cases.csv').exists()
    arguments[1] = f'--output={runs["cls"]}'
    assert 'holds a run' in refusal(capsys, *arguments, '--overwrite')


def test_an_output_that_cannot_be_written_is_told_before_the_work(
    runs, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(evaluate, 'evaluate', None)
    (tmp_path / 'file').write_text('')
    arguments = [f'--model={runs["cls"]}', f'--output={tmp_path / "file" / "out"}']
    assert 'choose another folder' in refusal(capsys, *arguments)
    monkeypatch.setattr(tempfile, 'TemporaryFile', _full)
    arguments[1] = f'--output={tmp_path / "out"}'
    assert '(No space left on device); choose' in refusal(capsys, *arguments)


def test_only_the_main_process_writes(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parallel, 'is_main_process', lambda: False)
    assert evaluate.main([f'--model={runs["cls"]}', f'--output={tmp_path / "out"}']) == 0
    assert not (tmp_path / 'out').exists()
    assert '| auc |' not in capsys.readouterr().out


def test_what_cannot_be_tested_is_said(runs, balls, tmp_path, capsys):
    out = f'--output={tmp_path / "out"}'
    for arguments, words in (
        ([f'--model={tmp_path}'], 'is no exported network'),
        ([f'--model={runs["seg"]}', '--name=nothing'], "there is no dataset 'nothing'"),
        ([f'--model={runs["seg"]}', '--name=many'], 'choose a dataset of the same classes'),
        ([f'--model={runs["seg"]}', '--name=cls'], 'segmentation; choose another --name\n'),
    ):
        assert words in refusal(capsys, *arguments, out)
    assert not (tmp_path / 'out').exists()
    assert '--model' in refusal(capsys, out, status=2)
