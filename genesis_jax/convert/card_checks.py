"""Whether a card can be believed, and whether its network is a whole one.

Cards travel in files that anyone may edit: what decides an output is checked before it is used.
"""

import math

from genesis_jax.data.views import VIEWS
from genesis_jax.errors import UserError

PARTS = ('encoder', 'decoder', 'hidden', 'head')
_UNET, _CLASSIFIER = ('encoder', 'decoder', 'head'), ('encoder', 'head')
_WHOLE = {
    'unet3d': _UNET,
    'classifier3d': _CLASSIFIER,
    'unet2d': _UNET,
    'classifier2d': _CLASSIFIER,
}


def check_values(card, source):
    """Raises one UserError with every entry that no card of a network has.

    Args:
      source: of the card, for the error.
    """
    model = card['config']['model']
    dimensions = 2 if str(card.get('network')).endswith('2d') else 3
    wrong = [
        f'{name} is {entries[name]!r}, expected {expected}'
        for entries, rules in ((card, _OF_CARD | _of_arrays(dimensions)), (model, _OF_MODEL))
        for name, (fits, expected) in rules.items()
        if name in entries and not fits(entries[name])
    ]
    if wrong:
        raise UserError(
            f'the card of {source} is damaged: {"; ".join(wrong)}; mend it, or export or '
            'convert the network again'
        )


def check_whole(card, what):
    """Raises UserError if the card's network lacks a part that it computes with.

    Args:
      what: takes whole networks only, for the error.
    """
    missing = [part for part in _WHOLE[card['network']] if part not in card['parts']]
    if missing:
        raise UserError(
            f'the source holds {", ".join(card["parts"])} of a {card["network"]} and no '
            f'{" and no ".join(missing)}, and {what} takes the whole network; name the run, or its '
            'export encoder_decoder or model'
        )


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_list(value, fits):
    return isinstance(value, (list, tuple)) and all(map(fits, value))


def _one_of(*values):
    shown = ('null' if value is None else value for value in values)
    return lambda value: value in values, f'one of {", ".join(shown)}'


def _of_arrays(dimensions):
    """Of the entries that tell of arrays with so many axes."""
    # (slices of scans keep the spacing of the scans)
    numbers, ranks = ('three', (3,)) if dimensions == 3 else ('two or three', (2, 3))
    axes = 'X, Y, Z' if dimensions == 3 else 'X, Y'
    return {
        'cube_shape': (
            lambda v: _is_list(v, _is_count) and len(v) == dimensions + 1,
            f'{"four" if dimensions == 3 else "three"} whole numbers: {axes} and channels',
        ),
        'spacing': (
            lambda v: (
                v is None or (_is_list(v, lambda n: _is_number(n) and n > 0) and len(v) in ranks)
            ),
            f'{numbers} positive numbers, or null',
        ),
    }


_COUNT = (_is_count, 'a whole number from 1')
_TEXTS = (lambda v: v is None or _is_list(v, lambda n: isinstance(n, str)), 'a list of names')
_TABLE = (lambda v: isinstance(v, dict), 'names with values')
# What an entry must be if it is there, and how that is called.
_OF_CARD = {
    'network': _one_of(*_WHOLE),
    'parts': (
        lambda v: _is_list(v, lambda part: part in PARTS),
        f'some of {", ".join(PARTS)}',
    ),
    'in_channels': _COUNT,
    'outputs': _COUNT,
    'window': (
        lambda v: v is None or (_is_list(v, _is_number) and len(v) == 2 and v[0] < v[1]),
        'two rising numbers, or null',
    ),
    'view': _one_of(None, *VIEWS),
    'classes': _TEXTS,
    'channels': _TEXTS,
    'assumed': _TEXTS,
    'source': _TABLE,
    'pytorch': _TABLE,
}
_OF_MODEL = {
    'width': _COUNT,
    'hidden': (lambda v: _is_count(v, 0), 'a whole number from 0'),
    'upsample': _one_of('transpose', 'nearest'),
    'epsilon': (lambda v: _is_number(v) and v >= 0, 'a number from 0'),
    'statistics_momentum': (lambda v: _is_number(v) and 0 <= v <= 1, 'a number from 0 to 1'),
    'batch_statistics': _one_of('synchronised', 'official'),
}
