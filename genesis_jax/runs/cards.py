"""The card of a fine-tuned network: read with the network, held against the data to test it on."""

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from genesis_jax import config_json, convert
from genesis_jax.card import Card
from genesis_jax.checkpoints import load_export
from genesis_jax.data import labelled
from genesis_jax.errors import UserError
from genesis_jax.paths import as_path
from genesis_jax.runs.workdir import RESULTS
from genesis_jax.tasks import LABELLED

_FIELDS = ('classes', 'cube_shape', 'channels', 'modality')

_EXPECTED = 'a fine-tuned run, such as WORKDIR/seed_0, or its export/model'


def load_model(folder: str | Path) -> tuple[dict[str, Any], Card]:
    """The export of a fine-tuned network, named by itself or by its run: `(variables, card)`.

    Raises:
      UserError: it is none, or damaged.
    """
    variables, card = load_export(_locate(folder), _EXPECTED)
    if card.task not in LABELLED:
        raise UserError(f'{folder} is a network that restores its input; expected {_EXPECTED}')
    if lacking := [name for name in _FIELDS if getattr(card, name) is None]:
        raise UserError(
            f'the card of {folder} is damaged, it has no {lacking[0]!r}; copy or export it again'
        )
    return variables, card


def runs_in(folder: str | Path) -> list[Path]:
    """The runs of a fine-tuning whose workdir this is, seed by seed; of anything else, itself.

    Raises:
      UserError: some runs have ended, but not all.
    """
    path = as_path(folder)
    runs = sorted((run for run in path.glob('seed_*') if run.is_dir()), key=_numbers)
    running = [run for run in runs if not (run / 'export' / 'model').is_dir()]
    if len(running) == len(runs):  # none, or none that could be averaged
        return [path]
    if running:
        raise UserError(
            f'{running[0]} has no export{_why(running[0])}, or name those of {folder} that have, '
            'separated by commas'
        )
    return runs


def _numbers(run):
    return [int(number) for number in re.findall(r'\d+', run.name)]


def _locate(folder):
    """The folder of the export that a user names; UserError where it is told from outside.

    What has no export inside is returned as it is.
    """
    path = as_path(folder)
    if not path.exists():
        raise UserError(f'there is no folder {folder}; expected {_EXPECTED}')
    if (kind := _foreign(path)) is not None:
        raise UserError(
            f'{folder} is {kind}; expected {_EXPECTED}: if it is a fine-tuned network, convert it '
            f'with python -m genesis_jax.convert {shlex.quote(str(folder))} EXPORT --to=orbax'
        )
    for inside in (path / 'export' / 'model', path / 'model'):
        if inside.is_dir():
            return inside
    if (path / 'export').is_dir() or (path / 'encoder').is_dir():
        raise UserError(
            f'{folder} is of a pre-training, whose network restores its input; expected '
            f'{_EXPECTED}: fine-tune it with main.py and --config.init'
        )
    runs = [*path.glob('seed_*'), *([path] if (path / 'checkpoints').is_dir() else [])]
    if runs and not any(path.glob('seed_*/export/model')):
        raise UserError(f'{folder} has no export{_why(runs[0])}, or choose another network')
    return path


def _why(run):
    """Why a run has no export, and what to do."""
    if (run / RESULTS).is_file():
        return ', though its run has ended; copy export/ from where it ran'
    return ' yet, because its run has not ended; run its main.py command again'


def _foreign(path):
    """What weights of another format are, in words; None: an export, or a folder of one."""
    if path.is_dir() and convert.recognise(path) == 'orbax':
        return None
    try:
        return convert.FORMATS[convert.recognise(path)].words
    except UserError:
        return 'a file'


def config_of(card: Card) -> ml_collections.ConfigDict:
    """The config that an export was trained with."""
    return ml_collections.ConfigDict(config_json.complete(card.config))


def card_hash(card: Card) -> str:
    """Twelve hexadecimal digits that tell cards, so exported networks, apart."""
    text = json.dumps(card.to_dict(), sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_data(card: Card, dataset: Any, model: str | Path, name: str) -> None:
    """That a dataset (`labelled.Labelled`) holds what a network was trained to see and to tell.

    Raises:
      UserError: it does not; names the first field that differs, and the remedy.
    """
    about = dataset.about
    spacing = card.spacing
    remedies = {
        'classes': 'choose a dataset of the same classes',
        'channels': 'choose one of the same channels in the same order',
        'modality': 'choose one of the same modality',
        'spacing': 'prepare it again '
        + (f'with --spacing={_plain(spacing, ",")}' if spacing else 'without --spacing'),
        'full_range': 'choose or prepare one whose window is found in the same way',
    }
    if about['modality'] == 'ct' or card.window is not None:
        del remedies['full_range']  # it has no effect
    for field, remedy in remedies.items():
        there, here = getattr(card, field), about[field]
        if field == 'full_range':
            there = bool(there)  # networks from before there was a choice do not tell
        if not _same(there, here):
            raise UserError(
                f'{model} was trained on data of {field} {_plain(there)} and the dataset {name!r} '
                f'has {_plain(here)}; {remedy}'
            )
    if dataset.shape[-1] != card.in_channels:
        raise UserError(
            f'{model} takes {card.in_channels} channels and the dataset {name!r} has '
            f'{dataset.shape[-1]}; choose one with as many'
        )


def check_agreement(first: tuple[str, Card], other: tuple[str, Card]) -> None:
    """That two networks, each `(name, card)`, take the same and tell the same: may be averaged.

    Raises:
      UserError: they do not; names both, and the first field that differs.
    """
    (name, card), (other_name, other_card) = first, other
    fields = _exchanged(other_card)
    for field, here in _exchanged(card).items():
        if not _same(here, fields[field]):
            here, there = (_plain(v) if v is not None else 'none' for v in (here, fields[field]))
            raise UserError(
                f'{name} and {other_name} cannot be averaged: their {field} is {here} and '
                f'{there}; name networks of the same {field}'
            )


def _exchanged(card):
    """What a network takes and what it tells, in words of messages."""
    found = card.modality != 'ct' and card.window is None  # its window, in each scan
    return {
        'task': card.task,
        'classes': card.classes,
        'channels': card.channels,
        'modality': card.modality,
        'spacing': 'native' if card.spacing is None else card.spacing,
        'window': card.window,
        'full_range': bool(card.full_range) if found else None,
        'view': card.view,
        'patch shape': card.record_shape or card.cube_shape,
    }


def check_unseen(card: Card, dataset: Any, model: str | Path, name: str) -> None:
    """That no test patient of a dataset trained or validated the network.

    Raises:
      UserError: some did.
    """
    patients = dataset.patients['test']
    seen = count_seen([card], patients)
    if seen:
        raise UserError(
            f'{seen} of the {len(patients)} test patients of the dataset {name!r} have the names '
            f'of patients that {model} was trained on; test it on the split of its training or '
            'train it again on this one, or give --other_patients if they only share names'
        )


def count_seen(cards: Sequence[Card], patients: Any) -> int:
    """How many of these patients trained or validated any of the networks."""
    trained = {patient for card in cards for patient in card.trained_on or ()}
    return sum(labelled.fingerprint(patient) in trained for patient in patients)


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
