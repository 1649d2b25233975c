"""PyTorch files in the published layout: epoch, state_dict, optimizer_state_dict.

What is written here holds the card too, so that nothing is lost on the way back. Only tensors and
plain containers are ever read: a file that would run code is refused.
"""

import json
import pickle
import re
import shlex
import warnings
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genesis_jax.card import Card
from genesis_jax.convert import external_weights, names, resenc
from genesis_jax.errors import UserError

_CARD = 'genesis_jax'  # our key in the file
_EXPECTED = (
    "what torch.save makes of a network's state_dict(): save that alone, or copy the file again"
)
# NumPy's numbers, texts and arrays, which checkpoints have in their logs, run no code.
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    _SCALAR,
    (_SCALAR, 'numpy.core.multiarray.scalar'),
    _ARRAY,
    (_ARRAY, 'numpy.core.multiarray._reconstruct'),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes['All']} - {type(np.dtype(object))},
]
_STATES = ('state_dict', 'network_weights', 'model_state_dict', 'model')  # keys of state dicts
# Before whichever of these stands what a wrapper puts before every name.
_FIRST = (names.FIRST, resenc.FIRST, 'layer1.0.conv1.weight')
_WRAPPERS = (names.PREFIX, 'model.', '_orig_mod.')  # nn.DataParallel, Lightning, torch.compile
_LISTED = 8  # names that --drop could be given, in an error
_UNSAFE = re.compile(r'GLOBAL ([A-Za-z_][\w.]*)')  # in what PyTorch says of such a file


def read(path: str | Path, drop: Sequence[str] = ()) -> tuple[dict[str, Any], Card]:
    """`(variables, card)` of a file, whatever stands before all of its names.

    Args:
      drop: modules or arrays that are no part of the network, by name.

    Raises:
      UserError: it cannot be read safely, is damaged, or holds another network.
    """
    file = load(path)
    state, dropped = _without(_state_dict(file, path), drop, path)
    state, counters = _split(_unwrapped(state, path), path)
    state, heads = resenc.without_aliases(state, path)
    counters = resenc.own_counters(counters)
    if _CARD in file:
        card = _own_card(file[_CARD], path)
    else:
        epoch = file.get('epoch') if isinstance(file.get('epoch'), int) else 0
        kept = {'epoch': epoch, names.COUNTER: counters}
        state, card = external_weights.of_pytorch(
            state, path, 'pytorch', [*heads, *dropped], pytorch=kept
        )
    rows = names.rows(card)
    expected = {_counter(row) for row in rows}
    strangers = {name: torch.tensor(n) for name, n in counters.items() if name not in expected}
    state |= strangers
    return names.to_flax(state, rows, str(path), _remedy(state, rows, path)), card


def write(
    path: str | Path,
    variables: dict[str, Any],
    card: Card,
    dtype: str = 'float32',
    data_parallel: bool = False,
) -> None:
    """Writes a file whose state dict loads with `strict=True` and `weights_only=True`.

    Args:
      data_parallel: puts `module.` before every name, as nn.DataParallel and the published files
        have it.

    Raises:
      UserError: the variables are not those of the card's network, or too large for the dtype.
    """
    state, epoch = state_of(variables, card, dtype), (card.pytorch or {}).get('epoch', 0)
    if data_parallel:
        state = {names.PREFIX + name: tensor for name, tensor in state.items()}
    content = {'epoch': epoch, 'state_dict': state, 'optimizer_state_dict': {}}
    torch.save(content | own_card(card), path)


def own_card(card: Card) -> dict[str, str]:
    """The card as an entry of a file, which `read` finds there."""
    return {_CARD: json.dumps(card.to_dict())}


def state_of(variables: dict[str, Any], card: Card, dtype: str = 'float32') -> dict[str, Any]:
    """The state dict, tensors by name; UserError as `write`."""
    rows = names.rows(card)
    arrays = names.to_torch(variables, rows)
    counters, steps = (card.pytorch or {}).get(names.COUNTER) or {}, card.step or 0
    state: dict[str, Any] = {}
    for row in rows:
        narrow = names.narrow(arrays.pop(row.name), dtype, row.name).astype(np.float32)
        state[row.name] = torch.tensor(narrow, dtype=getattr(torch, dtype))
        if counter := _counter(row):
            state[counter] = torch.tensor(counters.get(counter, steps))
    if card.topology != 'resenc3d':
        return state
    zeros = partial(torch.zeros, dtype=getattr(torch, dtype))
    return resenc.with_aliases(state, card.out_channels, zeros)


def load(path: str | Path, expected: str = _EXPECTED) -> Any:
    """What a file holds, as far as that is tensors and plain containers; otherwise UserError."""
    try:
        _check_sums(path)
        quiet = warnings.catch_warnings(action='ignore')  # of pickles that it refuses just after
        with quiet, torch.serialization.safe_globals(_NUMBERS):
            return torch.load(path, map_location='cpu', weights_only=True)
    except (MemoryError, OSError, UserError):
        raise
    except Exception as error:  # of damaged files PyTorch raises anything
        unsafe = _UNSAFE.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    held = f'holds {unsafe[1]}' if unsafe else 'is damaged, or holds more than tensors'
    raise UserError(  # PyTorch's own words advise to read the file unsafely
        f'{path} {held}, and what could run code is not read; expected {expected}'
    )


