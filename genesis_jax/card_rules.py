"""What the entries of a card must be; see genesis_jax/card.py."""

import dataclasses
import math
import numbers
from collections.abc import Iterator
from typing import Any

from genesis_jax.data.views import VIEWS
from genesis_jax.provenance import Source
from genesis_jax.topology import NETWORKS, NORMS, name_of

PARTS = ('encoder', 'decoder', 'hidden', 'head')
HEADS = 'heads'  # the part of deep supervision, which only training needs: no export has it
WHOLE = {  # what each network computes with
    'unet3d': ('encoder', 'decoder', 'head'),
    'classifier3d': ('encoder', 'head'),
    'unet2d': ('encoder', 'decoder', 'head'),
    'classifier2d': ('encoder', 'head'),
}


def wrong(card: Any) -> Iterator[str]:
    """In words, every value that no card of a network has."""
    model = card.config.get('model') if isinstance(card.config, dict) else None
    if not isinstance(model, dict) or 'width' not in model:
        yield f'config is {card.config!r}, expected that of a network, with model.width'
        return
    dimensions = 2 if str(card.network).endswith('2d') else 3
    name = name_of(model, dimensions)
    if name in NETWORKS and NETWORKS[name].dimensions != dimensions:
        yield f'name is {name!r}, expected a network in {dimensions}D'
    entries = {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}
    rules = _OF_CARD | _of_arrays(dimensions)
    for values, of_values in ((entries, rules), (model, _OF_MODEL)):
        for name, (fits, expected) in of_values.items():
            if name in values and not fits(values[name]):
                yield f'{name} is {values[name]!r}, expected {expected}'


def _is_number(value):
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _is_count(value, least=1):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def _is_list(value, fits):
    return isinstance(value, (list, tuple)) and all(map(fits, value))


def _one_of(*values):
    texts = ('null' if value is None else value for value in values)
    return lambda value: value in values, f'one of {", ".join(texts)}'


def _optional(fits, expected):
    return lambda value: value is None or fits(value), expected


def _of_arrays(dimensions):
    """Of the entries that tell of arrays with so many axes."""
    # (slices of scans keep the spacing of the scans)
    numbers, ranks = ('three', (3,)) if dimensions == 3 else ('two or three', (2, 3))
    size, axes = ('four', 'X, Y, Z') if dimensions == 3 else ('three', 'X, Y')
    return {
        'cube_shape': _optional(
            lambda v: _is_list(v, _is_count) and len(v) == dimensions + 1,
            f'{size} whole numbers: {axes} and channels',
        ),
        'spacing': _optional(
            lambda v: _is_list(v, lambda n: _is_number(n) and n > 0) and len(v) in ranks,
            f'{numbers} positive numbers, or null',
        ),
    }


_COUNT = (_is_count, 'a whole number from 1')
_TEXTS = _optional(lambda v: _is_list(v, lambda n: isinstance(n, str)), 'a list of names')
# What an entry must be, and how that is called.
_OF_CARD = {
    'network': _one_of(*WHOLE),
    'parts': (lambda v: _is_list(v, PARTS.__contains__), f'some of {", ".join(PARTS)}'),
    'in_channels': _COUNT,
    'out_channels': _COUNT,
    'window': _optional(
        lambda v: _is_list(v, _is_number) and len(v) == 2 and v[0] < v[1],
        'two rising numbers, or null',
    ),
    'view': _one_of(None, *VIEWS),
    'classes': _TEXTS,
    'channels': _TEXTS,
    'assumed': _TEXTS,
    'source': _optional(lambda v: isinstance(v, Source), 'names with values'),
    'pytorch': _optional(lambda v: isinstance(v, dict), 'names with values'),
}
_OF_MODEL = {
    'name': _one_of(None, *NETWORKS),
    'module': _optional(lambda v: isinstance(v, str), 'the place of a class, or null'),
    'norm': _one_of(None, *NORMS),
    'blocks': _optional(lambda v: _is_list(v, _is_count) and len(v) > 1, 'two or more, or null'),
    'width': _COUNT,
    'hidden': (lambda v: _is_count(v, 0), 'a whole number from 0'),
    'upsample': _one_of('transpose', 'nearest'),
    'epsilon': (lambda v: _is_number(v) and v >= 0, 'a number from 0'),
    'batch_norm_momentum': (lambda v: _is_number(v) and 0 <= v <= 1, 'a number from 0 to 1'),
    'batch_statistics': _one_of('synchronised', 'official'),
}
# What `genesis_jax.torch.from_pretrained` may change.
OF_OPTION = {
    **{name: _COUNT for name in ('in_channels', 'out_channels')},
    **{n: _OF_MODEL[n] for n in ('hidden', 'epsilon', 'batch_norm_momentum', 'batch_statistics')},
    'new_decoder': (lambda value: isinstance(value, bool), 'True or False'),
}
