"""Weights travel: PyTorch files in and out, exact, strict, by command and into a fine-tuning."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from test_finetune import begin
from test_unet3d import published_variables

from genesis_jax import convert
from genesis_jax.cards import load_model
from genesis_jax.checkpoints import export, load_export
from genesis_jax.convert.__main__ import main
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.models import from_card

torch = pytest.importorskip('torch', reason='PyTorch files need PyTorch')

ROOT = Path(__file__).parent.parent
NETWORKS = {  # what differs from a fine-tuned segmentation of one class
    'restores': {'parts': ['encoder', 'decoder', 'head'], 'task': None},
    'segments': {'outputs': 3, 'classes': ['background', 'liver', 'tumour'], 'in_channels': 2},
    'nearest': {'model': {'upsample': 'nearest', 'epsilon': 1e-3}},
    'encoder': {'parts': ['encoder'], 'task': None},
    'classifies': {'parts': ['encoder', 'hidden', 'head'], 'model': {'hidden': 6}},
    'probes': {'parts': ['encoder', 'head'], 'model': {'hidden': 0}, 'outputs': 4},
}


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


def make(kind):
    """`(variables, card)` of a network of ours, of random numbers."""
    given = NETWORKS[kind]
    classifies = 'hidden' in given.get('model', {})
    model = {'width': 2, 'epsilon': 1e-5} | ({} if classifies else {'upsample': 'transpose'})
    card = {
        'network': 'classifier3d' if classifies else 'unet3d',
        'parts': given.get('parts', ['encoder', 'decoder', 'head']),
        'task': given.get('task', 'classification' if classifies else 'segmentation'),
        'classes': given.get('classes', ['background', 'nodule']),
        'outputs': given.get('outputs', 1),
        'in_channels': given.get('in_channels', 1),
        'cube_shape': [16, 16, 16, given.get('in_channels', 1)],
        'channels': ['CT'],
        'modality': 'ct',
        'spacing': [1.0, 1.0, 2.5],
        'window': None,
        'config': {'model': model | given.get('model', {})},
        'step': 7,
        'validation_loss': 0.1 + 0.2,
    }
    if card['task'] is None:
        del card['task']
    network = from_card(card)
    x = jax.ShapeDtypeStruct((1, *card['cube_shape']), jnp.float32)
    shapes = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
    rng = np.random.default_rng(1)
    leaves = jax.tree.map(lambda s: rng.uniform(0.5, 1.5, s.shape).astype('float32'), shapes)
    return {name: {p: tree[p] for p in card['parts'] if p in tree}
            for name, tree in leaves.items()}, card  # fmt: skip


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


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
def test_our_networks_and_their_cards_come_back(kind, tmp_path):
    variables, card = make(kind)
    convert.write(tmp_path / 'a.pt', variables, card)
    convert.convert(tmp_path / 'a.pt', tmp_path / 'ours')
    found, told = load_export(tmp_path / 'ours')
    same(found, variables)
    assert told == card
    if 'task' in card:  # it is fit to be predicted with and evaluated
        assert load_model(tmp_path / 'ours')[1] == card
        cube = np.ones((1, *card['cube_shape']), np.float32)
        expected = from_card(card).predict(variables, cube)
        np.testing.assert_array_equal(from_card(told).predict(found, cube), expected)

    # The names alone say as much about the network as its card did.
    torch.save(load(tmp_path / 'a.pt')['state_dict'], tmp_path / 'names.pt')
    if card['config']['model'].get('upsample') == 'nearest':  # as in Keras: 1e-3 or 1e-5
        with pytest.raises(UserError, match='no card that tells the epsilon .* --epsilon=E'):
            convert.read(tmp_path / 'names.pt')
        with pytest.raises(SystemExit):
            main([str(tmp_path / 'names.pt'), str(tmp_path / 'b'), '--epsilon=x'])
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


def test_a_run_is_read_by_its_fullest_export(tmp_path):
    for kind, name in (('restores', 'encoder_decoder'), ('encoder', 'encoder')):
        variables, card = make(kind)
        export(tmp_path / 'run' / 'export' / name, variables, card['parts'], card)
    assert convert.read(tmp_path / 'run')[1]['parts'] == ['encoder', 'decoder', 'head']
    (tmp_path / 'begun' / 'checkpoints').mkdir(parents=True)
    with pytest.raises(UserError, match='has no export yet'):
        convert.read(tmp_path / 'begun')


def test_a_checkpoint_of_a_training_is_read(tmp_path):
    variables, card = make('segments')
    with_task = card['config'] | {'task': 'segmentation'}
    step = tmp_path / 'run' / 'checkpoints' / '7'
    state = {**variables, 'opt_state': [variables['params']], 'step': np.array(7)}
    ocp.save(step, state)
    with pytest.raises(UserError, match=r'config.json does not tell its network'):
        convert.read(step)
    (tmp_path / 'run' / 'config.json').write_text(json.dumps({'config': with_task}))
    found, told = convert.read(step)
    same(found, variables)
    expected = {n: card[n] for n in ('network', 'parts', 'in_channels', 'outputs', 'step')}
    assert told == expected | {'config': with_task}
    shutil.rmtree(step / 'state' / 'd')
    with pytest.raises(UserError, match='is damaged'):
        convert.read(step)


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


def test_onnx_in_float16_keeps_large_variances_or_is_refused(tmp_path):
    reason = 'ONNX files need its packages'
    onnxruntime = pytest.importorskip('onnxruntime', reason=reason)
    pytest.importorskip('onnxscript', reason=reason)
    from genesis_jax.torch import from_card

    variables, card = make('probes')
    card['config']['model']['batch_statistics'] = 'synchronised'
    network = from_card(card)  # as it is drawn: of sensible size
    block = network.down_tr64.ops[1]
    block.conv1.weight.data *= 500
    block.bn1.running_var.fill_(3e5)
    torch.save(network.state_dict(), tmp_path / 'a.pt')
    variables, _ = convert.read(tmp_path / 'a.pt')
    convert.write(tmp_path / 'a.onnx', variables, card, dtype='float16')
    x = torch.rand(1, 1, 8, 16, 8)
    (found,) = onnxruntime.InferenceSession(tmp_path / 'a.onnx').run(None, {'cubes': x.numpy()})
    np.testing.assert_allclose(found, network(x).detach(), atol=1e-2)

    variables['params']['head']['bias'][0] = 1e6
    with pytest.raises(UserError, match='in float16 the logits .* write ONNX in float32'):
        convert.write(tmp_path / 'b.onnx', variables, card, dtype='float16')
    assert not (tmp_path / 'b.onnx').exists()


def test_fine_tuning_starts_from_a_file(make_target, tmp_path):
    loaded, card = make('restores')
    convert.write(tmp_path / 'card.pt', loaded, card)
    file = tmp_path / 'published.pt'
    torch.save({'epoch': 1, 'state_dict': load(tmp_path / 'card.pt')['state_dict']}, file)
    config = make_target('seg', init=str(file), epochs=1)
    (found,) = finetune(config, tmp_path / 'run')
    assert found['start'][0].startswith(f'from {file}: encoder and decoder (')
    assert 'converted from a PyTorch file, sha256 ' in found['start'][1]
    assert found['start'][2].startswith('assumed, as published.pt has no card: epsilon=1e-05, ')
    _, start, state = begin(config)
    for part in ('encoder', 'decoder'):
        same(jax.device_get(state.params[part]), loaded['params'][part])
        same(jax.device_get(state.batch_stats[part]), loaded['batch_stats'][part])

    # What is fine-tuned travels on, and is a start again.
    convert.convert(tmp_path / 'run' / 'seed_0', tmp_path / 'tuned.pt')
    convert.convert(tmp_path / 'tuned.pt', tmp_path / 'tuned')
    model = tmp_path / 'run' / 'seed_0' / 'export' / 'model'
    same(load_model(tmp_path / 'tuned')[0], load_model(model)[0])
    assert load_model(tmp_path / 'tuned')[1] == load_model(model)[1]
    _, start, _ = begin(make_target('cls', init=str(tmp_path / 'tuned.pt')))
    assert start.parts == ('encoder',) and start.lines[1] == 'converted from a PyTorch file'


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'model__epsilon': 1e-3}, 'add --config.model.width=4 --config.model.epsilon=1e-05'),
        ({'model__width': 4, 'model__upsample': 'nearest'}, 'model.upsample=transpose'),
        ({'model__width': 4, 'model__epsilon': 1e-3}, 'add --config.model.epsilon=1e-05'),
        ({'init': 'README.md'}, 'the format of README.md is unknown'),
        ({'init': 'weights.pt'}, 'config.init=weights.pt: there is no such file or folder'),
    ],
)
def test_a_start_that_does_not_fit_is_refused(fields, words, published, make_target, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=words):
        begin(make_target('seg', **({'init': str(published)} | fields)))


class Harmful:
    def __reduce__(self):
        return print, ('harm done',)


def _damaged(change):
    """Saves the published content with its state dict changed."""

    def save(content, file):
        state = dict(content['state_dict'])
        torch.save({'epoch': 1, 'state_dict': change(state)}, file)

    return save


def _cut(share):
    def save(content, file):
        torch.save(content, file)
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])

    return save


def _plain_pickle(content, file):
    file.write_bytes(pickle.dumps(Harmful()))


def _without(state):
    del state['module.up_tr128.up_conv.bias'], state['module.down_tr512.ops.1.bn1.running_mean']
    return state | {'module.aux.weight': torch.ones(2)}


def _wider(state):
    return {n: torch.cat([t, t]) if n.startswith('module.down_tr128.ops.0.conv1') else t
            for n, t in state.items()}  # fmt: skip


def _overwritten(content, file):
    torch.save(content, file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 16] = bytes(16)
    file.write_bytes(data)


def _with_bias(tensor):
    return _damaged(lambda s: s | {'module.out_tr.final_conv.bias': tensor})


BAD = {
    'overwritten': (_overwritten, ['is damaged .the checksum of .* is wrong']),
    'float64': (
        _with_bias(torch.tensor([0.1], dtype=torch.float64)),
        [r'1 arrays that float32 does not hold exactly \(out_tr.final_conv.bias of torch.float64'],
    ),
    'diverged': (
        _with_bias(torch.tensor([float('inf')])),
        [r'nan or infinite numbers in 1 arrays \(out_tr.final_conv.bias\)'],
    ),
    'half': (_cut(0.5), ['is damaged']),
    'begun': (_cut(0.001), ['is damaged']),
    'harmful': (_damaged(lambda s: Harmful()), ['holds .*print', 'is not read']),
    'pickle': (_plain_pickle, ['is not read']),
    'module': (lambda c, f: torch.save(torch.nn.Linear(2, 2), f), ['Linear', 'state_dict']),
    'resnet': (
        lambda c, f: torch.save({'conv1.weight': torch.ones(64, 3, 7, 7)}, f),
        ['expected a 5-dimensional down_tr64.ops.0.conv1.weight', 'found conv1.weight'],
    ),
    'optimizer': (
        lambda c, f: torch.save({n: c[n] for n in ('epoch', 'optimizer_state_dict')}, f),
        ['holds epoch, optimizer_state_dict', 'expected the tensors of a network'],
    ),
    'list': (lambda c, f: torch.save([torch.ones(2)], f), ['holds a list']),
    'empty': (lambda c, f: torch.save({}, f), ['found none']),
    'nothing': (lambda c, f: f.write_bytes(b''), ['is damaged']),
    'names': (
        _damaged(_without),
        ['2 missing', 'up_tr128.up_conv.bias', 'running_mean', r'1 unexpected \(aux.weight\)'],
    ),
    'channels': (_damaged(_wider), ['2 of another shape', r'\(16, 8, 3, 3, 3\), expected \(8, 8']),
    'counter': (
        _damaged(lambda s: s | {'module.out_tr.num_batches_tracked': torch.tensor(1)}),
        [r'1 unexpected \(out_tr.num_batches_tracked\)'],
    ),
    'prefix': (
        _damaged(lambda s: {n[7 * (i % 2) :]: t for i, (n, t) in enumerate(s.items())}),
        ["'module.' before 53 of its 106 names", 'not before 53', 'expected all or none'],
    ),
    'integers': (
        _damaged(lambda s: s | {'module.out_tr.final_conv.bias': torch.tensor([1])}),
        ['1 arrays that are no dense floating-point numbers', 'final_conv.bias of torch.int64'],
    ),
    'card': (
        lambda c, f: torch.save({'state_dict': c['state_dict'], 'genesis_jax': '{'}, f),
        ['the card in .* is damaged'],
    ),
    'other card': (
        lambda c, f: torch.save({'state_dict': c['state_dict'], 'genesis_jax': '{}'}, f),
        ["card of the network is damaged .*'config'"],
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_file_is_one_sentence_and_nothing_written(case, content, tmp_path, capsys):
    save, expected = BAD[case]
    save(content, tmp_path / 'bad.pt')
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / 'bad.pt'), str(tmp_path / 'target')])
    said = capsys.readouterr()
    assert ended.value.code == 1 and not said.out
    assert said.err.startswith('error: ') and said.err.count('\n') == 1
    with pytest.raises(UserError) as raised:
        convert.read(tmp_path / 'bad.pt')
    for words in expected:
        assert raised.match(words)
    assert [file.name for file in tmp_path.iterdir()] == ['bad.pt']


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['PT', 'EXISTING.pt'], 'EXISTING.pt exists already'),
        (['PT', 'EXISTING.pt/a.pt'], 'cannot write'),
        (['nowhere.pt', 'a'], 'there is no such file or folder as nowhere.pt; expected an export'),
        (['EXISTING.pt', 'a'], 'is damaged'),
        (['PT', 'a.bin'], 'the format of a.bin is unknown; expected'),
        (['PT', 'a', '--data_parallel'], 'orbax has no names of nn.DataParallel'),
        (['PT', 'a.h5'], 'keras cannot be written; expected one of orbax'),
        (['PT', 'a', '--to=nothing'], "invalid choice: 'nothing'"),
        (['PT', 'a', '--from=onnx'], "invalid choice: 'onnx'"),
        (['PT', 'a', '--dtype=bfloat16'], 'orbax is written in float32, not in bfloat16'),
        (['.', 'a.pt'], 'is no exported network'),
        (['.', 'a', '--from=pytorch'], r'cannot read . \(Is a directory\)'),
        (['PT', 'a', '--from=orbax'], 'is no exported network|is damaged'),
    ],
)
def test_what_cannot_be_converted_is_said(
    arguments, words, published, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path('EXISTING.pt').write_text('precious')
    with pytest.raises(SystemExit) as ended:
        main([str(published) if word == 'PT' else word for word in arguments])
    said = capsys.readouterr()
    assert ended.value.code and not said.out
    assert said.err.startswith('error: ') and said.err.count('\n') == 1
    assert re.search(words, said.err)
    assert [file.name for file in tmp_path.iterdir()] == ['EXISTING.pt']
    assert Path('EXISTING.pt').read_text() == 'precious'


def test_the_functions_check_what_the_command_line_does(published, tmp_path):
    variables, card = convert.read(published)
    for arguments, words in (
        ({'format': 'zip'}, 'zip is no format that can be written; expected one of orbax'),
        ({'dtype': 'int8', 'format': 'orbax'}, "unknown dtype 'int8'"),
        ({}, 'has no suffix; add one or name a format'),
    ):
        with pytest.raises(UserError, match=words):
            convert.write(tmp_path / 'a', variables, card, **arguments)
    with pytest.raises(UserError, match='onnx cannot be read; expected one of orbax, pytorch'):
        convert.read(published, 'onnx')
    del variables['params']['head']
    for format in ('orbax', 'pytorch'):
        with pytest.raises(UserError, match=r'2 missing \(params/head/kernel, params/head/bias\)'):
            convert.write(tmp_path / 'a', variables, card, format)
    assert not any(tmp_path.iterdir())


def test_an_absent_package_is_named_with_the_extra_that_brings_it(published, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, 'genesis_jax.convert.pytorch', raising=False)
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(UserError, match=r"takes torch; run: pip install -e '\.\[torch\]'"):
        convert.read(published)


def test_a_write_that_fails_leaves_nothing(published, tmp_path, monkeypatch):
    from genesis_jax.convert import pytorch

    def fails(path, *_):
        path.write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(pytorch, 'write', fails)
    with pytest.raises(UserError, match='No space left on device'):
        convert.convert(published, tmp_path / 'a.pt')
    assert not any(tmp_path.iterdir())


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
    for source, target in (('full.pt', 'ours'), ('ours', 'back.pt')):
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