def _check_sums(path):
    """Raises UserError if an array was overwritten: torch.load does not look at the checksums."""
    if not zipfile.is_zipfile(path):
        return  # as PyTorch wrote until 2020, without checksums
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad:
        raise UserError(f'{path} is damaged (the checksum of {bad} is wrong); copy it again')


def _state_dict(file, path):
    """Names and tensors of a file: below a usual key (`_STATES`), the only ones, or all of it."""
    state = file
    if isinstance(file, dict):
        held = [value for value in file.values() if _is_state(value)]
        only = held[0] if len(held) == 1 and not any(map(_is_tensor, file.values())) else file
        state = next((file[key] for key in _STATES if isinstance(file.get(key), dict)), only)
        state = file.get('state_dict', state)  # the first of them, even if it is no dict
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        held = f'a {type(state).__name__}'
    elif others := [name for name, value in state.items() if not _is_tensor(value)]:
        held = names.listing(others)
    else:
        return state
    raise UserError(
        f'{path} holds {held}; expected the tensors of a network by name, alone or as state_dict'
    )


def _is_tensor(value):
    return isinstance(value, torch.Tensor)


def _is_state(value):
    """Whether it is tensors by name."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and _is_tensor(one) for name, one in value.items())
    )


def _without(state, drop, path):
    """`(state dict without these modules and arrays, names of what they held)`."""
    before = _before(state)
    held = {part: [n for n in state if _is_of(n.removeprefix(before), part) or _is_of(n, part)]
            for part in drop}  # fmt: skip
    if absent := [part for part, own in held.items() if not own]:
        raise UserError(
            f'{path} holds nothing of the name {names.listing(absent)}; expected names of it: '
            f'{names.listing(state)}'
        )
    dropped = [name for own in held.values() for name in own]
    return {name: array for name, array in state.items() if name not in dropped}, dropped


def _unwrapped(state, path):
    """The state dict without what wrappers put before its names, such as `module._orig_mod.`."""
    before = _before(state)
    wrapper = before or next(
        (w for w in _WRAPPERS if any(name.startswith(w) for name in state)), ''
    )
    bare = [name for name in state if not name.startswith(wrapper)]
    if bare:
        prefixed = [name for name in state if name.startswith(wrapper)]
        drop = _command(bare if before else [], path)
        raise UserError(
            f'{path} has {wrapper!r} before {len(prefixed)} of its {len(state)} names '
            f'({names.listing(prefixed)}) and not before {len(bare)} ({names.listing(bare)}); '
            'expected all or none: '
            + (f'if those are no part of the network, {drop}' if drop else
               'name a file that was saved in one piece')
        )  # fmt: skip
    return {name.removeprefix(wrapper): tensor for name, tensor in state.items()}


def _before(state):
    """What stands before the first of our names that is there, or ''."""
    found = [
        name.removesuffix(first)
        for first in _FIRST
        for name in state
        if name == first or name.endswith(f'.{first}')
    ]
    return min(found, key=len, default='')  # a residual encoder has its names again as aliases


def _is_of(name, part):
    return name == part or name.startswith(f'{part}.')


def _remedy(state, rows, path):
    """What to do if arrays do not fit."""
    expected = {row.name for row in rows}
    unexpected = [name for name in state if name not in expected]
    if unexpected and expected <= state.keys() and (drop := _command(unexpected, path, expected)):
        return f'if those are no part of it, {drop}'
    return 'name a file of the same network'


def _command(unwanted, path, expected=()):
    """The command that leaves arrays out, by their modules where nothing else is in them."""
    modules = {name.rpartition('.')[0] or name for name in unwanted}
    modules = {part for part in modules if not any(_is_of(name, part) for name in expected)}
    parts = sorted(modules | {n for n in unwanted if not any(_is_of(n, part) for part in modules)})
    if not 0 < len(parts) <= _LISTED:
        return ''
    flag = shlex.quote(f'--drop={",".join(parts)}')
    return f'run: python -m genesis_jax.convert {shlex.quote(str(path))} TARGET {flag}'


def _split(state, path):
    """`(arrays in float32, counters)` by name."""
    arrays, counters, others = {}, {}, []
    for name, tensor in state.items():
        dense = tensor.layout == torch.strided and tensor.device.type == 'cpu'
        if dense and name.endswith(names.COUNTER) and tensor.numel() == 1 and tensor.isfinite():
            counters[name] = int(tensor)
        elif dense and tensor.is_floating_point():
            wide = tensor.dtype == torch.float64
            arrays[name] = (tensor if wide else tensor.float()).detach().numpy()
        else:
            others.append(f'{name} of {tensor.dtype}')
    if others:
        raise UserError(
            f'{path} holds {len(others)} arrays that are no dense floating-point numbers '
            f'({names.listing(others)}); expected nothing else: save the network in float32'
        )
    return names.as_float32(arrays, path), counters


def _own_card(text, path):
    try:
        entries = json.loads(text)
    except (TypeError, ValueError):
        raise UserError(
            f'the card in {path} is damaged; expected JSON: convert the network again'
        ) from None
    return Card.from_dict(entries, path)


def _counter(row):
    """The name of the counter that stands after a row, or ''."""
    stem = row.name.removesuffix('running_var')
    return '' if stem == row.name else stem + names.COUNTER
