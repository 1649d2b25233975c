"""The test of a fine-tuned network, repeated from its export by the command."""

import csv
import json

import pytest
from labelled import make

from genesis_jax import evaluate, parallel
from genesis_jax.finetune import finetune


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


@pytest.mark.parametrize(('name', 'table'), [('seg', 'cases.csv'), ('cls', 'predictions.csv')])
def test_it_repeats_what_the_run_found(name, table, runs, tmp_path, capsys):
    assert evaluate.main([f'--model={runs[name]}', f'--output={tmp_path}']) == 0
    again, before = rows_of(tmp_path / table), rows_of(runs[name] / table)
    assert [row['scan_id'] for row in again] == [row['scan_id'] for row in before]
    assert again == before
    metrics = json.loads((runs[name] / 'results.json').read_text())['metrics']
    said = capsys.readouterr().out
    for metric in ('dice', 'hd95') if name == 'seg' else ('auc', 'accuracy'):
        assert f'| {metric} | {metrics[metric]:.4f} |' in said


def test_another_split_and_another_dataset(runs, balls, tmp_path):
    model, other = f'--model={runs["cls"]}/export/model', tmp_path / 'other'
    assert evaluate.main([model, f'--output={tmp_path / "a"}', '--split=train']) == 0
    assert len(rows_of(tmp_path / 'a' / 'predictions.csv')) == 8
    make(other, 'hospital_b', 'classification', splits=['train', 'validation'] + ['test'] * 3)
    data = [f'--data_dir={other}', '--name=hospital_b']
    assert evaluate.main([model, f'--output={tmp_path / "b"}', *data]) == 0
    assert len(rows_of(tmp_path / 'b' / 'predictions.csv')) == 6


def test_what_cannot_be_tested_is_said(runs, balls, tmp_path, capsys):
    out = f'--output={tmp_path / "out"}'
    for arguments, words in (
        ([f'--model={tmp_path}'], 'is no exported network'),
        ([f'--model={runs["seg"]}', '--name=nothing'], "there is no dataset 'nothing'"),
        ([f'--model={runs["seg"]}', '--name=many'], 'choose a dataset of the same classes'),
        ([f'--model={runs["seg"]}', '--name=cls'], 'is for classification'),
    ):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main([*arguments, out])
        assert stopped.value.code == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
