"""A ResNet-18 in a safetensors file, as timm and others publish it: names and arrays alone.

Networks of this project travel as a folder (`hub`), whose config.json tells the rest.
"""

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
      UserError: it is damaged, or holds anything but a ResNet-18 (and a classifier, left out).
    """
    try:
        found = safetensors.numpy.load_file(path)  # `load` knows no bfloat16
    except (safetensors.SafetensorError, LookupError, ValueError, TypeError) as error:
        raise UserError(
            f'{path} is damaged or cut short ({error}); copy or download it again'
        ) from None
    if not resnet.is_one(found):
        raise UserError(
            f'{path} alone describes no network; expected the names of a ResNet-18, or a folder '
            'that has it beside config.json: name the folder'
        )
    state = {name: a for name, a in found.items() if not name.endswith(names.COUNTER)}
    _check_numbers(state, path)
    state = {name: array.astype(np.float32) for name, array in state.items()}
    state, card = external_weights.of_pytorch(state, path, 'safetensors')
    return names.to_flax(state, names.rows(card), path), card


def _check_numbers(state, path):
    """Raises UserError unless float32 holds every number."""
    bad = [f'{name} of {array.dtype}' for name, array in state.items() if not _is_exact(array)]
    if bad:
        raise UserError(
            f'{path} holds {len(bad)} arrays that are no numbers of float32 '
            f'({names.shown(bad)}); save the network in float32'
        )


def _is_exact(array):
    """Whether float32 holds these numbers."""
    if array.dtype != np.float64:
        return array.dtype.kind in 'fV'  # V: bfloat16
    with np.errstate(over='ignore'):
        return np.array_equal(array.astype(np.float32), array, equal_nan=True)
