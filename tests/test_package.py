"""What the package promises about itself: light imports, a structure that stays readable."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from genesis_jax import errors

ROOT = Path(__file__).parent.parent


def test_the_core_imports_without_optional_packages():
    """On a TPU VM there is nothing that reads scans, draws or knows other formats of weights."""
    code = (
        'import sys\n'
        'class Absent:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name in ("torch", "h5py", "safetensors", "huggingface_hub", "onnx",\n'
        '                    "onnxscript", "onnxruntime", "SimpleITK", "matplotlib", "PIL",\n'
        '                    "tensorflow", "nibabel"):\n'
        '            raise ModuleNotFoundError(name, name=name)\n'
        'sys.meta_path.insert(0, Absent())\n'
        'import main, genesis_jax.evaluate, genesis_jax.compare, genesis_jax.convert.__main__\n'
        'import tensorflow_datasets\n'
        'assert not {"torch", "SimpleITK", "matplotlib"} & set(sys.modules)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_module_says_what_it_is_and_stays_small():
    files = [
        f for part in ('genesis_jax', 'data_prep', 'configs') for f in (ROOT / part).rglob('*.py')
    ]
    assert len(files) > 30
    for file in [ROOT / 'main.py', *files]:
        text = file.read_text()
        assert text.startswith(('"""', 'r"""')), f'{file} has no docstring'
        assert len(text.splitlines()) <= 300, f'{file} holds two things'


def test_every_extra_that_errors_name_brings_what_they_miss():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))['project']
    extras = project['optional-dependencies']

    def brought(extra):
        for line in extras[extra]:
            own = re.fullmatch(r'genesis-jax\[(.*)\]', line)
            if own:
                yield from (name for part in own[1].split(',') for name in brought(part))
            else:
                yield re.match(r'[\w.-]+', line)[0].lower()

    for extra, modules in errors._EXTRAS.items():
        packages = {errors._PACKAGES.get(name, name).lower() for name in modules}
        assert packages <= set(brought(extra)), extra


def test_a_url_where_a_local_path_is_expected_is_one_sentence(capsys):
    from data_prep import scans

    options = ['--source=.', '--name=x', '--modality=ct', '--data_dir=gs://bucket/x']
    with pytest.raises(SystemExit) as stop:
        scans.main(options)
    assert stop.value.code == 2
    expected = 'gs://bucket/x is a URL; expected a local path: mount it first'
    assert expected in capsys.readouterr().err
