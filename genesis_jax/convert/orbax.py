"""Exports of this project: Orbax checkpoints of plain nested dicts with a card."""

from genesis_jax.checkpoints import export, load_export
from genesis_jax.convert import names


def read(path):
    """`(variables, card)` of an export; UserError if it is none, or damaged."""
    return load_export(path)


def write(path, variables, card, dtype='float32'):
    """Writes an export, in float32 as all of them; UserError unless the arrays fit the card."""
    assert dtype == 'float32', dtype
    names.to_torch(variables, names.Architecture.of_card(card).rows())
    export(path, variables, card['parts'], card)
