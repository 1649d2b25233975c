"""A folder for a model hub: `model.safetensors`, `config.json` and `README.md`, the model card.

The arrays have the published PyTorch names; `config.json` has the architecture, the checksum of the
arrays and the card, but for what concerns only the machine and the patients of the training. NumPy
only: neither JAX nor PyTorch is needed on either side.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from genesis_jax.card import Card, renamed
from genesis_jax.convert import ARRAYS, model_card, names
from genesis_jax.convert.safetensors import load
from genesis_jax.errors import UserError, need

_CONFIG, _README = 'config.json', 'README.md'


def read(path: str | Path) -> tuple[dict[str, Any], Card]:
    """`(variables, card)` of a folder; narrower arrays are widened to float32, as they were.

    Raises:
      UserError: it is none, it is damaged, or its files contradict each other.
    """
    folder = Path(path).expanduser()
    card, dtype, rows, digest = _read_config(folder)
    arrays = load(folder / ARRAYS, digest)
    others = [f'{n} is {a.dtype}' for n, a in arrays.items() if a.dtype != names.DTYPES[dtype]]
    if others:
        raise UserError(
            f'{folder / ARRAYS} has {len(others)} arrays of another type than the {dtype} of its '
            f'{_CONFIG} ({names.listing(others)}); copy the folder or convert the network again'
        )
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return names.to_flax(arrays, rows, folder / ARRAYS), card


def write(
    path: str | Path,
    variables: dict[str, Any],
    card: Card | Mapping[str, Any],
    dtype: str = 'float32',
) -> None:
    """Writes a folder, which must not exist; others may publish it.

    Raises:
      UserError: the variables are not those of the card's network, or too large for the dtype.
    """
    card = Card.from_dict(card)
    rows, card = names.rows(card), public(card)
    arrays = {n: names.narrow(a, dtype, n) for n, a in names.to_torch(variables, rows).items()}
    # 'format': what loaders of PyTorch users look for, as the names are PyTorch's. Not save_file,
    # whose files nobody but their owner may read.
    data = safetensors.numpy.save(arrays, metadata={'format': 'pt'})
    config = {
        'library_name': 'genesis_jax',
        'architecture': _architecture(card),
        'dtype': dtype,
        'sha256': hashlib.sha256(data).hexdigest(),
        'card': card.to_dict(),
    }
    folder = Path(path).expanduser()
    parameters = sum(arrays[row.name].size for row in rows if row.path[0] == 'params')
    text = model_card.render(folder.name, card, parameters, dtype)
    folder.mkdir()
    (folder / ARRAYS).write_bytes(data)
    (folder / _CONFIG).write_text(json.dumps(config, indent=2) + '\n', 'utf-8')
    (folder / _README).write_text(text, 'utf-8')


def push(folder: str | Path, repository: str) -> str:
    """Publishes a folder as it is on the Hugging Face Hub, and returns the address.

    A new repository is private, until its owner opens it.

    Raises:
      UserError: as `read`; there is no token, or the Hub refuses the folder.
    """
    need('push', 'a push to the Hugging Face Hub')
    import huggingface_hub
    from huggingface_hub import errors
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except errors.HFValidationError:
        raise UserError(f'{repository!r} is no repository; expected OWNER/NAME') from None
    folder = Path(folder).expanduser()
    if not (folder / ARRAYS).exists():
        raise UserError(
            f'{folder} has no {ARRAYS}; expected a folder that python -m genesis_jax.convert '
            f'{folder} FOLDER --to=hub wrote'
        )
    read(folder)
    if model_card.UNLICENSED in (folder / _README).read_text('utf-8'):
        raise UserError(
            f'{folder / _README} names no licence; write one in its third line, such as '
            'license: mit, and remove license_name'
        )
    remedy = 'run hf auth login, or set HF_TOKEN to a token that may write there'
    if not huggingface_hub.get_token():
        raise UserError(f'there is no token of the Hugging Face Hub; {remedy}')
    api = huggingface_hub.HfApi(library_name='genesis_jax')
    try:
        name = api.create_repo(repository, private=True, exist_ok=True).repo_id
        files = [ARRAYS, _CONFIG, _README]
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=files)
        return f'{api.endpoint}/{name}'
    except (errors.HTTPError, OSError) as error:
        answer = getattr(error, 'response', None)
        if answer is None or answer.status_code not in (401, 403):
            remedy = 'try again later'
        reason = str(error).splitlines()[0].rstrip('.')
        raise UserError(f'{folder} was not pushed to {repository} ({reason}); {remedy}') from None


def public(card: Card) -> Card:
    """A card without local paths and without the hashes of patients, which anyone could reverse."""
    config = {name: value for name, value in card.config.items() if name != 'init'}
    if isinstance(data := config.get('data'), dict):
        config['data'] = {name: value for name, value in data.items() if name != 'dir'}
    began = card.provenance and card.provenance.public()
    return dataclasses.replace(card, config=config, trained_on=None, provenance=began)


def _architecture(card):
    """What decides the names and shapes of the arrays, as config.json states it."""
    return {
        'network': card.network,
        'parts': list(card.parts),
        'width': card.model['width'],
        'in_channels': card.in_channels,
        'outputs': card.out_channels,
        'upsample': card.model.get('upsample', 'transpose'),
        'hidden': card.model.get('hidden', 0),
        **{n: v for n in ('name', 'norm', 'blocks') if (v := card.model.get(n)) is not None},
    }


def _read_config(folder):
    """`(card, dtype, rows, SHA-256 of the arrays or None)` of a config.json without conflicts."""
    file = folder / _CONFIG
    try:
        config = json.loads(file.read_text('utf-8'))
    except FileNotFoundError:
        raise UserError(
            f'{folder} has no {_CONFIG}; expected {_CONFIG} and {ARRAYS}, as '
            'python -m genesis_jax.convert writes them'
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f'{file} cannot be read ({error}); copy the folder again') from None
    if not isinstance(config, dict) or not {'architecture', 'dtype', 'card'} <= config.keys():
        raise UserError(
            f'{file} describes no network of genesis_jax; expected architecture, dtype and card, '
            'as python -m genesis_jax.convert writes them'
        )
    card, dtype, stated = (config[name] for name in ('card', 'dtype', 'architecture'))
    card = Card.from_dict(card, file)
    if dtype not in list(names.DTYPES):
        raise UserError(f'{file} is damaged (dtype {dtype!r}); copy the folder again')
    architecture = renamed(_architecture(card))
    stated = renamed(stated) if isinstance(stated, dict) else {}
    differ = [
        f'{name} is {stated.get(name)!r} and {architecture.get(name)!r}'
        for name in {**architecture, **stated}
        if stated.get(name) != architecture.get(name)
    ]
    if differ:
        raise UserError(
            f'the architecture and the card in {file} contradict each other '
            f'({names.listing(differ)}); copy the folder or convert the network again'
        )
    return card, dtype, names.rows(card), config.get('sha256')
