"""Where a training starts: from scratch, or from the parts of a network trained before.

Strict: a part that is asked for is there in full and fits, or the run does not start.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from genesis_jax import convert
from genesis_jax.card import Card
from genesis_jax.card_rules import HEADS, WHOLE
from genesis_jax.card_rules import PARTS as ALL_PARTS
from genesis_jax.config_json import as_flag
from genesis_jax.convert import first_kernel, names
from genesis_jax.errors import OptionError, UserError
from genesis_jax.models import name_of
from genesis_jax.paths import as_path
from genesis_jax.provenance import Provenance
from genesis_jax.topology import settled
from genesis_jax.transforms import registry

PARTS = {'encoder': ('encoder',), 'encoder_decoder': ('encoder', 'decoder')}
_NAMES = {  # of starts in papers, which are no values of config.init
    'imagenet': '; for ImageNet name the file of a network, such as resnet18.pth',
    'genesis': '; for Genesis name the --workdir of its pre-training, such as runs/genesis_ct',
}
# Of the network: else it computes something else.
_COMPARED = ('name', 'module', 'norm', 'blocks', 'width', 'upsample', 'epsilon')


@dataclasses.dataclass(frozen=True)
class Start:
    """What a network starts with.

    Attributes:
      variables: arrays of the loaded parts, `{collection: {part: tree}}`; empty from scratch.
      provenance: what was loaded and what was not.
    """

    variables: dict[str, Any]
    provenance: Provenance

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the loaded parts."""
        return tuple(self.provenance.loaded)

    @property
    def lines(self) -> tuple[str, ...]:
        """What was loaded and what was not, in words."""
        return self.provenance.lines


def check_init(config: Any) -> None:
    """Raises UserError if `config.init` is nothing that fits the network; needs no dataset."""
    if config.init != 'scratch':
        _read(config)


def open_start(config: Any, expected: dict[str, Any]) -> Start:
    """Loads what `config.init` and, of a fine-tuning, `config.transfer` ask for.

    A pre-training takes the whole network. Its head starts anew where it is that of another task or
    of another number of channels.

    Args:
      expected: the network's variables, as arrays or their shapes.

    Raises:
      UserError: there is nothing of that name, or it does not fit the network.
    """
    own = [part for part in (*ALL_PARTS, HEADS) if part in expected['params']]
    if config.init == 'scratch':
        return Start({}, Provenance(init=config.init, new=own))
    folder, variables, card, parts = _read(config)
    there = here = card.in_channels  # of a network from outside, which is as it is or does not fit
    if not card.module:
        there, here = (first_kernel.get(tree).shape[-2] for tree in (variables, expected))
    heads = []  # channels of the heads, where they are why it is new
    if config.task == 'restoration' and _restores(card, variables):
        if card.out_channels == here:
            parts = [*parts, 'head']
        else:
            heads = [card.out_channels, here]
    loaded = {
        name: {part: tree[part] for part in parts if part in tree}
        for name, tree in variables.items()
    }
    if there != here:
        loaded = first_kernel.with_channels(loaded, here)
    views = [card.view, config.data.view]
    _check_fit(loaded, expected, parts, folder)
    provenance = dataclasses.replace(
        card.origin(),
        init=config.init,
        folder=str(folder),
        # (an export or a hub folder of ours may hold the weights of a file of another program)
        format=card.source.format if card.source else convert.recognise(folder),
        task=card.objective,
        dataset=card.dataset,
        modality=card.modality,
        corruptions=_undone(card),
        loaded=parts,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(loaded['params'])),
        unused=[part for part in variables['params'] if part not in parts],
        absent=[part for part in _wanted(config) if part not in parts],
        new=[part for part in own if part not in parts],
        channels=[there, here] if there != here else [],
        heads=heads,
        views=views if there == here and None not in views and len(set(views)) > 1 else [],
        before=card.provenance if _began_elsewhere(card) else None,
    )
    return Start(loaded, provenance)


