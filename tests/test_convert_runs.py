"""Runs, their exports and checkpoints are read; a fine-tuning starts from weights of any format."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from converted import make, same
from orbax.checkpoint import v1 as ocp
from tuned import begin

from genesis_jax import convert
from genesis_jax.card import Card
from genesis_jax.checkpoints import export
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.runs.cards import load_model

ROOT = Path(__file__).parent.parent
PUBLISHED = 'official_unet3d_width4.pt'


def test_a_run_is_read_by_its_fullest_export(tmp_path):
    for kind, name in (('restores', 'encoder_decoder'), ('encoder', 'encoder')):
        variables, card = make(kind)
        export(tmp_path / 'run' / 'export' / name, variables, card['parts'], card)
    assert convert.read(tmp_path / 'run')[1]['parts'] == ['encoder', 'decoder', 'head']
    (tmp_path / 'begun' / 'checkpoints').mkdir(parents=True)
    with pytest.raises(UserError, match='has no export yet'):
        convert.read(tmp_path / 'begun')


def test_an_export_is_read_on_no_device(tmp_path, monkeypatch):
    """In a process of PyTorch, JAX must not take the memory of its accelerator."""
    variables, card = make('encoder')
    convert.write(tmp_path / 'ours', variables, card, 'orbax')
    loaded, load = [], ocp.load
    monkeypatch.setattr(ocp, 'load', lambda *a: loaded.append(load(*a)) or loaded[-1])
    same(convert.read(tmp_path / 'ours')[0], variables)
    assert {type(leaf) for leaf in jax.tree.leaves(loaded)} == {np.ndarray}


def test_a_checkpoint_of_a_training_is_read(tmp_path):
    variables, card = make('segments')
    with_task = card['config'] | {'task': 'segmentation'}
    step = tmp_path / 'run' / 'checkpoints' / '7'
    state = {**variables, 'opt_state': [variables['params']], 'step': np.array(7)}
    ocp.save(step, state)
    with pytest.raises(UserError, match=r'config.json does not tell its network'):
        convert.read(step)
    (tmp_path / 'run' / 'config.json').write_text(json.dumps({'config': with_task}))
    found, told = convert.read(step)
    same(found, variables)
    expected = {n: card[n] for n in ('network', 'parts', 'in_channels', 'out_channels', 'step')}
    assert told == Card.from_dict(expected | {'config': with_task})
    shutil.rmtree(step / 'state' / 'd')
    with pytest.raises(UserError, match='is damaged'):
        convert.read(step)


@pytest.mark.slow
def test_fine_tuning_starts_from_a_file(make_target, tmp_path):
    torch = pytest.importorskip('torch', reason='PyTorch files need PyTorch')
    loaded, card = make('restores')
    convert.write(tmp_path / 'card.pt', loaded, card)
    file = tmp_path / 'published.pt'
    content = torch.load(tmp_path / 'card.pt', weights_only=True)
    torch.save({'epoch': 1, 'state_dict': content['state_dict']}, file)
    config = make_target('seg', init=str(file), epochs=1)
    (found,) = finetune(config, tmp_path / 'run')
    assert found['start'][0].startswith(f'from {file}: encoder and decoder (')
    assert 'converted from pytorch, sha256 ' in found['start'][1]
    assert found['start'][2].startswith('assumed, as published.pt has no card: epsilon=1e-05, ')
    _, start, state = begin(config)
    for part in ('encoder', 'decoder'):
        same(jax.device_get(state.params[part]), loaded['params'][part])
        same(jax.device_get(state.batch_stats[part]), loaded['batch_stats'][part])

    # What is fine-tuned travels on, and is a start again.
    convert.convert(tmp_path / 'run' / 'seed_0', tmp_path / 'tuned.pt')
    convert.convert(tmp_path / 'tuned.pt', tmp_path / 'tuned')
    model = tmp_path / 'run' / 'seed_0' / 'export' / 'model'
    same(load_model(tmp_path / 'tuned')[0], load_model(model)[0])
    assert load_model(tmp_path / 'tuned')[1] == load_model(model)[1]
    _, start, _ = begin(make_target('cls', init=str(tmp_path / 'tuned.pt')))
    assert start.parts == ('encoder',) and start.lines[1] == 'converted from pytorch'


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'model__epsilon': 1e-3}, 'add --config.model.width=4 --config.model.epsilon=1e-05'),
        ({'model__width': 4, 'model__upsample': 'nearest'}, 'model.upsample=transpose'),
        ({'model__width': 4, 'model__epsilon': 1e-3}, 'add --config.model.epsilon=1e-05'),
        ({'init': 'README.md'}, 'the format of README.md is unknown'),
        ({'init': 'weights.pt'}, 'config.init=weights.pt: there is no such file or folder'),
    ],
)
def test_a_start_that_does_not_fit_is_refused(fields, words, golden, make_target, monkeypatch):
    pytest.importorskip('torch', reason='PyTorch files need PyTorch')
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=words):
        begin(make_target('seg', **({'init': str(golden / PUBLISHED)} | fields)))


def test_arrays_that_do_not_fit_are_told(make_target, tmp_path):
    variables, card = make('restores')
    del card['config']['model']['upsample']  # as exports did not always tell
    export(tmp_path / 'a', variables, card['parts'], card)
    with pytest.raises(UserError) as raised:
        begin(make_target('seg', init=str(tmp_path / 'a'), model__upsample='nearest'))
    assert raised.match(r'a does not fit: .* 6 unexpected \(params/decoder/up_0/bias, ')
    assert raised.match('; use an export of the same architecture, or set config.model as it was')
