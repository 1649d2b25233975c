"""The 2D networks travel: to PyTorch, safetensors, ONNX and back, exactly."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

torch = pytest.importorskip('torch', reason='PyTorch files need PyTorch')

from genesis_jax import convert, models, transfer  # noqa: E402
from genesis_jax import torch as ours  # noqa: E402
from genesis_jax.card import Card  # noqa: E402
from genesis_jax.checkpoints import load_export  # noqa: E402
from genesis_jax.convert import model_card, names  # noqa: E402
from genesis_jax.convert.__main__ import describe, main  # noqa: E402
from genesis_jax.errors import UserError  # noqa: E402
from genesis_jax.runs.cards import load_model  # noqa: E402
from genesis_jax.torch.pretrained import from_variables  # noqa: E402

KINDS = {  # network, channels, outputs, model
    'restores': ('unet2d', 1, 1, {}),
    'segments': ('unet2d', 3, 4, {'upsample': 'nearest', 'epsilon': 1e-3}),
    'of_the_batch': ('unet2d', 1, 2, {'batch_statistics': 'official'}),
    'finds': ('classifier2d', 1, 8, {'hidden': 6}),
    'probes': ('classifier2d', 2, 1, {'hidden': 0}),
}


def make(kind, parts=None):
    """A network of ours, its variables of random numbers, and their card."""
    name, channels, outputs, model = KINDS[kind]
    model = {'width': 4, 'epsilon': 1e-5, 'batch_statistics': 'synchronised'} | model
    network = models.make(name, model, out_channels=outputs)
    rng = np.random.default_rng(0)

    def draw(leaf):
        if len(leaf.shape) == 1:  # of which variances must be positive
            return rng.uniform(0.2, 1, leaf.shape).astype(np.float32)
        return rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(np.float32)

    variables = jax.tree.map(draw, transfer.shapes_of(network, channels))
    order = ('encoder', 'decoder', 'hidden', 'head')
    parts = parts or [part for part in order if part in variables['params']]
    variables = {n: {p: t for p, t in tree.items() if p in parts} for n, tree in variables.items()}
    card = {
        'network': name,
        'parts': parts,
        'task': 'segmentation' if name == 'unet2d' else 'multilabel',
        'classes': [f'class_{i}' for i in range(max(2, outputs))],
        'outputs': outputs,
        'in_channels': channels,
        'cube_shape': [32, 64, channels],
        'channels': ['grey'] * channels,
        'modality': 'other',
        'spacing': [1.0, 1.0],
        'window': None,
        'config': {'dimensions': 2, 'model': model},
        'step': 3,
    }
    return network, variables, Card.from_dict(card)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('kind', KINDS)
def test_there_and_back_is_exact_and_keeps_the_card(kind, tmp_path):
    _, variables, card = make(kind)
    convert.write(tmp_path / 'ours', variables, card, 'orbax')
    for source, target in (('ours', 'a.pt'), ('a.pt', 'b'), ('b', 'hub'), ('hub', 'c')):
        convert.convert(tmp_path / source, tmp_path / target)
    for name in ('a.pt', 'b', 'hub', 'c'):
        same(convert.read(tmp_path / name)[0], variables)
    found, told = load_model(tmp_path / 'c')
    same(found, variables)
    assert told == card

    # The names alone say as much about the network as its card did.
    state = torch.load(tmp_path / 'a.pt', weights_only=True)['state_dict']
    torch.save(state, tmp_path / 'names.pt')
    found, guessed = convert.read(tmp_path / 'names.pt')
    same(found, variables)
    for field in ('network', 'parts', 'in_channels', 'outputs'):
        assert guessed[field] == card[field]
    model = guessed['config']['model']
    for field in {'upsample', 'hidden'} & card['config']['model'].keys():
        assert model[field] == card['config']['model'][field]
    assert (model['epsilon'], model['batch_statistics']) == (1e-5, 'synchronised')
    assert guessed['assumed'] == ['epsilon', 'batch_statistics']


@pytest.mark.parametrize('kind', KINDS)
def test_pytorch_computes_what_jax_computes(kind, rng):
    flax, variables, card = make(kind)
    network = from_variables(variables, card)
    assert type(network) is (ours.UNet2D if 'decoder' in card['parts'] else ours.Classifier2D)
    x = rng.uniform(size=(2, 64, 32, card['in_channels'])).astype(np.float32)
    expected = jax.jit(flax.predict)(variables, x)
    with torch.no_grad():
        found = network(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, atol=1e-4)


def test_names_and_order_are_those_of_the_pytorch_network():
    for kind in KINDS:
        _, variables, card = make(kind)
        state = from_variables(variables, card).state_dict()
        rows = names.rows(card)
        assert [n for n in state if not n.endswith(names.COUNTER)] == [row.name for row in rows]
    assert {name.split('.')[0] for name in state} == {
        'conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4', 'dense_2',
    }  # fmt: skip
    unet = ours.UNet2D()
    levels = [name for name, _ in unet.named_children() if name.startswith('up_')]
    assert levels == ['up_layer3', 'up_layer2', 'up_layer1', 'up_layer0', 'up_last']
    assert sum(p.numel() for p in unet.parameters()) == 15_818_401


def test_what_is_trained_in_pytorch_comes_back(tmp_path, capsys):
    _, variables, card = make('restores')
    convert.write(tmp_path / 'a.pt', variables, card)
    network = ours.UNet2D.from_pretrained(tmp_path / 'a.pt', out_channels=2, in_channels=3)
    assert 'first kernel: 1 input channels there, 3 here: repeated' in capsys.readouterr().out
    x = torch.rand(2, 3, 32, 64)
    network.train()(x).sum().backward()
    network.eval().save(tmp_path / 'tuned.pt')
    again = ours.from_pretrained(tmp_path / 'tuned.pt')
    assert capsys.readouterr().out == '' and torch.equal(again(x), network(x))
    found, told = convert.read(tmp_path / 'tuned.pt')
    logits = jax.jit(models.from_card(told).predict)(found, np.moveaxis(x.numpy(), 1, -1))
    expected = np.moveaxis(network(x).detach().numpy(), 1, -1)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize(
    'kind',
    ['restores', *(pytest.param(k, marks=pytest.mark.slow) for k in ('of_the_batch', 'finds'))],
)
def test_onnx_takes_any_batch_and_sides(kind, tmp_path):
    reason = 'ONNX files need its packages'
    onnxruntime = pytest.importorskip('onnxruntime', reason=reason)
    pytest.importorskip('onnxscript', reason=reason)
    _, variables, card = make(kind)
    convert.write(tmp_path / 'net.onnx', variables, card)
    session = onnxruntime.InferenceSession(tmp_path / 'net.onnx')
    assert json.loads(session.get_modelmeta().custom_metadata_map['genesis_jax']) == card
    network = from_variables(variables, card)
    for shape in ((1, 1, 96, 32), (3, 1, 64, 64)):
        x = torch.rand(shape)
        (found,) = session.run(['logits'], {'cubes': x.numpy()})
        np.testing.assert_allclose(found, network(x).detach(), atol=1e-4)


@pytest.mark.slow
def test_onnx_in_float16(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime', reason='ONNX files need its packages')
    pytest.importorskip('onnxscript', reason='ONNX files need its packages')
    _, variables, card = make('probes')
    convert.write(tmp_path / 'net.onnx', variables, card, dtype='float16')
    x = torch.rand(1, 2, 64, 32)
    (found,) = onnxruntime.InferenceSession(tmp_path / 'net.onnx').run(None, {'cubes': x.numpy()})
    np.testing.assert_allclose(found, from_variables(variables, card)(x).detach(), atol=3e-2)


def test_what_is_for_3d_refuses_2d_by_name(tmp_path):
    _, variables, card = make('restores')
    with pytest.raises(UserError, match=r'in 3D, and this is a unet2d; expected a U-Net \(unet3d'):
        convert.write(tmp_path / 'net.pth', variables, card, 'nnunet')
    with pytest.raises(UserError, match='holds a unet2d, whose encoder fits no unet3d'):
        from_variables(variables, card, 'unet3d')
    with pytest.raises(UserError, match='expected three whole numbers: X, Y and channels'):
        convert.write(tmp_path / 'net.pt', variables, {**card, 'cube_shape': [32, 32, 32, 1]})
    with pytest.raises(ValueError, match=r'divide by 32, .* \(32, 48\)'):
        ours.UNet2D(width=4)(torch.zeros(1, 1, 32, 48))


def test_a_checkpoint_of_a_2d_training_is_read(tmp_path):
    for kind, task in (('segments', 'segmentation'), ('finds', 'multilabel')):
        _, variables, card = make(kind)
        config = {**card['config'], 'task': task}
        step = tmp_path / kind / 'checkpoints' / '7'
        ocp.save(step, {**variables, 'step': np.array(7)})
        (tmp_path / kind / 'config.json').write_text(json.dumps({'config': config}))
        found, told = convert.read(step)
        same(found, variables)
        fields = ('network', 'parts', 'in_channels', 'outputs')
        assert {n: told[n] for n in fields} == {n: card[n] for n in fields}


def test_cards_speak_of_2d(tmp_path, capsys):
    _, variables, card = make('finds')
    assert describe(variables, card).startswith('2D classifier for multilabel of class_0, class_1')
    convert.write(tmp_path / 'ours', variables, card, 'orbax')
    assert main([str(tmp_path / 'ours'), str(tmp_path / 'hub')]) == 0
    text = (tmp_path / 'hub' / 'README.md').read_text()
    for words in (
        '"2d"', 'ResNet-18 with a classification head, trained for multilabel', 'divide by 32',
        'torch.zeros(1, 1, 32, 64)', '[B, X, Y, C]', '--config.dimensions=2',
    ):  # fmt: skip
        assert words in text, words
    assert '3D' not in text.split('## Citation')[0] and 'Z' not in text.split('## Licence')[0]
    _, variables, card = make('restores', ['encoder'])
    card = dataclasses.replace(card, task=None)
    text = model_card.render('a', card, 1, 'float32')
    assert "network='classifier2d', hidden=1024" in text and 'tasks in 2D medical' in text
    assert main([str(tmp_path / 'hub'), str(tmp_path / 'again')]) == 0
    assert load_export(tmp_path / 'again')[1]['network'] == 'classifier2d'
    assert jnp.ndim(load_export(tmp_path / 'again')[0]['params']['head']['kernel']) == 2
