"""The card of a fine-tuned network: read with the network, held against the data to test it on."""

import hashlib
import json
from pathlib import Path

import numpy as np

from genesis_jax import labelled
from genesis_jax.checkpoints import load_export
from genesis_jax.errors import UserError

_FIELDS = ('classes', 'outputs', 'in_channels', 'cube_shape')
_FIELDS += ('channels', 'modality', 'spacing', 'window')


def load_model(folder):
    """The export of a fine-tuned network, named by itself or by its run: `(variables, card)`.

    Raises:
      UserError: it is none, or damaged.
    """
    inside = Path(folder).expanduser() / 'export' / 'model'
    variables, card = load_export(inside if inside.is_dir() else folder)
    if card.get('task') not in ('classification', 'segmentation'):
        raise UserError(
            f'{folder} is a network that restores cubes; expected a fine-tuned one, such as '
            'WORKDIR/seed_0/export/model'
        )
    if lacking := [name for name in _FIELDS if name not in card]:
        raise UserError(
            f'the card of {folder} is damaged, it has no {lacking[0]!r}; copy or export it again'
        )
    return variables, card


def card_hash(card):
    """Twelve hexadecimal digits that tell cards, so exported networks, apart."""
    text = json.dumps(card, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_data(card, dataset, model, name):
    """That a dataset (`labelled.Labelled`) holds what a network was trained to see and to tell.

    Raises:
      UserError: it does not; names the first field that differs, and the remedy.
    """
    about = dataset.about
    spacing = card['spacing']
    remedies = {
        'classes': 'choose a dataset of the same classes',
        'channels': 'choose one of the same channels in the same order',
        'modality': 'choose one of the same modality',
        'spacing': 'prepare it again '
        + (f'with --spacing={_plain(spacing, ",")}' if spacing else 'without --spacing'),
        'full_range': 'choose or prepare one whose window is found in the same way',
    }
    if about['modality'] == 'ct' or card['window'] is not None:
        del remedies['full_range']  # it has no effect
    defaults = {'full_range': False}  # of networks from before there was a choice
    for field, remedy in remedies.items():
        there, here = card.get(field, defaults.get(field)), about[field]
        if not _same(there, here):
            raise UserError(
                f'{model} was trained on data of {field} {_plain(there)} and the dataset {name!r} '
                f'has {_plain(here)}; {remedy}'
            )
    if dataset.shape[-1] != card['in_channels']:
        raise UserError(
            f'{model} takes {card["in_channels"]} channels and the dataset {name!r} has '
            f'{dataset.shape[-1]}; choose one with as many'
        )


def check_unseen(card, dataset, model, name):
    """That no test patient of a dataset trained or validated the network.

    Raises:
      UserError: some did.
    """
    trained = set(card.get('trained_on') or ())
    patients = dataset.patients['test']
    seen = sum(labelled.fingerprint(patient) in trained for patient in patients)
    if seen:
        raise UserError(
            f'{seen} of the {len(patients)} test patients of the dataset {name!r} have the names '
            f'of patients that {model} was trained on; test it on the split of its training or '
            'train it again on this one, or give --other_patients if they only share names'
        )


def _same(there, here):
    if isinstance(there, str | bool | None) or isinstance(here, str | bool | None):
        return there == here
    there, here = list(there), list(here)
    if len(there) != len(here) or any(isinstance(value, str) for value in there):
        return there == here
    return np.allclose(there, here, rtol=1e-4)


def _plain(value, comma=', '):
    if value is None:
        return 'native'
    if isinstance(value, str | bool):
        return repr(value)
    return comma.join(v if isinstance(v, str) else f'{v:g}' for v in value)
