"""Runs go on where they ended when their epochs or their patience are raised."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from genesis_jax.checkpoints import load_export
from genesis_jax.compare.runs import read_workdir
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.pretrain import pretrain
from genesis_jax.runs import results


def curves(workdir):
    """What was logged, without the speed."""
    rows = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    return [{n: v for n, v in row.items() if n != 'cubes_per_second'} for row in rows]


def config_of(workdir):
    return json.loads((workdir / 'config.json').read_text())['config']


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, load_export(one)[0], load_export(other)[0])


def test_a_finished_pretraining_goes_on_as_if_it_had_been_longer(make_config, tmp_path, capsys):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    pretrain(make_config(epochs=3, pictures=0), whole)
    pretrain(make_config(epochs=1, pictures=0), parts)
    capsys.readouterr()
    progress = pretrain(make_config(epochs=3, pictures=0), parts)
    said = capsys.readouterr().out
    assert 'config.epochs was 1 and is 3: as if it had been so from the start\n' in said
    assert 'resumed after step 3' in said and progress.last['epoch'] == 3
    assert curves(parts) == curves(whole) and config_of(parts) == config_of(whole)
    for name in ('encoder', 'encoder_decoder'):
        same(parts / 'export' / name, whole / 'export' / name)
        cards = [load_export(w / 'export' / name)[1] for w in (parts, whole)]
        assert cards[0].config_hash == cards[1].config_hash and cards[0].epochs == 3
    assert '- epochs: 3, best' in (parts / 'report.md').read_text()

    # Fewer are refused, and nothing is changed; nor is anything else that differs.
    before = (parts / 'config.json').read_bytes()
    words = 'config.epochs=3, but this command has config.epochs=2; resume with the same or a hi'
    with pytest.raises(UserError, match=words):
        pretrain(make_config(epochs=2, pictures=0), parts)
    with pytest.raises(UserError, match='config.optimizer.learning_rate=0.1, but .* same value or'):
        pretrain(make_config(epochs=4, optimizer__learning_rate=0.2, pictures=0), parts)
    assert (parts / 'config.json').read_bytes() == before
    pretrain(make_config(epochs=3, pictures=0), parts)
    assert 'goes on' not in capsys.readouterr().out


def test_a_schedule_that_ends_with_the_epochs_follows_their_new_number(
    make_config, tmp_path, capsys
):
    fields = {'schedule__name': 'poly', 'pictures': 0}
    pretrain(make_config(epochs=1, **fields), tmp_path)
    pretrain(make_config(epochs=2, **fields), tmp_path)
    words = 'was 1 and is 2: the learning rate (poly) follows the new number from here on\n'
    assert words in capsys.readouterr().out
    rates = [row['train/learning_rate'] for row in curves(tmp_path) if 'epoch' not in row]
    schedule = [0.1 * (1 - step / 3) ** 0.9 for step in range(3)]
    schedule += [0.1 * (1 - step / 6) ** 0.9 for step in range(3, 6)]
    np.testing.assert_allclose(rates, schedule, rtol=1e-5)


def test_a_run_that_stopped_early_goes_on_with_more_patience(make_config, tmp_path, capsys):
    fields = {'optimizer__learning_rate': 1e-30, 'pictures': 0}  # learns nothing
    progress = pretrain(make_config(epochs=30, patience=1, **fields), tmp_path)
    ended = progress.last['epoch']
    pretrain(make_config(epochs=40, patience=1, **fields), tmp_path)
    said = capsys.readouterr().out
    assert 'stopped early, after 1 epochs without gain: raise config.patience\n' in said
    progress = pretrain(make_config(epochs=40, patience=3, **fields), tmp_path)
    assert 'config.patience was 1 and is 3: as if it had' in capsys.readouterr().out
    assert progress.last['epoch'] > ended and progress.epochs_without_gain == 3
    with pytest.raises(
        UserError, match='config.patience=3, but this command has config.patience=2'
    ):
        pretrain(make_config(epochs=40, patience=2, **fields), tmp_path)


def stop_after(monkeypatch, epoch):
    """Makes trainings fail when they have finished an epoch."""
    from genesis_jax.training import loop

    validate = loop._validate

    def failing(evaluate, state, progress, step, log, steps_per_epoch):
        if step > epoch * steps_per_epoch:
            raise KeyboardInterrupt
        return validate(evaluate, state, progress, step, log, steps_per_epoch)

    monkeypatch.setattr(loop, '_validate', failing)


def test_finished_finetunings_go_on_and_are_replaced_at_their_end(
    make_target, tmp_path, capsys, monkeypatch
):
    def targets(epochs, runs=2):
        return make_target('cls', epochs=epochs, runs=runs, pictures=0)

    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    expected = finetune(targets(3), whole)
    first = finetune(targets(1), parts)
    table = (parts / 'results.csv').read_bytes()
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            finetune(targets(3), parts)
    # Results of before are whole, but no longer those of this fine-tuning.
    for seed in (0, 1):
        run = parts / f'seed_{seed}'
        held = json.loads((run / 'results.json').read_text())
        assert held.pop('superseded') is True and held == json.loads(json.dumps(first[seed]))
        assert results.read(run) is None
        assert load_export(run / 'export' / 'model')[1].epochs == 1
    assert (parts / 'results.csv').read_bytes() == table
    with pytest.raises(UserError, match='0 of 2 runs are complete; run its main.py command again'):
        read_workdir(parts)
    with pytest.raises(UserError, match='config.epochs=3, but this command has config.epochs=1'):
        finetune(targets(1), parts)

    # One seed alone, then the other.
    finetune(targets(3, runs=1), parts)
    assert len(read_workdir(parts).parts) == 1
    assert (parts / 'results.csv').read_text().count('\n') == 2
    found = finetune(targets(3), parts)
    assert found == expected and len(read_workdir(parts).parts) == 2
    for seed in (0, 1):
        assert curves(parts / f'seed_{seed}') == curves(whole / f'seed_{seed}')
        same(parts / f'seed_{seed}/export/model', whole / f'seed_{seed}/export/model')
        for file in ('results.json', 'predictions.csv', 'config.json'):
            texts = [(workdir / f'seed_{seed}' / file).read_text() for workdir in (parts, whole)]
            assert texts[0] == texts[1], file
    assert (parts / 'results.csv').read_text() == (whole / 'results.csv').read_text()


def test_without_checkpoints_nothing_goes_on(make_target, tmp_path):
    finetune(make_target('cls', epochs=1, pictures=0), tmp_path)
    shutil.rmtree(tmp_path / 'seed_0' / 'checkpoints')
    before = {file: file.read_bytes() for file in Path(tmp_path).rglob('*.json')}
    with pytest.raises(UserError, match='seed_0 has results but no checkpoints to go on from; cop'):
        finetune(make_target('cls', epochs=2, pictures=0), tmp_path)
    assert {file: file.read_bytes() for file in Path(tmp_path).rglob('*.json')} == before
