"""A ResNet-18 in a safetensors file, as timm and others publish it: names and arrays alone.

Networks of this project travel as a folder (`hub`), whose config.json tells the rest.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from genesis_jax.card import Card
from genesis_jax.convert import external_weights, names, resnet
from genesis_jax.errors import UserError


def read(path: str | Path) -> tuple[dict[str, Any], Card]:
    """`(variables, card)` of a file; narrower arrays are widened to float32, as they were.

    Raises:
      UserError: it is damaged, or holds anything but a ResNet-18 (and a classifier, skipped).
    """
    arrays = load(Path(path))
    if not resnet.is_one(arrays):
        raise UserError(
            f'{path} alone describes no network; expected the names of a ResNet-18, or a folder '
            'that has it beside config.json: name the folder'
        )
    state = {name: a for name, a in arrays.items() if not name.endswith(names.COUNTER)}
    state = names.as_float32(state, path)
    state, card = external_weights.of_pytorch(state, path, 'safetensors')
    return names.to_flax(state, names.rows(card), path), card


def load(file: Path, digest: str | None = None) -> dict[str, np.ndarray]:
    """The arrays in a file; UserError if it is damaged, or its SHA-256 is not `digest`."""
    try:
        with file.open('rb') as opened:
            checksum = hashlib.file_digest(opened, 'sha256').hexdigest()
        if digest not in (None, checksum):
            raise ValueError(f'its SHA-256 is not the {digest} of config.json')
        return safetensors.numpy.load_file(file)  # `load` knows no bfloat16
    except FileNotFoundError:
        raise UserError(
            f'{file} is not there; expected it beside config.json: copy the folder again'
        ) from None
    except (safetensors.SafetensorError, OSError, LookupError, ValueError, TypeError) as error:
        raise UserError(
            f'{file} is damaged or cut short ({error}); copy or download it again'
        ) from None
