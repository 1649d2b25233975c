"""Networks with weights, of any format that `genesis_jax.convert` reads.

Strict: every array is there and fits, or nothing is returned. A part is randomly initialised only
where an argument asks for it, and reported.
"""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from genesis_jax import card_rules, convert
from genesis_jax.card import Card, split
from genesis_jax.convert import first_kernel, names, pytorch, resenc
from genesis_jax.errors import UserError
from genesis_jax.provenance import Provenance
from genesis_jax.topology import norm_of
from genesis_jax.torch import networks, resnet


class Pretrained(networks.Network):
    """What reads and writes the weights of a network.

    Attributes:
      card: what is known of the weights, None if they were never loaded.
      provenance: what differs from the file or is assumed.
    """

    name = ''
    card: Card | None = None
    provenance = Provenance()

    @property
    def lines(self) -> tuple[str, ...]:
        """`provenance` in words."""
        return self.provenance.lines

    @classmethod
    def from_pretrained(cls, path: str | Path, format: str | None = None, **changes: Any) -> Self:
        """This network with the weights of a file; see `genesis_jax.torch.from_pretrained`."""
        return from_pretrained(path, format, cls.name, **changes)

    def save(self, path: str | Path) -> None:
        """Writes a network as a `.pt`, in the place of what is there, whole or not at all.

        The card in it tells the network as it is now, and what it started from; the task is
        unknown, as a head can be of any classes.

        Raises:
          UserError: nothing can be written there.
        """
        path = Path(path).expanduser()
        state = {name: t.detach().cpu().float().numpy() for name, t in self.state_dict().items()}
        counters = {name: state.pop(name) for name in [*state] if name.endswith(names.COUNTER)}
        described = names.describe(state, 'the network')  # heads that were exchanged, too
        variables = names.to_flax(state, names.rows(described), 'the network')
        model = {name: getattr(self, name) for name in _FREE} | described['config']['model']
        kept = {'epoch': 0, names.COUNTER: {n: int(c) for n, c in counters.items()}}
        card = Card.from_dict(
            described | {'config': {'model': model}, 'pytorch': kept}, 'the network'
        )
        card = dataclasses.replace(card, provenance=self.provenance)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix='.save_', dir=path.parent) as folder:
                pytorch.write(Path(folder) / path.name, variables, card)
                os.replace(Path(folder) / path.name, path)
        except OSError as error:
            raise UserError(
                f'cannot write {path} ({error.strerror or error}); choose another file'
            ) from None


class UNet3D(Pretrained, networks.UNet):
    """The U-Net of volumes `[B, C, X, Y, Z]`; the default has 19,073,665 parameters."""

    name = 'unet3d'


class Classifier3D(Pretrained, networks.Classifier):
    """The classifier of volumes `[B, C, X, Y, Z]`."""

    name = 'classifier3d'


class UNet2D(Pretrained, resnet.UNet2D):
    """The U-Net of images `[B, C, X, Y]`; the default has 15,818,401 parameters."""

    name = 'unet2d'


class Classifier2D(Pretrained, resnet.Classifier2D):
    """The classifier of images `[B, C, X, Y]`."""

    name = 'classifier2d'


_NETWORKS = {made.name: made for made in (UNet3D, Classifier3D, UNet2D, Classifier2D)}
_PARTS = {'unet': ('encoder', 'decoder', 'head'), 'classifier': ('encoder', 'hidden', 'head')}
_FREE = ('batch_statistics', 'epsilon', 'batch_norm_momentum')  # change no weights
_OPTIONS = {  # of a card's `config.model`; the rest concerns training in JAX
    'unet': (*_FREE, 'width', 'upsample'),
    'classifier': (*_FREE, 'width', 'hidden'),
}
_ASKED = {'decoder': 'new_decoder=True', 'hidden': 'hidden=N (0: none)', 'head': 'out_channels=N'}


def from_card(card: Card | Mapping[str, Any]) -> Any:
    """The network that a card describes, in evaluation; its weights are randomly initialised."""
    card = Card.from_dict(card)
    _check_twin(card, 'the card')
    return _NETWORKS[card.network](**_options(card, card.network)).eval()


