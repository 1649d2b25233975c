"""Exports and checkpoints of this project: Orbax, plain nested dicts with a card."""

import json
from pathlib import Path
from typing import Any

from genesis_jax.card import Card
from genesis_jax.card_rules import HEADS, PARTS
from genesis_jax.checkpoints import export, load_export, load_variables
from genesis_jax.convert import first_kernel, names
from genesis_jax.errors import UserError
from genesis_jax.models import name_of
from genesis_jax.paths import absolute, as_path


def read(path: str | Path) -> tuple[dict[str, Any], Card]:
    """`(variables, card)` of an export, or of WORKDIR/checkpoints/STEP of a training.

    Raises:
      UserError: it is none, or damaged.
    """
    path = absolute(as_path(path))
    if path.parent.name == 'checkpoints' and path.name.isdigit():
        return _read_checkpoint(path)
    return load_export(path)


def _read_checkpoint(path):
    """The network of a training at a step; its card lacks what only an export's tells."""
    file = path.parent.parent / 'config.json'
    try:
        config = json.loads(file.read_text('utf-8'))['config']
        network = name_of(config['task'], config.get('dimensions', 3))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f'{path} is the checkpoint of a training, but {file} does not tell its network '
            f'({error!r}); name a checkpoint in the folder of its run'
        ) from None
    variables = load_variables(path)
    try:
        params = variables['params']
        params.pop(HEADS, None)
        kernel, head = first_kernel.get(variables), params['head']['kernel']
    except LookupError as error:
        raise UserError(
            f'{path} holds no network of this project (no {error}); name an export or a checkpoint'
        ) from None
    entries = {
        'network': network,
        'parts': [part for part in PARTS if part in params],
        'in_channels': kernel.shape[-2],
        'out_channels': head.shape[-1],
        'config': config,
        'step': int(path.name),
    }
    card = Card.from_dict(entries, path)
    if not card.module:  # whose arrays only its own code knows
        names.check_variables(variables, names.rows(card), path)
    return variables, card


def write(path: str | Path, variables: dict[str, Any], card: Card, dtype: str = 'float32') -> None:
    """Writes an export, in float32 as all of them; UserError unless the arrays fit the card."""
    assert dtype == 'float32', dtype
    if not card.module:
        names.check_variables(variables, names.rows(card))
    export(path, variables, card.parts, card)
