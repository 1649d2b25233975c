"""nnU-Net's residual-encoder U-Net: its sizes, and the same outputs as that of its own package."""

import importlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax import convert, models
from genesis_jax.errors import UserError
from genesis_jax.models.resenc import ResEncClassifier3D, ResEncUNet3D

BLOCKS = (1, 2, 1)  # of three stages: sides divide by 4


def shapes(network, channels=1):
    x = jax.ShapeDtypeStruct(network.smallest_input(channels), jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=True), x)


def count(network, part=None):
    params = shapes(network)['params']
    return sum(leaf.size for leaf in jax.tree.leaves(params[part] if part else params))


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """The package's module, installed for these tests alone, without timm and its PyTorch."""
    pytest.importorskip('torch')
    folder, name = tmp_path_factory.mktemp('package'), 'dynamic-network-architectures==0.4.4'
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target']
    done = subprocess.run([*command, folder, name], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'{name} cannot be installed: {done.stderr.strip().splitlines()[-1]}')
    sys.path.append(str(folder))
    yield importlib.import_module('dynamic_network_architectures.architectures.unet')
    sys.path.remove(str(folder))


def theirs(package, width, blocks, classes, channels=1, norm='instance'):
    """The package's network, of random numbers."""
    import torch

    stages = len(blocks)
    network = package.ResidualEncoderUNet(
        channels,
        stages,
        [min(width * 2**stage, 10 * width) for stage in range(stages)],
        torch.nn.Conv3d,
        3,
        [1] + [2] * (stages - 1),
        list(blocks),
        classes,
        [1] * (stages - 1),
        True,
        {'instance': torch.nn.InstanceNorm3d, 'batch': torch.nn.BatchNorm3d}[norm],
        {'eps': 1e-5, 'affine': True},
        None,
        None,
        torch.nn.LeakyReLU,
        {'inplace': True},
    )
    generator = torch.Generator().manual_seed(0)
    for name, array in network.state_dict().items():
        if array.ndim == 1:  # of which scales and variances must be positive
            low = 0.0 if name.endswith('bias') else 0.5
            array.copy_(torch.rand(array.shape, generator=generator) * 0.5 + low)
    return network.eval()


def answers(network, x):
    """Of `[B, X, Y, Z, C]`, where the package has the axes Z, Y, X."""
    import torch

    with torch.no_grad():
        turned = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 4, 3, 2, 1)))
        return network(turned).numpy().transpose(0, 4, 3, 2, 1)


def test_the_default_is_nnunets_size_m_and_l():
    assert count(ResEncUNet3D()) == 102_348_193
    assert count(ResEncClassifier3D(), 'encoder') == count(ResEncUNet3D(), 'encoder')
    assert ResEncUNet3D().divisor == 32 and ResEncUNet3D(blocks=BLOCKS).divisor == 4


@pytest.mark.parametrize('norm', ('instance', 'batch'))
def test_parity_with_the_package_and_back(package, tmp_path, norm):
    import torch

    network = theirs(package, 3, BLOCKS, 3, 2, norm)
    state = {f'module._orig_mod.{n}': array for n, array in network.state_dict().items()}
    torch.save(state, tmp_path / 'theirs.pth')
    variables, card = convert.read(tmp_path / 'theirs.pth')
    assert card.network == 'unet3d' and card.topology == 'resenc3d'
    assert (card.model['blocks'], card.model['norm']) == ([*BLOCKS], norm)
    assert [name.split('.')[2] for name in card.source.left_out] == ['0', '0']
    ours = jax.jit(models.from_card(card).predict)
    for sides in ((8, 8, 8), (8, 12, 16)):
        x = np.random.default_rng(0).uniform(size=(2, *sides, 2)).astype(np.float32)
        expected = answers(network, x)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(ours(variables, x), expected, atol=1e-4)

    convert.write(tmp_path / 'back.pth', variables, card)
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['state_dict']
    again = theirs(package, 3, BLOCKS, 3, 2, norm)
    for array in again.state_dict().values():
        array.zero_()
    again.load_state_dict(back)
    np.testing.assert_array_equal(answers(again, x), expected)
    variables_again, _ = convert.read(tmp_path / 'back.pth')
    jax.tree.map(np.testing.assert_array_equal, variables, variables_again)