def from_pretrained(
    path: str | Path, format: str | None = None, network: str | None = None, **changes: Any
) -> Any:
    """A network with the weights of a file or folder, in evaluation.

    Args:
      path: a `.pt`, a Keras `.h5`, a hub folder (these need no JAX), an export, a run's workdir.
      format: one of `convert.FORMATS`; None: by what the file holds.
      network: one of `card_rules.WHOLE`; None: as it is there.
      changes: `out_channels=N` draws a new head of N logits, `hidden=N` a new hidden layer,
        `new_decoder=True` a new decoder, randomly initialised; `in_channels=N` repeats and rescales
        the first kernel; `batch_statistics`, `epsilon` and `batch_norm_momentum` replace what is
        there, or what is assumed of a `.pt` without card.

    Returns:
      the network; its `card` tells what is known of the weights, its `lines` what differs from
      the file or is assumed, which is printed as well.

    Raises:
      UserError: it cannot be read, or lacks a part that no argument asks to draw.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f'there are no weights in {path!r}; expected the path of a file or folder')
    _check_values(changes)
    variables, card = convert.read(path, format, changes.get('epsilon'))
    made = from_variables(variables, card, network, source=path, **changes)
    if made.lines:
        print(*made.lines, sep='\n')
    return made


def from_variables(
    variables: dict[str, Any],
    card: Card | Mapping[str, Any],
    network: str | None = None,
    source: object = 'the card',
    **changes: Any,
) -> Any:
    """The network of what `convert.read` returns; otherwise as `from_pretrained`."""
    card = Card.from_dict(card)
    network = network or card.network
    if network not in _NETWORKS:
        raise UserError(f'there are no weights of a {network}; expected {", ".join(_NETWORKS)}')
    _check_twin(card, source)
    dimensions = split(network)[1]
    if dimensions != card.dimensions:
        raise UserError(
            f'{source} holds a {card.network}, whose encoder fits no {network}; name weights of '
            f'a {dimensions}D network'
        )
    _check_values(changes)
    new = _new_parts(network, changes, source)
    options = {**_options(card, network), **changes}
    options.pop('new_decoder', None)
    parts = _wanted(card, network, options, new, changes, source)
    made = _NETWORKS[network](**options).eval()
    chosen = {
        collection: {part: tree[part] for part in parts if part in tree}
        for collection, tree in variables.items()
    }
    channels = [card.in_channels, made.in_channels]
    if made.in_channels != card.in_channels:
        chosen = first_kernel.with_channels(chosen, made.in_channels)
    _load(made, chosen, parts)
    made.card = card
    made.provenance = dataclasses.replace(
        card.origin(known=changes),
        folder=str(source) if new else '',
        loaded=parts,
        new=new,
        channels=channels if len(set(channels)) > 1 else [],
    )
    return made


def _check_twin(card, source):
    """Raises UserError of a network that has no module here."""
    if card.topology == 'resenc3d' and not card.module:
        raise UserError(
            f'{source} holds a residual-encoder U-Net, which is {resenc.CLASS} in PyTorch; '
            'expected a published network: write the state dict of that class with python -m '
            'genesis_jax.convert SOURCE TARGET.pth'
        )
    norm = norm_of(card.model, card.dimensions)
    if card.module or norm != 'batch':
        raise UserError(
            f'{source} holds {card.module or "a network of " + norm + " normalisation"}, and the '
            'networks here are the published ones, of batch normalisation; use it in JAX'
        )


def _options(card, network):
    """Arguments of the network that a card describes, or of another with the same encoder."""
    model = card.model
    sizes = {'in_channels': card.in_channels, 'out_channels': card.out_channels}
    return sizes | {name: model[name] for name in _OPTIONS[split(network)[0]] if name in model}


def _new_parts(network, changes, source):
    """The parts that `changes` ask to draw; UserError if they ask for what cannot be changed."""
    options = {'decoder': 'new_decoder', 'hidden': 'hidden', 'head': 'out_channels'}
    options = {part: name for part, name in options.items() if part in _PARTS[split(network)[0]]}
    possible = (*options.values(), 'in_channels', *_FREE)
    if wrong := [name for name in changes if name not in possible]:
        raise UserError(
            f'{wrong[0]} of {source} cannot be changed to {changes[wrong[0]]}; a {network} takes '
            f'{", ".join(possible)}'
        )
    return [part for part, name in options.items() if changes.get(name)]


def _check_values(changes):
    """Raises UserError for a value that no network can have."""
    for name, value in changes.items():
        fits, expected = card_rules.OF_OPTION.get(name, (lambda _: True, ''))
        if not fits(value):
            raise UserError(f'{name} is {value!r}; expected {expected}')


def _wanted(card, network, options, new, changes, source):
    """The parts to take from the source; UserError if one is not there."""
    needed = [p for p in _PARTS[split(network)[0]] if p != 'hidden' or options.get('hidden') != 0]
    # A head belongs to the network, hidden layer and decoder that it was trained with.
    replaced = changes.get('new_decoder') or 'hidden' in changes
    kept = network == card.network and not replaced
    there = [part for part in card.parts if part != 'head' or kept]
    missing = [part for part in needed if part not in (*there, *new)]
    if missing:
        remedies = [_ASKED[part] for part in missing if part in _ASKED]
        fresh = f' with its new {" and ".join(new)}' if new else ''
        raise UserError(
            f'{source} holds {", ".join(card.parts)} of a {card.network}, and no '
            f'{" and no ".join(missing)} for this {network}{fresh}; name another file'
            + (f', or ask for what is new with {", ".join(remedies)}' if remedies else '')
        )
    return [part for part in needed if part not in new]


def _load(network, variables, parts):
    """Puts the arrays of these parts into a network, each in its place."""
    model = {name: getattr(network, name) for name in _OPTIONS[split(network.name)[0]]}
    sizes = network.in_channels, network.out_channels
    rows = names.rows(Card(network.name, parts, *sizes, {'model': model}))
    arrays = names.to_torch(variables, rows)
    # (float32 holds every bfloat16 and float16 exactly; at no time are all arrays there twice)
    tensors = {
        name: torch.from_numpy(np.array(arrays.pop(name), np.float32)) for name in list(arrays)
    }
    assert not network.load_state_dict(tensors, strict=False, assign=True).unexpected_keys
