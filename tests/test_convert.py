"""Weights travel: PyTorch files in and out, exact and strict, by command and by functions."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from converted import NETWORKS, make, same
from test_unet3d import published_variables

from genesis_jax import convert
from genesis_jax.checkpoints import load_export
from genesis_jax.convert.__main__ import main
from genesis_jax.errors import UserError
from genesis_jax.models import from_card
from genesis_jax.runs.cards import load_model

torch = pytest.importorskip('torch', reason='PyTorch files need PyTorch')

ROOT = Path(__file__).parent.parent


@pytest.fixture
def published(golden):
    return golden / 'official_unet3d_width4.pt'


@pytest.fixture
def content(published):
    """What is in the published file."""
    return load(published)


def load(file):
    return torch.load(file, weights_only=True)


def bare(state):
    return {name.removeprefix('module.'): tensor for name, tensor in state.items()}


def test_published_weights_become_ours(published, content, golden):
    variables, card = convert.read(published)
    same(variables, published_variables(content['state_dict']))
    assert card['source'].keys() == {'file', 'sha256', 'format'}
    assert card['assumed'] == ['epsilon', 'batch_statistics']
    numbers = np.load(golden / 'official_unet3d_width4_io.npz')
    x = jnp.moveaxis(numbers['x'], 1, -1)
    for kind, option in (('batch', 'official'), ('running', 'synchronised')):
        card['config']['model']['batch_statistics'] = option
        logits = jax.jit(from_card(card).predict)(variables, x)
        restored = jnp.moveaxis(jax.nn.sigmoid(logits), -1, 1)
        np.testing.assert_allclose(restored, numbers[f'y_{kind}_statistics'], atol=1e-4)


def test_there_and_back_every_tensor_is_the_same_to_the_bit(published, content, tmp_path, capsys):
    counter = 'module.up_tr128.ops.1.bn1.num_batches_tracked'
    content['state_dict'][counter] += 41
    torch.save(content, tmp_path / 'published.pt')
    assert main([str(tmp_path / 'published.pt'), str(tmp_path / 'ours')]) == 0
    assert main([str(tmp_path / 'ours'), str(tmp_path / 'back.pt')]) == 0
    back = load(tmp_path / 'back.pt')
    state, expected = back['state_dict'], bare(content['state_dict'])
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype and torch.equal(state[name], tensor), name
    assert back['epoch'] == content['epoch'] and 'optimizer_state_dict' in back

    said = capsys.readouterr().out
    for words in ('3D U-Net (encoder, decoder and head)', 'width 4', '298,993 parameters'):
        assert said.count(words) == 2
    start = f'--config.data.name=DATASET --config.init={tmp_path / "ours"} --config.model.width=4'
    assert start in said
    assert said.count('no card: epsilon=1e-05, batch_statistics=official\n') == 2

    assert main([str(tmp_path / 'ours'), str(tmp_path / 'same.pt'), '--data_parallel']) == 0
    same_names = load(tmp_path / 'same.pt')['state_dict']
    assert list(same_names) == list(content['state_dict'])
    assert all(torch.equal(same_names[n], t) for n, t in content['state_dict'].items())


def test_an_encoder_alone_and_a_path_with_spaces(tmp_path, capsys):
    variables, card = make('encoder')
    convert.write(tmp_path / 'a b', variables, card, 'orbax')
    for format in ('onnx', 'nnunet'):
        pytest.importorskip('onnxscript', reason='ONNX files need its packages')
        with pytest.raises(UserError, match='no decoder and no head, and .* takes the whole'):
            convert.write(tmp_path / 'new' / 'deep' / 'net', variables, card, format)
    assert not (tmp_path / 'new').exists()
    assert main([str(tmp_path / 'a b'), str(tmp_path / 'c d.pt')]) == 0
    said = capsys.readouterr().out
    assert '(encoder), width 2, input channels 1, ' in said and 'outputs' not in said
    assert (
        f"Classifier3D.from_pretrained('{tmp_path / 'c d.pt'}', out_channels=N, hidden=N)" in said
    )
    assert main([str(tmp_path / 'c d.pt'), str(tmp_path / 'e f')]) == 0
    assert f"--config.init='{tmp_path / 'e f'}'" in capsys.readouterr().out


def test_what_is_written_loads_strictly(tmp_path):
    """In a network that PyTorch makes of the names."""
    for kind in ('segments', 'classifies'):
        convert.write(tmp_path / f'{kind}.pt', *make(kind))
        state = load(tmp_path / f'{kind}.pt')['state_dict']
        network = module_of({name: tuple(tensor.shape) for name, tensor in state.items()})
        network.load_state_dict(state, strict=True)
        assert state['down_tr64.ops.0.bn1.num_batches_tracked'] == 7  # steps of the training


def module_of(shapes):
    """A PyTorch module with the layers of the published names."""
    root = torch.nn.Module()
    for name, shape in shapes.items():
        *path, layer, kind = name.split('.')
        if kind != 'weight':
            continue
        parent = root
        for key in path:
            if not hasattr(parent, key):
                parent.add_module(key, torch.nn.Module())
            parent = getattr(parent, key)
        if layer == 'bn1':
            parent.add_module(layer, torch.nn.BatchNorm3d(*shape))
        elif layer == 'up_conv':
            parent.add_module(layer, torch.nn.ConvTranspose3d(*shape[:2], shape[2:]))
        elif len(shape) == 5:
            parent.add_module(layer, torch.nn.Conv3d(shape[1], shape[0], shape[2:]))
        else:
            parent.add_module(layer, torch.nn.Linear(shape[1], shape[0]))
    return root


@pytest.mark.parametrize('kind', NETWORKS)
def test_our_networks_and_their_cards_come_back(kind, tmp_path, capsys):
    variables, card = make(kind)
    convert.write(tmp_path / 'a.pt', variables, card)
    convert.convert(tmp_path / 'a.pt', tmp_path / 'ours')
    found, told = load_export(tmp_path / 'ours')
    same(found, variables)
    assert told == card
    if 'task' in card:  # it is fit to be predicted with and evaluated
        assert load_model(tmp_path / 'ours')[1] == card
        patch = np.ones((1, *card['cube_shape']), np.float32)
        predict = jax.jit(lambda network, *x: network.predict(*x), static_argnums=0)
        expected = predict(from_card(card), variables, patch)
        np.testing.assert_array_equal(predict(from_card(told), found, patch), expected)

    # The names alone say as much about the network as its card did.
    torch.save(load(tmp_path / 'a.pt')['state_dict'], tmp_path / 'names.pt')
    if card['config']['model'].get('upsample') == 'nearest':  # as in Keras: 1e-3 or 1e-5
        with pytest.raises(UserError, match='no card that tells the epsilon .* --epsilon=E'):
            convert.read(tmp_path / 'names.pt')
        with pytest.raises(SystemExit):
            main([str(tmp_path / 'names.pt'), str(tmp_path / 'b'), '--epsilon=x'])
        assert (
            "--epsilon: expected a number from 0 to below 1, found 'x'" in capsys.readouterr().err
        )
    found, guessed = convert.read(tmp_path / 'names.pt', epsilon=1e-3)
    assert guessed['config']['model']['epsilon'] == 1e-3
    assert guessed['assumed'] == ['batch_statistics']
    same(found, variables)
    for field in ('network', 'parts', 'in_channels', *(['outputs'] * (kind != 'encoder'))):
        assert guessed[field] == card[field]
    for field in {'upsample', 'hidden'} & card['config']['model'].keys():
        assert guessed['config']['model'][field] == card['config']['model'][field]


def test_every_form_of_a_published_file_is_read_alike(published, content, tmp_path):
    expected, _ = convert.read(published)
    state = content['state_dict']
    forms = {
        'bare.pt': bare(state),
        'without.pth': {'state_dict': {n: t for n, t in state.items() if 'batches' not in n}},
        'parameters.pt': {n: t.requires_grad_(t.is_floating_point()) for n, t in state.items()},
        'double.pth.tar': {'state_dict': {n: t.double() for n, t in state.items()}},
        'no_suffix': content,
    }
    for name, form in forms.items():
        torch.save(form, tmp_path / name)
        same(convert.read(tmp_path / name)[0], expected)
    torch.save(content, tmp_path / 'of_2019.pt', _use_new_zipfile_serialization=False)
    same(convert.read(tmp_path / 'of_2019.pt')[0], expected)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_narrow_numbers_on_request(dtype, tmp_path):
    variables, card = make('segments')
    convert.write(tmp_path / 'a.pt', variables, card, dtype=dtype)
    state = load(tmp_path / 'a.pt')['state_dict']
    assert {str(t.dtype) for t in state.values()} == {f'torch.{dtype}', 'torch.int64'}
    rounded = jax.tree.map(lambda a: np.asarray(a.astype(dtype), np.float32), variables)
    same(convert.read(tmp_path / 'a.pt')[0], rounded)

    variables['params']['head']['bias'][0] = 1e6
    if dtype == 'float16':
        with pytest.raises(UserError, match='too large for float16; write bfloat16'):
            convert.write(tmp_path / 'b.pt', variables, card, dtype=dtype)
        assert [file.name for file in tmp_path.iterdir()] == ['a.pt']


def test_a_user_of_pytorch_needs_no_jax(published, tmp_path):
    code = (
        'import sys\n'
        'sys.modules |= dict.fromkeys(("jax", "flax", "orbax", "tensorstore"))\n'
        'from genesis_jax.convert.__main__ import main\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    done = run(code, published, tmp_path / 'a.pt')
    assert done.returncode == 0, done.stderr
    same(convert.read(tmp_path / 'a.pt')[0], convert.read(published)[0])


@pytest.mark.slow
def test_the_published_width_takes_less_than_a_gigabyte(golden, tmp_path):
    """With the optimiser's state, as published."""
    keys = json.loads((golden / 'official_unet3d_keys.json').read_text())
    state = {
        f'module.{n}': torch.rand(shape) if shape else torch.tensor(3) for n, shape in keys.items()
    }
    momenta = [{'momentum_buffer': torch.rand_like(t)} for t in state.values() if t.ndim]
    optimizer = {'state': dict(enumerate(momenta)), 'param_groups': []}
    content = {'epoch': 1, 'state_dict': state, 'optimizer_state_dict': optimizer}
    torch.save(content, tmp_path / 'full.pt')
    code = (
        'import sys\n'
        'from pathlib import Path\n'
        'from genesis_jax.convert.__main__ import main\n'
        'main(sys.argv[1:])\n'
        'print(Path("/proc/self/status").read_text())\n'
    )
    pytest.importorskip('onnxscript', reason='ONNX files need its packages')
    for source, target in (('full.pt', 'ours'), ('ours', 'back.pt'), ('ours', 'full.onnx')):
        done = run(code, tmp_path / source, tmp_path / target)
        assert done.returncode == 0, done.stderr
        assert '19,073,665 parameters' in done.stdout
        peak = re.search(r'VmHWM:\s+(\d+) kB', done.stdout)  # of this process: not its parent's
        assert peak is None or int(peak[1]) < 2**20
    back = load(tmp_path / 'back.pt')['state_dict']
    assert all(torch.equal(back[n], t) for n, t in bare(state).items())


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, '-W', 'error', '-c', code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        capture_output=True,
        text=True,
        check=False,
    )
