"""The PyTorch networks against ours and the published one; ONNX and nnU-Net files."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the PyTorch networks need PyTorch')

from genesis_jax import convert, models, transfer  # noqa: E402
from genesis_jax import torch as ours  # noqa: E402
from genesis_jax.errors import UserError  # noqa: E402
from genesis_jax.torch import nnunet  # noqa: E402
from genesis_jax.torch.pretrained import from_variables  # noqa: E402

PUBLISHED = 'official_unet3d_width4.pt'


def drawn(shapes):
    """Variables of random numbers."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        if len(leaf.shape) == 1:  # of which variances must be positive
            return rng.uniform(0.2, 1, leaf.shape).astype(np.float32)
        return rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, shapes)


def made(network='unet3d', channels=1, outputs=2, **model):
    """A Flax network, its variables of random numbers, and their card."""
    model = {'width': 2, **model}
    flax = models.make(network, model, out_channels=outputs)
    variables = drawn(transfer.shapes_of(flax, channels))
    known = ('encoder', 'decoder', 'hidden', 'head')
    parts = [part for part in known if part in variables['params']]
    card = {
        'network': network,
        'parts': parts,
        'in_channels': channels,
        'outputs': outputs,
        'cube_shape': [16, 16, 8, channels],
        'config': {'model': {**model, 'dtype': 'float32', 'remat': False}},
    }
    return flax, variables, card


def compare(flax, variables, network, x):
    expected = jax.jit(flax.predict)(variables, x)
    with torch.no_grad():
        found = network(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, atol=1e-5)


@pytest.fixture(scope='module')
def published(golden):
    return golden / PUBLISHED


@pytest.mark.parametrize('statistics', ['synchronised', 'official'])
@pytest.mark.parametrize('upsample', ['transpose', 'nearest'])
def test_the_u_net_computes_what_ours_computes(rng, statistics, upsample):
    flax, variables, card = made(
        channels=2, outputs=3, batch_statistics=statistics, upsample=upsample, epsilon=1e-3
    )
    x = rng.uniform(size=(2, 16, 24, 8, 2)).astype(np.float32)
    compare(flax, variables, from_variables(variables, card), x)


@pytest.mark.parametrize('hidden', [0, 5])
def test_the_classifier_computes_what_ours_computes(rng, hidden):
    flax, variables, card = made('classifier3d', outputs=3, hidden=hidden)
    network = from_variables(variables, card)
    assert isinstance(network, ours.Classifier3D)
    compare(flax, variables, network, rng.uniform(size=(2, 8, 16, 8, 1)).astype(np.float32))


@pytest.mark.parametrize('statistics, option', [('batch', 'official'), ('running', 'synchronised')])
def test_published_weights_give_the_published_outputs(published, golden, statistics, option):
    numbers = np.load(golden / 'official_unet3d_width4_io.npz')
    network = ours.UNet3D.from_pretrained(published, batch_statistics=option)
    x = torch.from_numpy(numbers['x'])
    with torch.no_grad():
        restored, bottleneck = torch.sigmoid(network(x)), network.encode(x)[-1]
    expected = [numbers[f'{name}_{statistics}_statistics'] for name in ('y', 'bottleneck')]
    np.testing.assert_allclose(restored, expected[0], atol=1e-5)
    np.testing.assert_allclose(bottleneck, expected[1], atol=1e-5)


def test_names_shapes_and_order_are_the_published_ones(published):
    file = torch.load(published, weights_only=True)['state_dict']
    expected = {name.removeprefix('module.'): tensor for name, tensor in file.items()}
    state = ours.UNet3D.from_pretrained(published).state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_an_export_becomes_a_network(tmp_path, rng):
    flax, variables, card = made()
    convert.write(tmp_path / 'export', variables, card, 'orbax')
    network = ours.from_pretrained(tmp_path / 'export')
    assert not network.training and network.card['cube_shape'] == [16, 16, 8, 1]
    compare(flax, variables, network, rng.uniform(size=(1, 8, 8, 16, 1)).astype(np.float32))


def test_batch_statistics_change_running_averages_in_training_only(published):
    network = ours.UNet3D.from_pretrained(published)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(torch.rand(2, 1, 16, 16, 16))
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    network.train()(torch.rand(2, 1, 16, 16, 16))
    assert not torch.equal(after['down_tr64.ops.0.bn1.running_mean'],
                           before['down_tr64.ops.0.bn1.running_mean'])  # fmt: skip