def _read(config):
    """What `config.init` names: `(its folder, variables, card, parts to load but for a head)`.

    Raises:
      UserError: it cannot be read, lacks a part, or is of another network.
    """
    folder = _folder(config)
    variables, card = convert.read(folder)
    if card.dimensions != config.dimensions:
        raise UserError(
            f'{folder} holds a {card.dimensions}D network, and this run has '
            f'config.dimensions={config.dimensions}; name weights of a {config.dimensions}D '
            f'network as config.init, or choose a --config in {card.dimensions}D'
        )
    parts = _wanted(config)
    if card.is_foreign_resnet:  # its decoder cannot have been forgotten
        parts = ['encoder']
    missing = [part for part in parts if part not in variables['params']]
    if missing:
        other = ', or ask for --config.transfer=encoder' if 'transfer' in config else ''
        raise UserError(
            f'{folder} holds {", ".join(variables["params"])} and no {missing[0]}; name an export '
            f'with it as config.init{other}'
        )
    _check_network(config, card, folder, parts)
    return folder, variables, card, parts


def _wanted(config):
    """The parts that a config asks for, but for a head."""
    network = WHOLE[name_of(config.task, config.dimensions)]
    return [part for part in PARTS[_transfer(config)] if part in network]


def _transfer(config):
    return config.get('transfer', 'encoder_decoder')  # a pre-training has no choice


def _restores(card, variables):
    """Whether a head is there that restores, as far as the card knows."""
    return 'head' in variables['params'] and card.objective in (None, 'restoration')


def _undone(card):
    """The corruptions that a pre-training undid, if its config is known."""
    options = (card.config or {}).get('transforms')
    if not options:
        return []
    try:
        return list(registry.kinds(options)) or ['none']
    except OptionError:  # of somebody's own, which cannot be imported here
        happen = [
            name for name, value in options.items() if name.endswith('_probability') and value
        ]
        names = [name.removesuffix('_probability') for name in happen]
        return [name for name in names if name not in ('flip', 'outpaint')]


def _began_elsewhere(card):
    return card.provenance is not None and card.provenance.init != 'scratch'


def _folder(config):
    """What `config.init` names: weights in any format, or the fitting export of a workdir."""
    if not config.init:
        raise UserError('config.init is empty; expected scratch, a run or weights')
    try:
        return convert.locate(config.init, (_transfer(config), *convert.EXPORTS))
    except UserError as error:
        way_out = ''
        if not as_path(config.init).exists():
            way_out = f', or scratch{_NAMES.get(config.init.lower(), "")}'
        raise UserError(f'config.init={config.init}: {error}{way_out}') from None


def _check_network(config: Any, card: Card, folder: Path, parts: list[str]) -> None:
    """That the loaded parts would compute here what they did there."""
    own = config.model.to_dict()
    compared = [n for n in _COMPARED if n != 'upsample' or 'decoder' in parts]
    there, here = (
        {n: as_flag(model.get(n, own.get(n))) for n in compared} | settled(model, card.dimensions)
        for model in (card.model, own)
    )
    differ = [n for n in compared if there[n] != here[n]]
    if differ:
        settings = [f'config.model.{name}={there[name]}' for name in differ]
        raise UserError(
            f'{folder} was trained with {", ".join(settings)}, this run has '
            f'{", ".join(here[name] for name in differ)}; add '
            f'{" ".join(f"--{setting}" for setting in settings)}'
        )


def _check_fit(loaded, expected, parts, folder):
    """Raises UserError with every name that is missing, unexpected or of another shape."""
    have, need = (
        {
            name: leaf.shape
            for name, leaf in flatten_dict(tree, sep='/').items()
            if name.split('/')[1] in parts
        }
        for tree in (loaded, expected)
    )
    remedy = 'use an export of the same architecture, or set config.model as it was there'
    names.check(have, need, folder, remedy)


def shapes_of(network: Any, channels: int) -> dict[str, Any]:
    """The network's variables as shapes, which do not depend on the size of the input."""
    smallest = jax.ShapeDtypeStruct(network.smallest_input(channels), jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), smallest)
