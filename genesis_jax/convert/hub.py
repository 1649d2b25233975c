"""A folder for a model hub: `model.safetensors`, `config.json` and `README.md`, the model card.

The arrays have the published PyTorch names; `config.json` has the architecture, the checksum of the
arrays and the card, but for what concerns only the machine and the patients of the training. NumPy
only: neither JAX nor PyTorch is needed on either side.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from genesis_jax.convert import model_card, names
from genesis_jax.errors import UserError

_ARRAYS, _CONFIG, _README = 'model.safetensors', 'config.json', 'README.md'
_FROM = re.compile(r'^from (.+?)(?:/export/[^/]+)?: ')  # as transfer.py says of a start
_DTYPES = {
    'float32': np.dtype(np.float32),
    'bfloat16': np.dtype(ml_dtypes.bfloat16),
    'float16': np.dtype(np.float16),
}


def read(path):
    """`(variables, card)` of a folder; narrower arrays are widened to float32, as they were.

    Raises:
      UserError: it is none, it is damaged, or its files contradict each other.
    """
    folder = Path(path).expanduser()
    card, dtype, rows, digest = _read_config(folder)
    arrays = _read_arrays(folder / _ARRAYS, digest)
    others = [f'{n} is {a.dtype}' for n, a in arrays.items() if a.dtype != _DTYPES[dtype]]
    if others:
        raise UserError(
            f'{folder / _ARRAYS} has {len(others)} arrays of another type than the {dtype} of its '
            f'{_CONFIG} ({names.shown(others)}); copy the folder or convert the network again'
        )
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return names.to_flax(arrays, rows, folder / _ARRAYS), card


def write(path, variables, card, dtype='float32'):
    """Writes a folder, which must not exist; others may publish it.

    Raises:
      UserError: the variables are not those of the card's network, or too large for the dtype.
    """
    architecture = names.Architecture.of_card(card)
    rows, card = architecture.rows(), public(card)
    arrays = {n: _narrowed(a, dtype, n) for n, a in names.to_torch(variables, rows).items()}
    # 'format': what loaders of PyTorch users look for, as the names are PyTorch's. Not save_file,
    # whose files nobody but their owner may read.
    data = safetensors.numpy.save(arrays, metadata={'format': 'pt'})
    config = {
        'library_name': 'genesis_jax',
        'architecture': dataclasses.asdict(architecture),
        'dtype': dtype,
        'sha256': hashlib.sha256(data).hexdigest(),
        'card': card,
    }
    folder = Path(path).expanduser()
    parameters = sum(arrays[row.name].size for row in rows if row.path[0] == 'params')
    text = model_card.render(folder.name, card, parameters, dtype)
    folder.mkdir()
    (folder / _ARRAYS).write_bytes(data)
    (folder / _CONFIG).write_text(json.dumps(config, indent=2) + '\n', 'utf-8')
    (folder / _README).write_text(text, 'utf-8')


def public(card):
    """A card without local paths and without the hashes of patients, which anyone could reverse."""
    card = {name: value for name, value in card.items() if name not in ('init', 'trained_on')}
    if 'start' in card:
        card['start'] = [
            _FROM.sub(lambda match: f'from {Path(match[1]).name}: ', line) for line in card['start']
        ]
    card['config'] = {name: value for name, value in card['config'].items() if name != 'init'}
    if isinstance(data := card['config'].get('data'), dict):
        card['config']['data'] = {name: value for name, value in data.items() if name != 'dir'}
    return card


def _read_config(folder):
    """`(card, dtype, rows, SHA-256 of the arrays or None)` of a config.json without conflicts."""
    file = folder / _CONFIG
    try:
        config = json.loads(file.read_text('utf-8'))
    except FileNotFoundError:
        raise UserError(
            f'{folder} has no {_CONFIG}; expected {_CONFIG} and {_ARRAYS}, as '
            'python -m genesis_jax.convert writes them'
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f'{file} cannot be read ({error}); copy the folder again') from None
    if not isinstance(config, dict) or not {'architecture', 'dtype', 'card'} <= config.keys():
        raise UserError(
            f'{file} describes no network of genesis_jax; expected architecture, dtype and card, '
            'as python -m genesis_jax.convert writes them'
        )
    try:
        card, dtype = config['card'], config['dtype']
        stated = names.Architecture(**config['architecture'])
        stated = dataclasses.replace(stated, parts=tuple(stated.parts))
        told, rows = names.Architecture.of_card(card), stated.rows()
        _DTYPES[dtype], [row.torch_shape for row in rows]  # a wrong entry fails here
    except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'{file} is damaged ({error}); copy the folder again') from None
    _check_same(stated, told, file)
    return card, dtype, rows, config.get('sha256')


def _check_same(stated, told, file):
    """Raises UserError where the architecture is not that of the card."""
    stated, told = dataclasses.asdict(stated), dataclasses.asdict(told)
    differ = [f'{n} is {stated[n]!r} and {told[n]!r}' for n in stated if stated[n] != told[n]]
    if differ:
        raise UserError(
            f'the architecture and the card in {file} contradict each other '
            f'({names.shown(differ)}); copy the folder or convert the network again'
        )


def _read_arrays(file, digest):
    try:
        with file.open('rb') as opened:
            found = hashlib.file_digest(opened, 'sha256').hexdigest()
        if digest not in (None, found):
            raise ValueError(f'its SHA-256 is not the {digest} of {_CONFIG}')
        return safetensors.numpy.load_file(file)  # `load` knows no bfloat16
    except FileNotFoundError:
        raise UserError(
            f'{file} is not there; expected it beside {_CONFIG}: copy the folder again'
        ) from None
    except (safetensors.SafetensorError, OSError, LookupError, ValueError, TypeError) as error:
        raise UserError(
            f'{file} is damaged or cut short ({error}); copy or download it again'
        ) from None


def _narrowed(array, dtype, name):
    """An array in another dtype; UserError if its numbers are too large for that."""
    with np.errstate(over='ignore'):
        narrow = array.astype(_DTYPES[dtype])
    if (np.isfinite(array) & ~np.isfinite(narrow)).any():
        raise UserError(f'{name} has numbers too large for {dtype}; write bfloat16 or float32')
    return narrow
