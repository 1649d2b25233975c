"""docs/extending.md: its files are written and its commands run as they stand there."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs/extending.md').read_text('utf-8')
FILES = re.findall(r'```python\n# (my_lab/\w+\.py)\n(.*?)```', PAGE, re.DOTALL)
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r'```sh\n(.*?)```', PAGE, re.DOTALL)
    for line in block.replace('\\\n', ' ').splitlines()
]
SHORT = ['--config.model.width=2', '--config.epochs=1', '--config.pictures=0']


@pytest.fixture(scope='module')
def lab(tmp_path_factory, small_data):
    """A checkout with the page's folder my_lab, and the data that its commands take."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in ('main.py', 'configs', 'data_prep', 'genesis_jax'):
        if name == 'main.py':  # Python looks for modules beside the file itself
            (folder / name).write_text((ROOT / name).read_text())
        else:
            (folder / name).symlink_to(ROOT / name)
    for name, text in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / 'data').mkdir()
    (folder / 'data' / 'ct_chest_demo').symlink_to(small_data / 'small')
    (folder / 'my_arrays').mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        np.save(folder / 'my_arrays' / f'{i}.npy', rng.integers(0, 255, (32, 32, 16)))
    return folder


def run(folder, command):
    python, *arguments = command
    assert python == 'python'
    if arguments[0] == 'main.py':
        arguments += [*SHORT, '--config.batch_size=4']
    environment = os.environ | {'PYTHONPATH': str(folder), 'XLA_FLAGS': os.environ['XLA_FLAGS']}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f'{shlex.join(command)}\n{done.stdout}\n{done.stderr}'
    return done.stdout


def test_every_file_of_the_page_is_short():
    assert len(FILES) >= 6 and len(COMMANDS) >= 7
    for name, text in FILES:
        assert text.count('\n') <= 40, name


@pytest.mark.slow
def test_the_page_runs_as_it_stands(lab):
    said = {shlex.join(command): run(lab, command) for command in COMMANDS}
    speckle = next(text for command, text in said.items() if 'genesis_speckle' in command)
    assert 'speckle 0.5' in speckle
    quartic = json.loads((lab / 'runs/quartic/config.json').read_text())['config']
    assert quartic['loss']['name'] == 'squared+quartic'
    assert (lab / 'runs/arrays/export/encoder').is_dir()
    assert (lab / 'runs/tumour/seed_0_fold_0/results.json').exists()
