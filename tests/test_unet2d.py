"""The 2D networks: sizes, scales, and what their options promise."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import target
from genesis_jax import models
from genesis_jax.models import Classifier2D, UNet2D
from genesis_jax.models.layers import max_pool_overlapping
from genesis_jax.models.resnet import ResNet18
from genesis_jax.training.layer_rates import make_scales


def shapes(model, channels=1):
    x = jax.ShapeDtypeStruct(model.smallest_input(channels), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=True), x)


def drawn(model, shape=(2, 32, 64, 1)):
    """Variables and a batch of random numbers; by NumPy, which compiles nothing."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        if len(leaf.shape) == 1:  # of which variances must be positive
            return rng.uniform(0.2, 1, leaf.shape).astype(np.float32)
        return rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, shapes(model)), rng.uniform(size=shape).astype(np.float32)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameter_counts():
    unet, classifier = shapes(UNet2D(), 3)['params'], shapes(Classifier2D(), 3)['params']
    assert count(unet['encoder']) == count(classifier['encoder']) == 11_176_512  # torchvision's
    assert count(shapes(UNet2D())['params']) == 15_818_401
    assert classifier['hidden']['kernel'].shape == (512, 1024)


def test_scales_of_the_encoder_and_sides_of_the_output():
    model = UNet2D(width=4, out_channels=3)
    variables, x = drawn(model)
    encoder = {name: tree['encoder'] for name, tree in variables.items()}
    scales = jax.eval_shape(ResNet18(4, model.make_norm(train=False)).apply, encoder, x)
    expected = [(16, 32, 4), (8, 16, 4), (4, 8, 8), (2, 4, 16), (1, 2, 32)]
    assert [scale.shape for scale in scales] == [(2, *shape) for shape in expected]
    assert jax.eval_shape(model.predict, variables, x).shape == (2, 32, 64, 3)
    probe = Classifier2D(width=4, hidden=0)
    assert jax.eval_shape(probe.predict, *drawn(probe)).shape == (2, 1)


def test_every_parameter_has_a_gradient():
    model = UNet2D(width=4)
    variables, x = drawn(model, (2, 64, 64, 1))

    @jax.jit
    def gradients(params):
        def loss(params):
            state = {**variables, 'params': params}
            logits, _ = model.apply(state, x, train=True, mutable=['batch_stats'])
            return jnp.mean((logits - x) ** 2)

        return jax.grad(loss)(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients(variables['params'])):
        # a bias before batch normalisation changes nothing
        if not (path[-1].key == 'bias' and path[-2].key == 'conv'):
            assert jnp.any(leaf != 0), path


def test_rematerialisation_and_narrow_numbers_change_little():
    plain = UNet2D(width=4)
    variables, x = drawn(plain)
    other = UNet2D(width=4, dtype='bfloat16', remat=True)
    assert shapes(other) == shapes(plain)
    expected, narrow = (jax.jit(model.predict)(variables, x) for model in (plain, other))
    assert narrow.dtype == jnp.float32
    assert 0 < np.abs(narrow - expected).mean() < 0.05 * np.abs(expected).mean()


def test_a_frozen_encoder_neither_learns_nor_changes_its_averages():
    model = Classifier2D(width=4, hidden=3, freeze='encoder')
    variables, x = drawn(model)

    def step(params):
        state = {**variables, 'params': params}
        logits, updated = model.apply(state, x, train=True, mutable=['batch_stats'])
        return jnp.sum(logits**2), updated['batch_stats']

    gradients, updated = jax.jit(jax.grad(step, has_aux=True))(variables['params'])
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradients['encoder']))
    assert jnp.any(gradients['head']['kernel'])
    jax.tree.map(np.testing.assert_array_equal, updated, variables['batch_stats'])


def test_overlapping_maxima(rng):
    x = rng.normal(size=(2, 8, 6, 3)).astype(np.float32) - 3  # (all below 0: no zeros come in)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = np.stack(
        [
            [padded[:, i : i + 3, j : j + 3].max((1, 2)) for j in range(0, 6, 2)]
            for i in range(0, 8, 2)
        ]
    )
    np.testing.assert_array_equal(max_pool_overlapping(x), np.moveaxis(expected, 2, 0))


def test_accelerators_get_nothing_that_scatters():
    model = UNet2D(width=4)

    def loss(variables, x):
        return model.apply(variables, x, train=True, mutable=['batch_stats'])[0].sum()

    x = jax.ShapeDtypeStruct((2, 32, 32, 1), jnp.float32)
    program = jax.export.export(jax.jit(jax.grad(loss)), platforms=['cuda'])(shapes(model), x)
    module = program.mlir_module()
    assert 'stablehlo.convolution' in module
    assert not re.findall(r'stablehlo\.(scatter|select_and_scatter|sort)\b', module)


def test_levels_learn_more_slowly_towards_the_stem():
    config = target.get_config('segmentation')
    config.layer_decay = 0.5
    factors = make_scales(config, shapes(UNet2D(width=4))['params'], (), 2)(0)
    places = {
        'encoder/stem/conv/kernel': 10,
        'encoder/level_1/block_0/bn_1/scale': 9,
        'encoder/level_4/block_1/conv_0/kernel': 6,
        'decoder/up_3/kernel': 5,
        'decoder/level_0/block_0/conv/bias': 2,
        'decoder/level_last/block_0/conv/bias': 1,
        'head/kernel': 0,
    }
    for name, behind in places.items():
        found = factors
        for key in name.split('/'):
            found = found[key]
        assert found == 0.5**behind, name
    params = shapes(Classifier2D(width=4))['params']
    factors = make_scales(config, params, (), 2)(0)
    assert factors['encoder']['stem']['conv']['kernel'] == 0.5**5
    assert factors['hidden']['kernel'] == factors['head']['kernel'] == 1


def test_names_of_networks():
    assert models.name_of('restoration', 2) == models.name_of('segmentation', 2) == 'unet2d'
    assert models.name_of('multilabel', 2) == 'classifier2d'
    assert models.name_of('classification', 3) == 'classifier3d'
    for name, kinds in models.NETWORKS.items():
        assert {made.topology for made in kinds.values()} == {name}
        assert {made().dimensions for made in kinds.values()} == {int(name[-2])}


def test_sides_that_do_not_divide_by_32_are_refused():
    with pytest.raises(ValueError, match=r'five times, .* 32, .* \(48, 32\); use .* \(64, 32\)'):
        jax.eval_shape(
            lambda: UNet2D().init(jax.random.key(0), jnp.zeros((1, 48, 32, 1)), train=True)
        )
