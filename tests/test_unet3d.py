"""The 3D U-Net against the published network, and what its options promise."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax.models import UNet3D
from genesis_jax.models.layers import max_pool, upsample_nearest


def count(model, channels=1):
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 16, channels)), train=True)
    )
    return sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))


def initialised(model, shape=(2, 16, 16, 8, 1)):
    x = jax.random.uniform(jax.random.key(1), shape)
    return jax.jit(lambda: model.init(jax.random.key(0), x, train=True))(), x


def test_parameter_counts_are_the_published_ones(golden):
    keys = json.loads((golden / 'official_unet3d_keys.json').read_text())
    trained = [np.prod(s) for n, s in keys.items() if 'running' not in n and 'num_batches' not in n]
    assert count(UNet3D()) == sum(map(int, trained)) == 19_073_665
    assert count(UNet3D(upsample='nearest')) == 16_320_257


def published_variables(state_dict):
    """The published state dict as variables of `UNet3D`, moved by hand."""
    weights = {name.removeprefix('module.'): t.numpy() for name, t in state_dict.items()}

    def block(name):
        return (
            {
                'conv': {
                    'kernel': weights[f'{name}.conv1.weight'].transpose(2, 3, 4, 1, 0),
                    'bias': weights[f'{name}.conv1.bias'],
                },
                'bn': {'scale': weights[f'{name}.bn1.weight'], 'bias': weights[f'{name}.bn1.bias']},
            },
            {
                'bn': {
                    'mean': weights[f'{name}.bn1.running_mean'],
                    'var': weights[f'{name}.bn1.running_var'],
                }
            },
        )

    params, stats = {'encoder': {}, 'decoder': {}}, {'encoder': {}, 'decoder': {}}
    for level, name in enumerate(('down_tr64', 'down_tr128', 'down_tr256', 'down_tr512')):
        blocks = [block(f'{name}.ops.{i}') for i in range(2)]
        for tree, part in zip((params, stats), zip(*blocks, strict=True), strict=True):
            tree['encoder'][f'level_{level}'] = {f'block_{i}': b for i, b in enumerate(part)}
    for level, name in enumerate(('up_tr64', 'up_tr128', 'up_tr256')):
        blocks = [block(f'{name}.ops.{i}') for i in range(2)]
        for tree, part in zip((params, stats), zip(*blocks, strict=True), strict=True):
            tree['decoder'][f'level_{level}'] = {f'block_{i}': b for i, b in enumerate(part)}
        params['decoder'][f'up_{level}'] = {
            'kernel': weights[f'{name}.up_conv.weight'].transpose(2, 3, 4, 0, 1),
            'bias': weights[f'{name}.up_conv.bias'],
        }
    params['head'] = {
        'kernel': weights['out_tr.final_conv.weight'].transpose(2, 3, 4, 1, 0),
        'bias': weights['out_tr.final_conv.bias'],
    }
    return {'params': params, 'batch_stats': stats}


@pytest.mark.parametrize('statistics, option', [('batch', 'official'), ('running', 'synchronised')])
def test_published_weights_give_the_published_outputs(golden, statistics, option):
    torch = pytest.importorskip('torch', reason='reading the published .pt file needs PyTorch')
    file = torch.load(golden / 'official_unet3d_width4.pt', weights_only=True)
    variables = published_variables(file['state_dict'])
    numbers = np.load(golden / 'official_unet3d_width4_io.npz')
    model = UNet3D(width=4, batch_statistics=option)
    expected_tree = jax.tree.structure(jax.eval_shape(lambda: initialised(model)[0]))
    assert jax.tree.structure(variables) == expected_tree

    x = jnp.moveaxis(numbers['x'], 1, -1)
    logits, captured = jax.jit(
        lambda v, x: model.apply(
            v, x, train=False, mutable=['batch_stats'], capture_intermediates=_is_encoder
        )
    )(variables, x)
    restored = jnp.moveaxis(jax.nn.sigmoid(logits), -1, 1)
    np.testing.assert_allclose(restored, numbers[f'y_{statistics}_statistics'], atol=1e-4)
    bottleneck = captured['intermediates']['encoder']['__call__'][0][-1]
    np.testing.assert_allclose(
        jnp.moveaxis(bottleneck, -1, 1),
        numbers[f'bottleneck_{statistics}_statistics'],
        atol=1e-4,
    )


def _is_encoder(module, _):
    return module.name == 'encoder'


def test_official_statistics_are_those_of_the_batch_even_in_evaluation():
    model = UNet3D(width=2, batch_statistics='official')
    variables, x = initialised(model)
    both, alone = _both_and_alone(model, variables, x)
    assert not np.allclose(both[:1], alone, atol=1e-4)
    both, alone = _both_and_alone(UNet3D(width=2), variables, x)
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)


@partial(jax.jit, static_argnums=0)
def _both_and_alone(model, variables, x):
    return model.predict(variables, x), model.predict(variables, x[:1])


def test_pooling_and_upsampling():
    x = jnp.arange(2 * 4 * 6.0).reshape(1, 4, 6, 2)
    pooled = max_pool(x)
    assert pooled.shape == (1, 2, 3, 2)
    assert pooled[0, 1, 2, 0] == x[0, 2:4, 4:6, 0].max()
    np.testing.assert_array_equal(max_pool(upsample_nearest(x)), x)


def test_the_gradient_of_pooling_goes_to_the_maxima():
    x = jax.random.permutation(jax.random.key(0), jnp.arange(4 * 4 * 6.0)).reshape(1, 4, 4, 6, 1)
    gradient = jax.grad(lambda x: max_pool(x).sum())
    np.testing.assert_array_equal(gradient(x), x == upsample_nearest(max_pool(x)))
    np.testing.assert_array_equal(gradient(jnp.zeros_like(x)), jnp.full_like(x, 1 / 8))  # shared


def test_rematerialisation_changes_no_result():
    plain, remat = UNet3D(width=2), UNet3D(width=2, remat=True)
    variables, x = initialised(plain)

    def gradients(model):
        def loss(params):
            stats = variables['batch_stats']
            return jnp.mean(
                model.apply({'params': params, 'batch_stats': stats}, x, train=False) ** 2
            )

        return jax.jit(jax.grad(loss))(variables['params'])

    for a, b in zip(*map(jax.tree.leaves, map(gradients, (plain, remat))), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_bfloat16_computes_narrow_but_keeps_wide():
    model = UNet3D(width=4, dtype='bfloat16', out_channels=3)
    variables, x = initialised(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    step = jax.jit(
        lambda m, v, x: m.apply(v, x, train=True, mutable=['batch_stats']), static_argnums=0
    )
    logits, updated = step(model, variables, x)
    assert logits.shape == (*x.shape[:-1], 3) and logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == {jnp.dtype('float32')}
    wide = step(UNet3D(width=4, out_channels=3), variables, x)
    assert 0 < np.abs(logits - wide[0]).mean() < 0.05 * np.abs(wide[0]).mean()


def test_sides_that_do_not_divide_by_8_are_refused():
    with pytest.raises(ValueError, match=r'divide by 8, but the sides are \(16, 12, 8\)'):
        jax.eval_shape(
            lambda: UNet3D().init(jax.random.key(0), jnp.zeros((1, 16, 12, 8, 1)), train=True)
        )
