"""Steps of a fine-tuning: what they start from, what learns at which rate, on every device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tuned import batch_of, begin, changed

from genesis_jax import parallel
from genesis_jax.checkpoints import export, load_export
from genesis_jax.errors import UserError
from genesis_jax.training.layer_rates import make_scales
from genesis_jax.training.steps import make_network, merge
from genesis_jax.transfer import shapes_of


def _flat(batch):
    return {name: np.concatenate(values) for name, values in batch.items()}


def test_training_learns(make_target):
    """Balls against noise is easy: both losses fall by a quarter in sixty steps."""
    for name in ('seg', 'cls'):
        config = make_target(name)
        steps, _, state = begin(config)
        batch = batch_of(config)
        losses = []
        for _ in range(60):
            state, metrics = steps.train(state, batch)
            losses.append(float(metrics['loss']))
        assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5]), (name, losses)


def test_what_is_loaded_is_there_and_what_is_not_is_new(make_target, pretrained):
    for transfer, parts in (('encoder', {'encoder'}), ('encoder_decoder', {'encoder', 'decoder'})):
        _, start, state = begin(make_target('seg', init=str(pretrained), transfer=transfer))
        _, _, scratch = begin(make_target('seg'))
        there, _ = load_export(pretrained / 'export' / 'encoder_decoder')
        assert set(start.parts) == parts
        for part in ('encoder', 'decoder', 'head'):
            source = there['params'] if part in parts else scratch.params
            jax.tree.map(np.testing.assert_array_equal, state.params[part], source[part])
        said = ' '.join(start.lines)
        assert 'head' in said and ('decoder' in said.partition('initialised')[2]) == (
            len(parts) == 1
        )


def test_the_first_kernel_answers_constant_images_as_before(pretrained, make_target):
    _, start, _ = begin(make_target('many', init=str(pretrained)))
    there, _ = load_export(pretrained / 'export' / 'encoder')
    old, new = (
        tree['params']['encoder']['level_0']['block_0']['conv']['kernel']
        for tree in (there, start.variables)
    )
    assert new.shape[-2] == 2
    np.testing.assert_allclose(new.sum(axis=(0, 1, 2, 3)), old.sum(axis=(0, 1, 2, 3)), atol=1e-6)


def test_an_export_of_another_architecture_is_refused_with_all_names(
    make_target, pretrained, tmp_path
):
    variables, card = load_export(pretrained / 'export' / 'encoder_decoder')
    del variables['params']['encoder']['level_1']['block_0']['conv']['bias']
    variables['params']['decoder']['extra'] = np.zeros(3)
    variables['params']['encoder']['level_2']['block_1']['bn']['scale'] = np.zeros(5)
    export(tmp_path / 'other', variables, ('encoder', 'decoder'), card)
    with pytest.raises(UserError) as raised:
        begin(make_target('seg', init=str(tmp_path / 'other')))
    for words in ('1 missing', 'block_0/conv/bias', '1 unexpected', 'extra', 'is (5,), expected'):
        assert words in str(raised.value)


def test_merge_takes_whole_parts():
    fresh = {'params': {'a': {'w': 1}, 'b': {'w': 2}}, 'batch_stats': {'a': {'m': 3}}}
    loaded = {'params': {'a': {'w': 9}}, 'batch_stats': {'a': {'m': 8}}}
    assert merge(fresh, loaded) == {
        'params': {'a': {'w': 9}, 'b': {'w': 2}},
        'batch_stats': {'a': {'m': 8}},
    }
    assert merge(fresh, {}) == fresh


@pytest.mark.parametrize(
    ('name', 'freeze'), [('seg', 'encoder'), ('seg', 'encoder_decoder'), ('cls', 'encoder')]
)
def test_what_is_frozen_stays_as_it_was(name, freeze, make_target, pretrained):
    config = make_target(name, init=str(pretrained), freeze=freeze, optimizer__name='adamw')
    config.optimizer.weight_decay = 0.1
    steps, _, state = begin(config)
    before = jax.device_get(state.variables)
    state, _ = steps.train(state, batch_of(config))
    after = jax.device_get(state.variables)
    frozen = set(freeze.split('_'))
    assert changed(before['params'], after['params']) == set(before['params']) - frozen
    assert not changed(before['batch_stats'], after['batch_stats']) & frozen


def test_a_linear_probe_has_no_hidden_layer(make_target, pretrained):
    config = make_target('cls', init=str(pretrained), freeze='encoder', model__hidden=0)
    _, _, state = begin(config)
    assert set(state.params) == {'encoder', 'head'}
    assert state.params['head']['kernel'].shape == (2 * 2 * 2**3, 1)


def test_the_head_warms_up_before_the_rest(make_target, pretrained):
    config = make_target('seg', init=str(pretrained), transfer='encoder', head_warmup_epochs=1)
    steps, _, state = begin(config)
    batch = batch_of(config)
    for step in range(3):  # two steps an epoch
        before = jax.device_get(state.params)
        state, _ = steps.train(state, batch)
        learned = changed(before, jax.device_get(state.params))
        assert learned == ({'decoder', 'head'} if step < 2 else {'encoder', 'decoder', 'head'})


def test_layers_learn_at_rates_that_fall_towards_the_input(make_target):
    rates = {}
    for name in ('seg', 'cls'):
        config = make_target(name, layer_decay=0.5)
        params = shapes_of(make_network(config, 1), 1)['params']
        scales = make_scales(config, params, (), 2)(0)
        for part, tree in scales.items():
            for level, leaves in tree.items():
                rates[f'{name}/{part}/{level}'] = float(jax.tree.leaves(leaves)[0])
    assert [rates[f'seg/encoder/level_{i}'] for i in range(4)] == [2.0**-n for n in (7, 6, 5, 4)]
    assert [rates[f'seg/decoder/level_{i}'] for i in (2, 1, 0)] == [2.0**-n for n in (3, 2, 1)]
    assert rates['seg/decoder/up_2'] == 2.0**-3 and rates['seg/head/kernel'] == 1
    assert [rates[f'cls/encoder/level_{i}'] for i in range(4)] == [2.0**-n for n in (4, 3, 2, 1)]
    assert rates['cls/hidden/kernel'] == rates['cls/head/kernel'] == 1
    assert make_scales(make_target('seg'), params, (), 2) is None


def test_padding_of_the_last_validation_batch_does_not_count(make_target):
    config = make_target('seg')
    steps, _, state = begin(config)
    batch = {k: np.asarray(v) for k, v in jax.device_get(batch_of(config)).items()}
    flat = _flat(batch)
    whole, _ = steps.evaluate(state, parallel.shard(flat))
    padded = flat | {
        'cube': np.concatenate([flat['cube'][:2], flat['cube'][:2] * 0]),
        'mask': np.concatenate([flat['mask'][:2], flat['mask'][:2] * 0 + 1]),
        'weight': np.float32([1, 1, 0, 0]),
    }
    part, _ = steps.evaluate(state, parallel.shard(padded))
    rest = flat | {'weight': np.float32([0, 0, 1, 1])}
    others, _ = steps.evaluate(state, parallel.shard(rest))
    for name in whole:
        np.testing.assert_allclose(part[name] + others[name], whole[name], rtol=1e-4)
    assert float(part['examples']) == 2


def test_training_augments_and_turns_masks_with_cubes(make_target, monkeypatch, new_programs):
    calls = []

    def recorded(keys, patches, masks, **options):
        calls.append((patches.shape, masks.shape, options))
        return jnp.zeros_like(patches), jnp.ones_like(masks)

    monkeypatch.setattr('genesis_jax.training.steps.augment_batch', recorded)
    config = make_target('seg', augment__noise_sd=0.25)
    steps, _, state = begin(config)
    _, metrics = steps.train(state, batch_of(config))
    assert calls[0] == ((1, 16, 16, 16, 1), (1, 16, 16, 16), config.augment.to_dict())
    # A network whose logits are all alike on an empty patch, and a mask of foreground only.
    assert 0 < float(metrics['loss']) < 0.7


@pytest.mark.parametrize('name', ['seg', pytest.param('cls', marks=pytest.mark.slow)])
def test_one_device_and_four_take_the_same_step(name, make_target):
    """Loss, gradients and statistics are those of the whole batch."""
    config = make_target(name)
    steps, _, state = begin(config)
    batch = jax.device_get(batch_of(config))
    after, metrics = steps.train(state, parallel.shard(_flat(batch)))
    one = jax.pmap(
        steps._train,
        parallel.AXIS,
        in_axes=(None, 0),
        out_axes=None,
        devices=jax.devices()[:1],
    )
    _, _, state = begin(config)
    alone, expected = one(jax.device_get(state), jax.tree.map(lambda x: x[None], _flat(batch)))
    np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-5)
    np.testing.assert_allclose(metrics['gradient_norm'], expected['gradient_norm'], rtol=1e-3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        jax.device_get(after.batch_stats),
        jax.device_get(alone.batch_stats),
    )
