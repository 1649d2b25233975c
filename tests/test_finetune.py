"""Fine-tuning on bright balls in noise: what is trained and tested, and what is left behind."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest
from tuned import begin, changed

from genesis_jax import parallel
from genesis_jax.checkpoints import Checkpoints, export, load_export
from genesis_jax.data import labelled
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.models import from_card


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_a_segmentation_from_data_to_report(make_target, pretrained, tmp_path, capsys):
    config = make_target('seg', runs=2, init=str(pretrained))
    found = finetune(config, tmp_path)
    said = capsys.readouterr().out
    assert 'seg: 8 train, 4 validation of 16x16x16x1, 2 whole scans to test' in said
    assert [result['seed'] for result in found] == [0, 1]
    for seed in (0, 1):
        run = tmp_path / f'seed_{seed}'
        cases = rows_of(run / 'cases.csv')
        assert [row['scan_id'] for row in cases] and {row['class'] for row in cases} == {'ball1'}
        assert len(cases) == 2  # whole scans, one for each patient of the test split
        assert (run / 'samples').is_dir() and (run / 'report.md').exists()
        variables, card = load_export(run / 'export' / 'model')
        assert card['classes'] == ['background', 'ball1'] and card['outputs'] == 1
        patch = np.zeros((1, 16, 16, 16, 1), np.float32)
        logits = jax.eval_shape(from_card(card).predict, variables, patch)
        assert logits.shape == (1, 16, 16, 16, 1)
    table = rows_of(tmp_path / 'results.csv')
    assert [row['seed'] for row in table] == ['0', '1']
    mean = np.mean([float(row['dice']) for row in table])
    assert f'| dice | {mean:.4f} |' in (tmp_path / 'report.md').read_text()
    for part in ('report.md', 'seed_1/report.md'):
        text = (tmp_path / part).read_text()
        assert f'start: from {pretrained}' in text and 'randomly initialised: head' in text
        assert '- label fraction 1; patients: 4 train, 2 validation, 2 test' in text

    # More runs add to those that are complete; another recipe is refused.
    before = (tmp_path / 'seed_0' / 'results.json').stat().st_mtime_ns
    assert len(finetune(make_target('seg', runs=3, init=str(pretrained)), tmp_path)) == 3
    assert (tmp_path / 'seed_0' / 'results.json').stat().st_mtime_ns == before
    with pytest.raises(UserError, match='config.epochs=2'):
        finetune(make_target('seg', runs=2, init=str(pretrained), epochs=1), tmp_path)


@pytest.mark.slow
def test_a_classification_is_tested_on_every_fold(make_target, tmp_path, capsys):
    recipe = 'configs/classify.py, but epochs=2'
    found = finetune(make_target('folds'), tmp_path, recipe)
    said = capsys.readouterr().out
    assert f'  recipe     {recipe}\n' in said and '| 1 run (seed) x 3 folds |' in said
    for part in ('report.md', 'seed_0_fold_2/report.md'):
        assert f'- recipe: {recipe}\n' in (tmp_path / part).read_text()
    assert [result['fold'] for result in found] == [0, 1, 2]
    tested = [
        row['patient']
        for fold in range(3)
        for row in rows_of(tmp_path / f'seed_0_fold_{fold}' / 'predictions.csv')
    ]
    assert sorted(set(tested)) == [f'patient{i}' for i in range(6)]
    assert len(tested) == 12
    assert all('auc' in result['metrics'] for result in found)


@pytest.mark.slow
def test_several_classes_and_channels(make_target, pretrained, tmp_path):
    found = finetune(make_target('many', init=str(pretrained)), tmp_path)
    assert {'dice_ball1', 'dice_ball2'} <= set(found[0]['metrics'])
    assert 'first kernel: 1 input channels there, 2 here' in str(
        load_export(tmp_path / 'seed_0' / 'export' / 'model')[1]['start']
    )


def test_what_leaves_the_run_is_its_best_state(make_target, tmp_path):
    """At a rate at which every epoch undoes the one before, the last state is not the best."""
    rates = (0.3, 0.1, 0.03)
    for number, rate in enumerate(rates):
        config = make_target('cls', epochs=4, optimizer__learning_rate=rate, patience=9)
        (found,) = finetune(config, tmp_path / str(number))
        if found['best_step'] < 8:
            break
    else:
        pytest.fail(f'the last state was the best at each of {rates}')
    run = tmp_path / str(number) / 'seed_0'
    exported, card = load_export(run / 'export' / 'model')
    assert card['step'] == found['best_step']
    steps, _, state = begin(make_target('cls'))
    with Checkpoints(run / 'checkpoints') as checkpoints:
        best, last = (
            checkpoints.load(step, like=state)[0]
            for step in (found['best_step'], checkpoints.latest_step)
        )
    jax.tree.map(np.testing.assert_array_equal, exported['params'], jax.device_get(best.params))
    assert changed(exported['params'], jax.device_get(last.params))


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(make_target, tmp_path, monkeypatch):
    finetune(make_target('cls'), tmp_path / 'a')
    stop = {'at': 3}
    monkeypatch.setattr(parallel, 'should_stop', lambda told, step: step == stop['at'])
    with pytest.raises(SystemExit):
        finetune(make_target('cls'), tmp_path / 'b')
    assert not (tmp_path / 'b' / 'seed_0' / 'results.json').exists()
    stop['at'] = None
    finetune(make_target('cls'), tmp_path / 'b')
    a, b = (json.loads((tmp_path / name / 'seed_0' / 'results.json').read_text()) for name in 'ab')
    assert a == b


def test_smaller_label_fractions_are_part_of_larger_ones(make_target):
    def patients(fraction, seed=0):
        config = make_target('seg', label_fraction=fraction, seed=seed)
        opened = labelled.open_labelled(config)
        assert opened.patients['test'] == full.patients['test']
        return set(opened.patients['train'])

    full = labelled.open_labelled(make_target('seg'))
    sizes = [patients(f) for f in (0.1, 0.25, 0.5, 0.75, 1.0)]
    assert [len(s) for s in sizes] == [1, 1, 2, 3, 4]
    assert all(a <= b for a, b in zip(sizes, sizes[1:], strict=False))
    assert len({frozenset(patients(0.25, seed)) for seed in range(8)}) > 1


def test_folds_share_no_patient(make_target):
    for fold in range(3):
        opened = labelled.open_labelled(make_target('folds', data__fold=fold))
        train, validation, test = (set(opened.patients[s]) for s in labelled.SPLITS)
        assert test == {f'patient{i}' for i in range(6) if i % 3 == fold}
        assert not train & validation and not (train | validation) & test
        assert len(train | validation | test) == 6
        for split in labelled.SPLITS:
            source = getattr(opened, split)
            names = {source[i]['patient'] for i in range(len(source))}
            assert {n.decode() if isinstance(n, bytes) else n for n in names} == set(
                opened.patients[split]
            )


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'init': ''}, 'config.init is empty; expected scratch, a run or weights'),
        ({'init': 'nowhere'}, 'init=nowhere: there is no such file or folder as .*, or scratch$'),
        ({'init': 'ImageNet'}, r'or scratch; for ImageNet name the file .* resnet18\.pth$'),
        ({'init': 'genesis'}, 'or scratch; for Genesis name the --workdir of its pre-training'),
        ({'init': 'DATA'}, 'is no exported network'),
        ({'init': 'CHECKPOINT'}, 'is no exported network'),
        ({'init': 'PRE', 'model.width': 4}, 'add --config.model.width=2'),
        ({'init': 'PRE', 'model.upsample': 'nearest'}, 'add --config.model.upsample=transpose'),
        ({'init': 'ENC'}, 'no decoder'),
        ({'data.name': 'cls'}, 'is for classification and config.task is segmentation'),
        ({'data.name': 'none'}, 'python -m data_prep.nnunet'),
        ({'data.name': 'lcs', 'data.prepare': ('lcs', 'lits --x')}, 'python -m data_prep.lits'),
        ({'data.fold': 1}, 'has one fixed split'),
        ({'label_fraction': 0.0}, 'above 0, at most 1'),
        ({'freeze': 'decoder'}, "'none' or 'encoder' or 'encoder_decoder'"),
        ({'runs': 0}, 'a number above 0'),
        ({'batch_size': 6}, '4 devices cannot share it evenly'),
        ({'overlap': 1.0}, 'from 0 to below 1'),
    ],
)
def test_what_cannot_run_is_said_in_a_sentence(
    fields, words, make_target, pretrained, balls, tmp_path
):
    places = {'PRE': pretrained, 'ENC': pretrained / 'export' / 'encoder', 'DATA': balls}
    places['CHECKPOINT'] = tmp_path / 'checkpoint'
    export(places['CHECKPOINT'], {'params': {'a': np.zeros(2)}}, ('a',), {})
    config = make_target('seg')
    fields = {
        key: str(places.get(value, value)) if key == 'init' else value
        for key, value in fields.items()
    }
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words) as raised:
        finetune(config, tmp_path / 'run')
    assert '\n' not in str(raised.value)
    assert not (tmp_path / 'run').exists()


def test_a_workdir_belongs_to_one_recipe(make_target, tmp_path):
    first = make_target('cls', epochs=1)
    finetune(first, tmp_path)
    other = make_target('cls', epochs=1, seed=1, optimizer__learning_rate=0.5)
    with pytest.raises(UserError, match='config.optimizer.learning_rate=0.01'):
        finetune(other, tmp_path)
    shutil.rmtree(tmp_path / 'seed_0' / 'checkpoints')  # its results are still those of a recipe
    with pytest.raises(UserError, match='config.layer_decay=1.0'):
        finetune(make_target('cls', epochs=1, layer_decay=0.5), tmp_path)
    finetune(make_target('cls', epochs=1, seed=4), tmp_path)
    assert [row['seed'] for row in rows_of(tmp_path / 'results.csv')] == ['0', '4']


def test_a_workdir_of_something_else_is_refused(make_target, tmp_path):
    (tmp_path / 'thesis.tex').write_text('')
    with pytest.raises(UserError, match='something else'):
        finetune(make_target('seg'), tmp_path)