def test_new_parts_are_asked_for_and_told(published, capsys):
    network = ours.UNet3D.from_pretrained(published, out_channels=3, in_channels=2)
    assert capsys.readouterr().out.splitlines() == [
        f'from {published}: encoder and decoder',
        f'assumed, as {PUBLISHED} has no card: epsilon=1e-05, batch_statistics=official',
        'first kernel: 1 input channels there, 2 here: repeated and rescaled',
        'randomly initialised: head',
    ]
    told = {'epsilon': 1e-5, 'batch_statistics': 'official'}
    original = ours.UNet3D.from_pretrained(published, **told)
    assert capsys.readouterr().out == '' == ''.join(original.lines)
    x = torch.rand(1, 1, 16, 16, 16)
    alike = network.encode(x.expand(-1, 2, -1, -1, -1))
    for a, b in zip(alike, original.encode(x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)
    assert network(x.expand(-1, 2, -1, -1, -1)).shape[1] == 3


def test_a_classifier_starts_from_the_encoder_of_a_u_net(published, capsys):
    network = ours.Classifier3D.from_pretrained(published, out_channels=2, hidden=6)
    assert 'randomly initialised: hidden, head' in capsys.readouterr().out
    kernel = ours.UNet3D.from_pretrained(published).down_tr64.ops[0].conv1.weight
    assert torch.equal(network.down_tr64.ops[0].conv1.weight, kernel)


@pytest.mark.parametrize(
    'network, changes, message',
    [
        ('classifier3d', {}, r'no hidden and no head .* with hidden=N \(0: none\), out_channels=N'),
        ('classifier3d', {'hidden': 4}, 'no head for this classifier3d'),
        ('unet3d', {'width': 8}, 'width of .* cannot be changed to 8; a unet3d takes new_decoder'),
        ('unet3d', {'hidden': 8}, 'hidden of .* cannot be changed'),
        ('unet3d', {'new_decoder': True}, 'no head .* its new decoder; .* new with out_channels=N'),
        ('unet3d', {'out_channels': '3'}, "out_channels is '3'; expected a whole number from 1"),
        ('unet3d', {'out_channels': None}, 'out_channels is None; expected'),
        ('unet3d', {'out_channels': -1}, 'out_channels is -1; expected'),
        ('unet3d', {'out_channels': True}, 'out_channels is True; expected'),
        ('unet3d', {'in_channels': 0}, 'in_channels is 0; expected'),
        ('unet3d', {'in_channels': 2.0}, 'in_channels is 2.0; expected'),
        ('classifier3d', {'hidden': -1}, 'hidden is -1; expected a whole number from 0'),
        ('unet3d', {'epsilon': float('nan')}, 'epsilon is nan; expected a number from 0'),
        ('unet3d', {'batch_statistics': 'b'}, "is 'b'; expected one of synchronised, official"),
    ],
)
def test_what_is_missing_is_never_drawn_silently(published, network, changes, message):
    with pytest.raises(UserError, match=message):
        ours.from_pretrained(published, network=network, **changes)


@pytest.mark.parametrize('path', [None, 3])
def test_a_path_is_a_path(path):
    with pytest.raises(UserError, match='expected the path of a file or folder'):
        ours.from_pretrained(path)


@pytest.mark.parametrize(
    'kind, model',
    [
        ('unet3d', {'epsilon': 1e-3, 'upsample': 'nearest', 'batch_statistics': 'synchronised'}),
        ('classifier3d', {'hidden': 3, 'batch_statistics': 'official'}),
    ],
)
def test_what_is_saved_computes_the_same_again(kind, model, tmp_path, capsys):
    _, variables, card = made(kind, **model)
    convert.write(tmp_path / 'hub', variables, card | {'task': 'segmentation'}, 'hub')
    network = ours.from_pretrained(tmp_path / 'hub', out_channels=3, in_channels=2)
    x = torch.rand(2, 2, 16, 8, 8)
    network.train()(x)
    network.eval().save(tmp_path / 'tuned.pt')
    network.save(tmp_path / 'tuned.pt')  # once more, in its place
    capsys.readouterr()
    again = ours.from_pretrained(tmp_path / 'tuned.pt')
    assert capsys.readouterr().out == ''
    assert torch.equal(again(x), network(x))
    assert 'task' not in again.card and again.card['outputs'] == 3
    assert again.card['start'][-1] == 'randomly initialised: head'
    state = torch.load(tmp_path / 'tuned.pt', weights_only=True)['state_dict']
    expected = network.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert [file.name for file in tmp_path.iterdir() if file.suffix] == ['tuned.pt']


def test_a_head_of_ones_own_is_saved(published, tmp_path):
    network = ours.UNet3D.from_pretrained(published)
    network.out_tr.final_conv = torch.nn.Conv3d(8, 5, 1)
    network.save(tmp_path / 'new' / 'own.pt')
    assert ours.from_pretrained(tmp_path / 'new' / 'own.pt').out_channels == 5


def test_a_file_without_card_is_told_its_conventions(tmp_path, capsys):
    _, variables, card = made(epsilon=1e-3, upsample='nearest', batch_statistics='synchronised')
    network = from_variables(variables, card)
    torch.save(network.state_dict(), tmp_path / 'bare.pt')
    with pytest.raises(UserError, match='no card that tells the epsilon .* --epsilon=E, or call'):
        ours.from_pretrained(tmp_path / 'bare.pt')
    told = {'epsilon': 1e-3, 'batch_statistics': 'synchronised'}
    again = ours.from_pretrained(tmp_path / 'bare.pt', **told)
    x = torch.rand(2, 1, 16, 8, 8)
    assert torch.equal(again(x), network(x))
    assert capsys.readouterr().out == ''


def test_a_decoder_is_drawn_only_on_request(capsys):
    _, variables, card = made()
    variables = {name: {'encoder': tree['encoder']} for name, tree in variables.items()}
    card['parts'] = ['encoder']
    with pytest.raises(UserError, match='no decoder and no head for this unet3d'):
        from_variables(variables, card)
    network = from_variables(variables, card, new_decoder=True, out_channels=1)
    assert network.lines[-1] == 'randomly initialised: decoder, head'


def test_sides_must_divide_by_8():
    with pytest.raises(ValueError, match=r'every side must divide by 8, .* \(12, 16, 16\)'):
        ours.UNet3D(width=2)(torch.zeros(1, 1, 12, 16, 16))


def test_the_example_of_the_docs_runs(published, tmp_path, monkeypatch):
    docs = (Path(__file__).parents[1] / 'docs/convert.md').read_text()
    blocks = [block.split('```')[0] for block in docs.split('```python\n')[1:]]
    examples = [block for block in blocks if 'from genesis_jax.torch import' in block]
    assert examples
    monkeypatch.chdir(tmp_path)
    shutil.copy(published, 'Genesis_Chest_CT.pt')
    batch = torch.rand(2, 1, 16, 16, 8), torch.randint(3, (2, 16, 16, 8))
    for example in examples:
        exec(example.replace('range(100)', 'range(2)'), {'loader': [batch]})
    x, network = torch.rand(2, 1, 8, 16, 8), ours.from_pretrained('liver.pt').train()
    assert network(x).shape == (2, 3, 8, 16, 8)
    assert 'task' not in network.card


def test_no_jax_is_needed(published):
    program = (
        'import sys; from genesis_jax.torch import UNet3D; '
        f'UNet3D.from_pretrained({str(published)!r}, out_channels=2); '
        "sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    )
    subprocess.run([sys.executable, '-c', program], check=True)


@pytest.fixture(scope='module')
def for_nnunet(published, tmp_path_factory):
    path = tmp_path_factory.mktemp('nnunet') / 'genesis.pth'
    convert.convert(published, path, target_format='nnunet')
    return path


def nnunet_network(file, channels=1, classes=3, **options):
    """What nnU-Net builds from plans."""
    assert file['architecture']['network_class_name'] == nnunet.CLASS
    assert file['architecture']['_kw_requires_import'] == []
    kwargs = file['architecture']['arch_kwargs']
    return nnunet.GenesisPlainConvUNet(
        input_channels=channels, num_classes=classes, **kwargs, **options
    )


def test_nnunet_loads_all_but_its_last_layers(for_nnunet, published):
    file = torch.load(for_nnunet, weights_only=True)
    network = nnunet_network(file, deep_supervision=True).eval()
    state, weights = network.state_dict(), file['network_weights']
    skipped = [name for name in state if '.seg_layers.' in name]
    assert set(state) - set(weights) <= set(skipped)
    assert all(weights[name].shape == state[name].shape for name in state if name not in skipped)
    network.load_state_dict(state | {n: w for n, w in weights.items() if n not in skipped})

    x = torch.rand(2, 1, 16, 24, 8)
    with torch.no_grad():
        assert [y.shape[1:] for y in network(x)] == [(3, 16, 24, 8), (3, 8, 12, 4), (3, 4, 6, 2)]
        network.decoder.deep_supervision = False
        assert network(x).shape == (2, 3, 16, 24, 8)
        # nnU-Net's arrays are [Z, Y, X].
        whole = nnunet_network(file, classes=1, deep_supervision=True).eval()
        whole.load_state_dict(whole.state_dict() | weights)
        found = whole(x)[0].permute(0, 1, 4, 3, 2)
        expected = ours.UNet3D.from_pretrained(published)(x.permute(0, 1, 4, 3, 2))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_nnssl_loads_stem_and_stages_apart(for_nnunet):
    file = torch.load(for_nnunet, weights_only=True)
    plan, weights = file['nnssl_adaptation_plan'], file['network_weights']
    network = nnunet_network(file)
    for key in (plan['key_to_encoder'], plan['key_to_stem']):
        part = {n.removeprefix(f'{key}.'): w for n, w in weights.items() if n.startswith(key)}
        network.get_submodule(key).load_state_dict(part, strict=True)
    assert f'{plan["keys_to_in_proj"][0]}.weight' in weights
    assert plan['architecture_plans']['arch_class_name'].endswith('PlainConvUNet')


def test_plans_are_written_beside_those_of_nnunet(for_nnunet, tmp_path, capsys):
    path = tmp_path / 'nnUNetPlans.json'
    plans = {
        'plans_name': 'nnUNetPlans',
        'configurations': {'3d_fullres': {'patch_size': [32, 64, 64]}, '2d': {}},
    }
    path.write_text(json.dumps(plans))
    assert nnunet.main([str(for_nnunet), str(path)]) == 0
    written = json.loads((tmp_path / 'nnUNetPlans_genesis.json').read_text())
    assert written['plans_name'] == 'nnUNetPlans_genesis'
    (chosen,) = written['configurations'].values()
    assert chosen['architecture']['arch_kwargs']['strides'] == nnunet.STRIDES
    with pytest.raises(SystemExit):
        nnunet.main([str(for_nnunet), str(path)])
    assert 'exists already' in capsys.readouterr().err
    plans['configurations']['3d_fullres']['patch_size'] = [28, 64, 64]
    with pytest.raises(UserError, match='three sides that divide by 8; change patch_size'):
        nnunet.adapt_plans(plans, {})


class Harmful:
    def __reduce__(self):
        return print, ('harm done',)


@pytest.mark.parametrize(
    'swapped, weights, plans, message',
    [
        (False, Harmful(), {}, 'what could run code is not read; expected weights that python -m'),
        (False, {'a': torch.ones(2)}, {}, 'names no network for nnU-Net; expected weights that'),
        (False, None, [1], r'holds no plans \(AttributeError: .*\); expected nnUNetPlans.json'),
        (False, None, {'configurations': {'3d_fullres': {}}}, 'holds no plans .*patch_size'),
        (True, None, {}, 'plans.json is damaged, .* expected weights that python -m'),
    ],
)
def test_what_is_no_weights_and_plans_is_refused(
    swapped, weights, plans, message, for_nnunet, tmp_path, capsys
):
    files = [for_nnunet, tmp_path / 'plans.json']
    files[1].write_text(json.dumps(plans))
    if weights:
        files[0] = tmp_path / 'weights.pt'
        torch.save(weights, files[0])
    with pytest.raises(SystemExit):
        nnunet.main([str(file) for file in (files[::-1] if swapped else files)])
    said = capsys.readouterr()
    assert re.search(message, said.err) and said.err.count('\n') == 1 and said.out == ''


def test_nnunet_takes_u_nets_only(tmp_path):
    _, variables, card = made('classifier3d', hidden=0)
    with pytest.raises(UserError, match='this is a classifier3d; expected a U-Net'):
        convert.write(tmp_path / 'net.pth', variables, card, 'nnunet')
