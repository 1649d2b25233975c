"""What cannot be converted: one sentence of what was found, and nothing written."""

import pickle
import re
import sys
from pathlib import Path

import pytest

from genesis_jax import convert
from genesis_jax.convert.__main__ import main
from genesis_jax.errors import UserError

torch = pytest.importorskip('torch', reason='PyTorch files need PyTorch')


@pytest.fixture
def published(golden):
    return golden / 'official_unet3d_width4.pt'


@pytest.fixture
def content(published):
    """What is in the published file."""
    return torch.load(published, weights_only=True)


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


WRONG_CARD = (
    '{"network": "unet3d", "parts": ["encoder"], "in_channels": 1, "out_channels": 1, '
    '"config": {"model": {"width": "4"}}, "assumed": 5, "source": "a"}'
)
BAD = {
    'overwritten': (_overwritten, ['is damaged .the checksum of .* is wrong']),
    'float64': (
        _with_bias(torch.tensor([0.1], dtype=torch.float64)),
        [r'1 arrays that float32 does not hold exactly \(out_tr.final_conv.bias of float64'],
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
        ['the card of .*bad.pt is damaged: it has no network, .*, config; mend it'],
    ),
    'wrong card': (
        lambda c, f: torch.save({'state_dict': c['state_dict'], 'genesis_jax': WRONG_CARD}, f),
        ["the card of .*bad.pt is damaged: assumed is 5, .*; source is 'a', .*; width is '4', exp"],
    ),
    'flat': (
        _damaged(lambda s: {n: t.mean(-1) if t.ndim == 5 else t for n, t in s.items()}),
        [r'expected a 5-dimensional down_tr64.*, found that of shape \(4, 1, 3, 3\)$'],
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
    with pytest.raises(UserError, match=r"needs torch; .*: pip install -e '\.\[torch\]'"):
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
