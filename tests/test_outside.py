"""A network from outside: trained, exported, loaded again; and what it must keep to."""

import importlib.util
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tuned import batch_of, begin

from configs import classify, genesis_ct
from genesis_jax import convert, models
from genesis_jax.card import Card
from genesis_jax.checkpoints import export, load_export
from genesis_jax.config import check
from genesis_jax.errors import UserError
from genesis_jax.pretrain import pretrain
from genesis_jax.transfer import check_init

MINE = {'model.module': 'lab_net:MyUNet'}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A workdir with an export of a pre-training, without the pre-training."""
    workdir = tmp_path_factory.mktemp('outside')
    model = {'module': 'lab_net:MyUNet', 'width': 2, 'upsample': 'transpose', 'epsilon': 1e-5}
    entries = {'network': 'unet3d', 'parts': ['encoder', 'decoder', 'head']}
    card = Card(**entries, in_channels=1, out_channels=1, config={'model': model})
    network = models.from_card(card)
    variables = network.init(jax.random.key(0), np.zeros((1, 4, 4, 4, 1)), train=False)
    export(workdir / 'export' / 'encoder_decoder', variables, card.parts, card)
    return workdir


@pytest.mark.slow
def test_it_is_pre_trained(make_config, tmp_path, capsys):
    pretrain(make_config(**MINE, epochs=1, pictures=0), tmp_path)
    assert 'network    lab_net:MyUNet, width 2' in capsys.readouterr().out
    variables, _ = load_export(tmp_path / 'export' / 'encoder')
    assert set(variables['params']) == {'encoder'}
    pretrain(make_config(**MINE, epochs=1, pictures=0), tmp_path)  # resumes, and is done


def test_its_card_rebuilds_it(run, tmp_path):
    variables, card = load_export(run / 'export' / 'encoder_decoder')
    assert set(variables['params']) == {'encoder', 'decoder', 'head'}
    assert variables['params']['encoder']['first']['kernel'].shape[-1] == 2  # config.model.width
    network = models.from_card(Card.from_dict(card.to_dict()))
    assert network.divisor == 2 and network.dimensions == 3
    x = np.random.default_rng(0).uniform(size=(1, 4, 6, 8, 1)).astype(np.float32)
    own = sys.modules['lab_net'].MyUNet(1, 2).apply(variables, x, train=False)
    np.testing.assert_array_equal(network.predict(variables, x), own)
    formats = {'net.pth': 'pytorch', 'hub': 'hub'}
    if importlib.util.find_spec('torch') is None:  # which is missed first
        del formats['net.pth']
    for name, format in formats.items():
        with pytest.raises(UserError, match='lab_net:MyUNet is a network from outside'):
            convert.convert(run, tmp_path / name, target_format=format)
    convert.convert(run, tmp_path / 'copy', target_format='orbax')
    jax.tree.map(np.testing.assert_array_equal, convert.read(tmp_path / 'copy')[0], variables)


def test_both_target_tasks_start_from_it(run, make_target):
    target = make_target('seg', init=str(run), **MINE)
    steps, start, state = begin(target)
    assert start.parts == ('encoder', 'decoder')
    after, _ = steps.train(state, batch_of(target))
    assert not np.array_equal(*(jax.tree.leaves(s.batch_stats)[0] for s in (state, after)))
    _, start, state = begin(make_target('cls', init=str(run), **MINE))
    assert start.parts == ('encoder',) and set(state.params) == {'encoder', 'hidden', 'head'}
    with pytest.raises(UserError, match='--config.model.module=lab_net:MyUNet'):
        check_init(make_target('seg', init=str(run)))


@pytest.mark.parametrize(
    ('place', 'fields', 'sentence'),
    [
        ('lab_net', {}, "expected a module and its class, such as 'my_lab.net:MyUNet'"),
        (
            'no_lab.net:MyUNet',
            {},
            r'cannot be imported \(ModuleNotFoundError: No module',
        ),
        ('lab_net:Mine', {}, 'lab_net has no Mine; expected a class of flax.linen'),
        (
            'lab_net:NOT_A_MODULE',
            {},
            "lab_net has <class 'dict'> as NOT_A_MODULE; exp",
        ),
        ('lab_net:NoOutputs', {}, 'NoOutputs has no field out_channels; add it'),
        ('lab_net:NoDecoder', {}, 'NoDecoder has the parts encoder, head; expected the submodules'),
        (
            'lab_net:Fails',
            {},
            r'Fails fails on an input of .*32, 1\) \(ValueError: no such',
        ),
        ('lab_net:MyUNet', {'model.name': 'unet3d'}, 'expected none with config.model.module'),
        ('lab_net:NoDecoder', {'task': 'classification'}, 'NoDecoder has no method encode'),
        (
            'lab_net:MyUNet',
            {'freeze': 'encoder'},
            'MyUNet has no field freeze, and the config',
        ),
    ],
)
def test_what_does_not_keep_to_the_contract_is_refused(make_target, place, fields, sentence):
    config = genesis_ct.get_config()
    if {'freeze', 'task'} & set(fields):
        config = make_target('cls' if 'task' in fields else 'seg')
    config.update_from_flattened_dict({'batch_size': 4, 'model.module': place} | fields)
    with pytest.raises(UserError, match=sentence):
        check(config, 1)


def test_the_network_of_the_docs_keeps_to_the_contract(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / 'docs/extending.md').read_text('utf-8')
    code = page.partition('```python\n# my_lab/net.py\n')[2].partition('```')[0]
    (tmp_path / 'my_lab').mkdir()
    (tmp_path / 'my_lab' / 'net.py').write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    for make in (genesis_ct, classify):
        config = make.get_config()
        fields = {'batch_size': 4, 'model.module': 'my_lab.net:MyUNet'}
        config.update_from_flattened_dict(fields)
        check(config, 1)


@pytest.mark.parametrize(
    'asked', [{'norm': 'group'}, {'blocks': (1, 1)}, {'remat': True}, {'dtype': 'bfloat16'}]
)
def test_what_it_has_no_field_for_is_refused(asked):
    config = genesis_ct.get_config()
    config.update_from_flattened_dict({'batch_size': 4} | MINE)
    config.update_from_flattened_dict({f'model.{name}': value for name, value in asked.items()})
    with pytest.raises(UserError, match=f'MyUNet has no field {next(iter(asked))}, and'):
        check(config, 1)


def test_a_decay_by_level_needs_levels_that_are_numbered(run, make_target):
    begin(make_target('cls', init=str(run), **MINE))
    with pytest.raises(
        UserError, match="the part '(down|first)', whose name does not tell its place"
    ):
        begin(make_target('cls', init=str(run), layer_decay=0.5, **MINE))
