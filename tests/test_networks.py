"""Networks by name: what configs may ask for, normalisations, and runs of the residual encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from configured import changed
from tuned import batch_of, begin

from configs import classify, genesis_ct, genesis_ct_2d, segment
from genesis_jax import models
from genesis_jax.card import Card
from genesis_jax.checkpoints import load_export
from genesis_jax.config import check, config_hash, difference, resolve, to_json
from genesis_jax.data.fit import check_shape
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.models import UNet2D, UNet3D
from genesis_jax.models.normalisation import make_norm
from genesis_jax.pretrain import pretrain
from genesis_jax.transfer import check_init

RESENC = {'model.name': 'resenc3d', 'model.blocks': (1, 1)}


@pytest.mark.parametrize(
    ('make', 'fields', 'sentence'),
    [
        (genesis_ct, {'model.name': 'unet4d'}, "expected 'unet3d' or 'unet2d' or 'resenc3d'"),
        (genesis_ct_2d, {'model.name': 'resenc3d'}, "expected 'unet2d' with config.dimensions=2"),
        (genesis_ct, {'model.blocks': (1, 1)}, 'expected none with the network unet3d'),
        (genesis_ct, RESENC | {'model.blocks': (1,)}, 'expected two or more whole numbers'),
        (segment, RESENC | {'model.upsample': 'nearest'}, "'transpose' with the network resenc3d"),
        (classify, {'model.norm': 'layer'}, "expected 'batch' or 'instance' or 'group'"),
        (
            genesis_ct,
            RESENC | {'model.batch_statistics': 'official'},
            "expected 'synchronised' with instance normalisation",
        ),
    ],
)
def test_what_a_network_does_not_have_is_refused(make, fields, sentence):
    config = make.get_config()
    config.update_from_flattened_dict({'batch_size': 4} | fields)
    with pytest.raises(UserError, match=sentence):
        check(config, 1)


def test_sides_are_checked_by_the_network():
    config = changed(model__name='resenc3d', model__blocks=(1, 1, 1))
    assert check_shape(config, (12, 12, 4, 1)) == (12, 12, 4, 1)
    with pytest.raises(UserError, match='halves its input twice, so every side must divide by 4'):
        check_shape(config, (12, 12, 6, 1))
    with pytest.raises(UserError, match=r'\(4, 4, 4\) leave one element .* a side of 8 or more'):
        check_shape(config, (4, 4, 4, 1))


def test_a_run_of_before_keeps_its_hash_and_resumes():
    config = resolve(genesis_ct.get_config(), 1)
    assert config_hash(config) == '32f51e5e326a'  # before a network had a name
    saved = to_json(config)
    for name in ('name', 'module', 'norm', 'blocks'):
        del saved['model'][name]
    assert difference(saved, config) is None
    config.model.name = 'resenc3d'
    assert difference(saved, config) == ('model.name', None, 'resenc3d')
    assert config_hash(config) != '32f51e5e326a'


def normalised(kind, x):
    layer = make_norm(kind, 1e-5, 'float32', True, 0.9, None)

    class One(models.Network):
        @models.network.nn.compact
        def __call__(self, x):
            return layer(name='bn')(x)

    return One().init_with_output(jax.random.key(0), x)[0]


@pytest.mark.parametrize(('kind', 'groups'), [('instance', 12), ('group', 4)])
def test_normalisations_are_of_each_example(kind, groups):
    """Twelve channels: in groups of eight at most, which divide them, there are four."""
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 5, 6, 12)).astype(np.float32)
    parts = x.reshape(2, 120, groups, 12 // groups)
    mean, var = (f(parts, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    expected = ((parts - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)
    np.testing.assert_allclose(normalised(kind, x), expected, atol=2e-5)


@pytest.mark.parametrize('made', (UNet3D, UNet2D))
@pytest.mark.parametrize('norm', ('instance', 'group'))
def test_the_published_networks_take_another_norm(made, norm):
    network = made(width=2, norm=norm)
    x = jax.ShapeDtypeStruct(network.smallest_input(1), jnp.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=True), x)
    batch = jax.eval_shape(lambda x: made(width=2).init(jax.random.key(0), x, train=True), x)
    assert set(variables) == {'params'}
    assert jax.tree.structure(variables['params']) == jax.tree.structure(batch['params'])


def test_cards_tell_the_network():
    model = {'width': 2, 'name': 'resenc3d', 'blocks': [1, 1], 'norm': 'group', 'epsilon': 1e-3}
    entries = {
        'network': 'classifier3d', 'parts': ['encoder', 'head'], 'in_channels': 1,
        'out_channels': 3, 'config': {'model': model | {'hidden': 0}},
    }  # fmt: skip
    made = models.from_card(Card.from_dict(entries))
    assert isinstance(made, models.ResEncClassifier3D) and made.divisor == 2
    assert (made.norm, made.epsilon, made.blocks) == ('group', 1e-3, (1, 1))
    for wrong, sentence in (
        ({'name': 'resenc'}, "name is 'resenc', expected one of null, unet3d"),
        ({'blocks': [0, 1]}, 'blocks is'),
        ({'norm': 'layer'}, "norm is 'layer', expected one of null, batch"),
        ({'name': 'unet2d'}, "name is 'unet2d', expected a network in 3D"),
    ):
        with pytest.raises(UserError, match=sentence):
            Card.from_dict(entries | {'config': {'model': model | wrong}})


@pytest.fixture(scope='module')
def run(make_config, tmp_path_factory):
    """The workdir of a pre-training of the residual encoder."""
    workdir = tmp_path_factory.mktemp('resenc')
    config = make_config(**RESENC, epochs=1, pictures=0)
    pretrain(config, workdir)
    return workdir


def test_a_pre_training_leaves_an_export_and_resumes(run, make_config, capsys):
    variables, card = load_export(run / 'export' / 'encoder_decoder')
    assert set(variables) == {'params'} and card.topology == 'resenc3d'
    assert models.from_card(card).norm == 'instance'
    pretrain(make_config(**RESENC, epochs=1, pictures=0), run)
    assert 'ResEncUNet3D, width 2' in capsys.readouterr().out


def test_both_target_tasks_start_from_it(run, make_target, capsys):
    target = make_target('seg', init=str(run), **RESENC, **{'model.deep_supervision': True})
    steps, start, state = begin(target)
    assert start.parts == ('encoder', 'decoder')
    after, _ = steps.train(state, batch_of(target))
    assert np.isfinite(np.concatenate([a.ravel() for a in jax.tree.leaves(after.params)])).all()
    steps, start, state = begin(make_target('cls', init=str(run), **RESENC))
    assert start.parts == ('encoder',) and set(state.params) == {'encoder', 'hidden', 'head'}


@pytest.mark.parametrize(('stages', 'levels'), [(2, 1), (3, 1), (4, 2), (6, 4)])
def test_all_levels_but_the_coarsest_answer_in_training(stages, levels):
    made = models.ResEncUNet3D(width=2, blocks=(1,) * stages, out_channels=3, deep_supervision=True)
    x = jax.ShapeDtypeStruct((1, 32, 32, 64, 1), jnp.float32)
    variables = jax.eval_shape(lambda x: made.init(jax.random.key(0), x, train=True), x)
    logits = jax.eval_shape(lambda v, x: made.apply(v, x, train=True), variables, x)
    assert [a.shape[1:] for a in logits] == [(32 >> n, 32 >> n, 64 >> n, 3) for n in range(levels)]


@pytest.mark.slow
def test_it_is_fine_tuned_to_a_metric(run, make_target, tmp_path):
    target = make_target('seg', init=str(run), **RESENC, epochs=20)
    (result,) = finetune(target, tmp_path)
    assert result['metrics']['dice'] > 0.3


@pytest.mark.parametrize(
    ('fields', 'sentence'),
    [
        ({}, 'config.model.name=resenc3d, config.model.norm=instance, config.model.blocks=1,1'),
        ({'model.name': 'resenc3d'}, r'--config.model.blocks=1,1$'),
        (RESENC | {'model.norm': 'group'}, r'this run has group; add --config.model.norm=instance'),
    ],
)
def test_another_network_cannot_start_from_it(run, make_target, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        check_init(make_target('seg', init=str(run), **fields))
