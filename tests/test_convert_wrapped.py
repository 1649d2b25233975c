"""State dicts as trainings leave them: wrapped, beside other arrays, in checkpoints with logs."""

import argparse
import collections
import re
import shlex

import numpy as np
import pytest
from converted import same

from genesis_jax import convert
from genesis_jax.convert.__main__ import main
from genesis_jax.errors import UserError

torch = pytest.importorskip('torch', reason='PyTorch files need PyTorch')


@pytest.fixture
def published(golden):
    return golden / 'official_unet3d_width4.pt'


@pytest.fixture
def state(published):
    """The arrays of the published file, by their bare names."""
    held = torch.load(published, weights_only=True)['state_dict']
    return {name.removeprefix('module.'): tensor for name, tensor in held.items()}


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPED = [
    '',
    'module.',
    'model.',
    '_orig_mod.',
    'module.module.',
    'model._orig_mod.module.',
    'net.',
]


@pytest.mark.parametrize('prefix', WRAPPED)
def test_whatever_stands_before_all_names_is_taken_off(prefix, state, published, tmp_path):
    torch.save(prefixed(state, prefix), tmp_path / 'a.pt')
    same(convert.read(tmp_path / 'a.pt')[0], convert.read(published)[0])


@pytest.mark.parametrize('key', ['state_dict', 'network_weights', 'model_state_dict', 'model'])
def test_the_state_dict_of_a_checkpoint_is_found(key, state, published, tmp_path):
    torch.save({key: prefixed(state, 'model.'), 'optimizer': {}, 'epoch': 3}, tmp_path / 'a.ckpt')
    found, card = convert.read(tmp_path / 'a.ckpt')
    same(found, convert.read(published)[0])
    assert card.pytorch['epoch'] == 3


def test_tensors_below_any_key_are_found_if_it_is_the_only_one(state, published, tmp_path):
    torch.save({'net': prefixed(state, 'module.'), 'epoch': 3, 'args': None}, tmp_path / 'a.pt')
    found, card = convert.read(tmp_path / 'a.pt')
    same(found, convert.read(published)[0])
    assert card.pytorch['epoch'] == 3
    torch.save({'student': state, 'teacher': state}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match='a.pt holds student, teacher; expected the tensors'):
        convert.read(tmp_path / 'a.pt')


def test_an_error_lists_five_names_and_how_many_more(state, tmp_path):
    last = list(state)[-7:]
    few = {name: tensor for name, tensor in state.items() if name not in last}
    few |= {f'fc{number}.weight': torch.zeros(2) for number in range(40)}
    torch.save(few, tmp_path / 'a.pt')
    with pytest.raises(UserError) as raised:
        convert.read(tmp_path / 'a.pt')
    assert raised.match(r'40 unexpected \(fc0.weight, .*, fc4.weight and 35 more\)')
    assert len(str(raised.value)) < 800


LOGS = {
    'scalars': [kind(1) for kind in (np.float64, np.float32, np.float16, np.int32, np.uint8)],
    'others': [np.bool_(True), np.str_('loss'), np.datetime64('2024-01-01'), np.dtype('>i2')],
    'arrays': {'loss': np.arange(3.0), 'names': np.array(['a', 'bc']), 'mask': np.ones(2, bool)},
    'ordered': collections.OrderedDict(loss=np.float32(1)),
}


@pytest.mark.parametrize('kind', LOGS)
def test_numbers_of_numpy_in_a_checkpoint_do_no_harm(kind, state, published, tmp_path):
    torch.save({'state_dict': state, 'log': LOGS[kind]}, tmp_path / 'a.pt')
    same(convert.read(tmp_path / 'a.pt')[0], convert.read(published)[0])


@pytest.mark.parametrize('log', [argparse.Namespace(lr=1), np.array([print], object)])
def test_other_objects_are_refused(log, state, tmp_path):
    torch.save({'state_dict': state, 'log': log}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match='could run code is not read; expected .*: save that alone'):
        convert.read(tmp_path / 'a.pt')


TWO = torch.ones(2)
EXTRA = {
    'a head': (
        'module.',
        {'module.aux.weight': torch.ones(2, 3), 'module.aux.bias': TWO},
    ),
    'a loss': ('model.', {'criterion.weight': TWO}),
    'an average': ('module.', {'n_averaged': torch.tensor(5)}),
    'a counter': ('', {'out_tr.num_batches_tracked': torch.tensor(1)}),
}


@pytest.mark.parametrize('kind', EXTRA)
def test_what_is_no_part_of_the_network_is_named_and_can_be_dropped(
    kind, state, published, tmp_path, capsys
):
    prefix, more = EXTRA[kind]
    torch.save(prefixed(state, prefix) | more, tmp_path / 'my weights.pt')
    with pytest.raises(UserError) as raised:
        convert.read(tmp_path / 'my weights.pt')
    said = str(raised.value)
    assert all(name.removeprefix(prefix) in said for name in more)
    command = re.search('run: python -m genesis_jax.convert (.*)$', said)[1]
    words = [str(tmp_path / 'out') if word == 'TARGET' else word for word in shlex.split(command)]
    assert main(words) == 0
    assert 'skipped: ' in capsys.readouterr().out
    same(convert.read(tmp_path / 'out')[0], convert.read(published)[0])


def test_a_part_of_the_network_can_be_dropped(state, tmp_path):
    torch.save(state, tmp_path / 'a.pt')
    assert convert.read(tmp_path / 'a.pt', drop=['out_tr'])[1].parts == ['encoder', 'decoder']


def test_what_cannot_be_dropped_is_said(state, tmp_path):
    torch.save(state, tmp_path / 'a.pt')
    with pytest.raises(UserError, match='holds nothing of the name down, aux; expected names of'):
        convert.read(tmp_path / 'a.pt', drop=['down', 'aux'])
    variables, card = convert.read(tmp_path / 'a.pt')
    convert.write(tmp_path / 'export', variables, card, 'orbax')
    with pytest.raises(UserError, match='nothing can be dropped; expected a PyTorch file'):
        convert.read(tmp_path / 'export', drop=['out_tr'])


def test_other_networks_keep_their_sentence(tmp_path):
    torch.save({'model.conv1.weight': torch.ones(4, 3, 7, 7)}, tmp_path / 'a.pt')
    with pytest.raises(UserError, match='is no network of Models Genesis'):
        convert.read(tmp_path / 'a.pt')
