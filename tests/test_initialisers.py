"""New weights: their spread is that of the frameworks whose defaults they follow."""

import jax
import numpy as np
import pytest

from configs import genesis_ct
from genesis_jax.config import resolve
from genesis_jax.models import Classifier3D, UNet3D
from genesis_jax.models.initialisers import redraw
from genesis_jax.pretrain import make_steps
from genesis_jax.transfer import shapes_of

NETWORK = UNet3D(width=8)


def drawn(initialiser, network=NETWORK, seed=0):
    shapes = shapes_of(network, 1)['params']
    zeros = jax.tree.map(lambda array: np.zeros(array.shape, np.float32), shapes)
    return redraw(zeros, jax.random.key(seed), initialiser)


@pytest.mark.parametrize(
    ('initialiser', 'factor'),
    [('torch', lambda i, o: 1 / np.sqrt(6)), ('glorot', lambda i, o: np.sqrt(i / (i + o)))],
)
def test_kernels_spread_as_in_the_published_networks(initialiser, factor):
    params = drawn(initialiser)
    block = params['encoder']['level_2']['block_1']
    shape = block['conv']['kernel'].shape
    he = np.sqrt(2 / np.prod(shape[:-1]))
    expected = he * factor(*shape[-2:])
    assert np.std(block['conv']['kernel']) == pytest.approx(expected, rel=0.02)
    if initialiser == 'torch':
        assert np.std(block['conv']['kernel']) / he == pytest.approx(0.41, abs=0.01)
    assert np.any(block['conv']['bias']) == (initialiser == 'torch')
    assert not np.any(block['bn']['bias'])  # normalisations keep what they had


def test_torch_is_what_pytorch_draws():
    torch = pytest.importorskip('torch')
    params = drawn('torch')
    torch.manual_seed(0)
    conv, up = params['encoder']['level_2']['block_1']['conv'], params['decoder']['up_2']
    for ours, module in (
        (conv, torch.nn.Conv3d(*conv['kernel'].shape[-2:], 3)),
        (up, torch.nn.ConvTranspose3d(*up['kernel'].shape[-2:], 2, stride=2)),
    ):
        for mine, theirs in ((ours['kernel'], module.weight), (ours['bias'], module.bias)):
            theirs = theirs.detach().numpy()
            assert np.abs(mine).max() == pytest.approx(np.abs(theirs).max(), rel=0.06)
        assert np.std(ours['kernel']) == pytest.approx(
            np.std(module.weight.detach().numpy()), rel=0.03
        )


def test_draws_depend_on_seed_and_path_alone():
    one, again, other = (drawn('glorot', seed=seed) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    kernels = [tree['encoder']['level_0']['block_1']['conv']['kernel'] for tree in (one, other)]
    assert np.any(kernels[0] != kernels[1])
    classifier = drawn('glorot', Classifier3D(width=8))
    jax.tree.map(np.testing.assert_array_equal, one['encoder'], classifier['encoder'])
    head = classifier['hidden']
    limit = np.sqrt(6 / sum(head['kernel'].shape))
    assert np.abs(head['kernel']).max() == pytest.approx(limit, rel=0.01)


def test_he_is_what_the_modules_draw():
    params = {'head': {'kernel': np.ones((1, 1, 1, 2, 1)), 'bias': np.zeros(1)}}
    assert redraw(params, jax.random.key(0), 'he') is params


def test_a_run_draws_as_its_config_says():
    config = resolve(genesis_ct.get_config(), devices=jax.device_count())
    config.model.width = 4
    spreads = {}
    for config.model.init in ('he', 'torch', 'glorot'):
        state = make_steps(config, (16, 16, 16, 1), 1).init(0)
        kernel = state.params['encoder']['level_2']['block_1']['conv']['kernel']
        spreads[config.model.init] = float(np.std(kernel))
    assert spreads['torch'] / spreads['he'] == pytest.approx(0.41, abs=0.02)
    assert spreads['glorot'] / spreads['he'] == pytest.approx(1 / 3**0.5, abs=0.02)