def drawn(blocks=BLOCKS, parts=('encoder', 'decoder', 'head'), **fields):
    """`(variables, card)` of a network of ours."""
    from genesis_jax.card import Card

    model = {'name': 'resenc3d', 'width': 2, 'blocks': [*blocks], 'epsilon': 1e-5}
    entries = {
        'network': 'unet3d', 'parts': [*parts], 'in_channels': 1, 'out_channels': 2,
        'config': {'model': model},
    }  # fmt: skip
    card = Card.from_dict(entries | fields)
    rng = np.random.default_rng(0)
    params = shapes(models.from_card(card))['params']
    draw = jax.tree.map(lambda leaf: rng.uniform(-1, 1, leaf.shape).astype(np.float32), params)
    return {'params': {part: draw[part] for part in card.parts}}, card


def test_blocks_start_as_their_shortcut():
    network = ResEncUNet3D(width=2, blocks=(1, 1))
    params = network.init(jax.random.key(0), jnp.zeros((1, 4, 4, 4, 1)), train=False)['params']
    block = params['encoder']['level_1']['block_0']
    assert not block['bn_1']['scale'].any() and block['bn_0']['scale'].all()
    assert block['shortcut_bn']['scale'].all() and params['encoder']['stem']['bn']['scale'].all()


def test_every_format_holds_it_and_gives_it_back(tmp_path):
    pytest.importorskip('torch')
    variables, card = drawn()
    source = tmp_path / 'export'
    convert.write(source, variables, card, 'orbax')
    for name, format in (('hub', 'hub'), ('net.pth', 'pytorch'), ('nn.pth', 'nnunet')):
        convert.convert(source, tmp_path / name, target_format=format)
        again, there = convert.read(tmp_path / name)
        jax.tree.map(np.testing.assert_array_equal, variables, again)
        assert there.model['blocks'] == [*BLOCKS] and there.parts == card.parts
    encoder, encoder_card = drawn(parts=('encoder',))
    convert.write(tmp_path / 'encoder.pth', encoder, encoder_card)
    again, there = convert.read(tmp_path / 'encoder.pth')
    jax.tree.map(np.testing.assert_array_equal, encoder, again)


def test_a_file_for_nnunet_has_its_names_and_the_plans_of_its_network(tmp_path):
    torch = pytest.importorskip('torch')
    variables, card = drawn()
    convert.write(tmp_path / 'nn.pth', variables, card, 'nnunet')
    file = torch.load(tmp_path / 'nn.pth', weights_only=True)
    names = set(file['network_weights'])
    for part in ('encoder.stages.1.blocks.1.conv2', 'decoder.encoder.stem.convs.0'):
        assert {f'{part}.conv.weight', f'{part}.all_modules.0.weight'} <= names
    plan = file['nnssl_adaptation_plan']['architecture_plans']
    assert plan['arch_class_name'].endswith('.ResidualEncoderUNet')
    assert plan['arch_kwargs']['n_blocks_per_stage'] == [*BLOCKS]
    kernel = file['network_weights']['encoder.stem.convs.0.conv.weight'].numpy()
    ours = variables['params']['encoder']['stem']['conv']['kernel']
    np.testing.assert_array_equal(kernel[1, 0], ours[..., 0, 1].T)  # Z, Y, X


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda s: s.pop('encoder.stages.1.blocks.1.conv2.conv.bias'), '3 arrays that differ from'),
        (
            lambda s: s.update({n: a[:3] for n, a in s.items() if 'stages.2' in n}),
            'and the channels 2, 4, 3; expected one in 3D of 2, 4, 8, as nnU-Net plans them',
        ),
        (
            lambda s: s.update({'encoder.stem.convs.0.all_modules.0.weight': 0 * s[FIRST]}),
            '1 arrays that differ from those under their other names (encoder.stem',
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(tmp_path, change, sentence):
    torch = pytest.importorskip('torch')
    variables, card = drawn()
    convert.write(tmp_path / 'net.pth', variables, card)
    state = torch.load(tmp_path / 'net.pth', weights_only=True)['state_dict']
    change(state)
    torch.save(state, tmp_path / 'changed.pth')
    with pytest.raises(UserError, match=re.escape(sentence)):
        convert.read(tmp_path / 'changed.pth')


FIRST = 'encoder.stem.convs.0.conv.weight'


def test_pytorch_has_its_own_class_for_it(tmp_path):
    pytest.importorskip('torch')
    from genesis_jax.torch import from_pretrained

    variables, card = drawn()
    convert.write(tmp_path / 'net.pth', variables, card)
    with pytest.raises(UserError, match=r'which is dynamic_network_architectures\.architectures'):
        from_pretrained(tmp_path / 'net.pth')
