"""Commands that are printed can be pasted into a shell, whatever the folders are called."""

import re
import shlex
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict
from segmented import SHAPE, prepare

from data_prep import demo_labels, lits, phantom
from genesis_jax.compare.runs import read_workdir
from genesis_jax.convert import usage
from genesis_jax.convert.__main__ import _next
from genesis_jax.data.reading import open_dataset
from genesis_jax.errors import UserError
from genesis_jax.runs.cards import load_model

NAMES = ('my scans', "d'Azur", 'a;b $HOME')


def next_words(text):
    (line,) = (line for line in text.splitlines() if line.startswith('Next: '))
    return shlex.split(line.removeprefix('Next: '))


@pytest.mark.parametrize('name', NAMES)
def test_what_follows_a_phantom_and_its_preparation(name, tmp_path, capsys, monkeypatch):
    out, data_dir = tmp_path / name, tmp_path / f'{name} data'
    flags = ['--layout=lits', '--patients=6', f'--shape={",".join(map(str, SHAPE))}']
    assert phantom.main([f'--out={out}', *flags]) == 0
    words = next_words(capsys.readouterr().out)
    assert words[:3] == ['python', '-m', 'data_prep.lits'] and f'--source={out}' in words
    assert prepare(lits, out, data_dir, '--split=4,1,1', '--name=mine') == 0
    words = next_words(capsys.readouterr().out)
    assert words == [
        'python', 'main.py', '--config=configs/lcs.py', f'--config.data.dir={data_dir}',
        '--config.data.name=mine', '--workdir=runs/mine',
    ]  # fmt: skip
    monkeypatch.setattr(demo_labels, 'write_demo_labels', lambda out: None)
    assert demo_labels.main([f'--out={tmp_path / name / "new"}']) == 0
    assert f'--source={tmp_path / name / "new"}' in next_words(capsys.readouterr().out)


@pytest.mark.parametrize('name', NAMES)
def test_commands_in_messages(name, tmp_path):
    place = tmp_path / name
    place.mkdir()
    with pytest.raises(UserError) as stop:
        open_dataset(ConfigDict({'dir': str(place), 'name': 'luna16'}), 'luna16 --source=LUNA16')
    command = str(stop.value).partition('prepare it with: ')[2]
    assert shlex.split(command)[-1] == f'--data_dir={place}'
    (place / 'weights.pth').write_bytes(b'')
    with pytest.raises(UserError) as stop:
        load_model(place / 'weights.pth')
    command = re.search('convert it with (python .*)', str(stop.value))[1]
    assert shlex.split(command)[3:] == [str(place / 'weights.pth'), 'EXPORT', '--to=orbax']
    (place / 'config.json').write_text('{"config": {"task": "restoration"}}')
    with pytest.raises(UserError) as stop:
        read_workdir(place)
    command = re.search(r'\((main.py .*)\)$', str(stop.value))[1]
    assert shlex.split(command)[-1] == f'--config.init={place}'


@pytest.mark.parametrize('name', NAMES)
def test_what_follows_a_conversion(name, tmp_path):
    place = tmp_path / name
    plain = SimpleNamespace(topology='unet3d', task='segmentation', called=lambda: ('scan',))
    residual = SimpleNamespace(topology='resenc3d')
    for format, card, word in (
        ('nnunet', plain, str(place)),
        ('nnunet', residual, str(place)),
        ('orbax', plain, f'--model={place}'),
    ):
        assert word in shlex.split(_next(place, format, card))
    card = SimpleNamespace(
        parts=['encoder'], model={'width': 2, 'channels': (1, 2)}, task=None, dimensions=2,
        view='a b', called=lambda: ('scan',),
    )  # fmt: skip
    words = shlex.split(' '.join(usage.command(str(place), card)))
    assert f'--config.init={place}' in words and '--config.data.view=a b' in words
