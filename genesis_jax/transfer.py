"""Where a fine-tuning starts: from scratch, or from the parts of a network trained before.

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
from genesis_jax.card_rules import HEADS
from genesis_jax.card_rules import PARTS as ALL_PARTS
from genesis_jax.convert import first_kernel, names
from genesis_jax.errors import UserError
from genesis_jax.paths import as_path
from genesis_jax.provenance import Provenance

PARTS = {'encoder': ('encoder',), 'encoder_decoder': ('encoder', 'decoder')}
_NAMES = {  # of starts in papers, which are no values of config.init
    'imagenet': '; for ImageNet name the file of a network, such as resnet18.pth',
    'genesis': '; for Genesis name the --workdir of its pre-training, such as runs/genesis_ct',
}
_COMPARED = ('width', 'upsample', 'epsilon')  # of the network: else it computes something else


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
    """Raises UserError if `config.init` names nothing that can be read; loads nothing."""
    if config.init != 'scratch':
        _folder(config)


def open_start(config: Any, expected: dict[str, Any]) -> Start:
    """Loads what `config.init` and `config.transfer` ask for.

    Args:
      expected: the network's variables, as arrays or their shapes.

    Raises:
      UserError: there is nothing of that name, or it does not fit the network.
    """
    own = [part for part in (*ALL_PARTS, HEADS) if part in expected['params']]
    if config.init == 'scratch':
        return Start({}, Provenance(init=config.init, new=own))
    parts = [part for part in PARTS[config.transfer] if part in own]
    absent = []
    folder = _folder(config)
    variables, card = convert.read(folder)
    if card.is_foreign_resnet and 'decoder' in parts:  # none can have been forgotten
        parts, absent = ['encoder'], ['decoder']
    missing = [part for part in parts if part not in variables['params']]
    if missing:
        raise UserError(
            f'{folder} holds {", ".join(variables["params"])} and no {missing[0]}; name an export '
            f'with it as config.init, or ask for --config.transfer=encoder'
        )
    _check_dimensions(variables, expected, folder)
    _check_network(config, card, folder, parts)
    loaded = {
        name: {part: tree[part] for part in parts if part in tree}
        for name, tree in variables.items()
    }
    there, here = (first_kernel.get(tree).shape[-2] for tree in (loaded, expected))
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
        loaded=parts,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(loaded['params'])),
        unused=[part for part in variables['params'] if part not in parts],
        absent=absent,
        new=[part for part in own if part not in parts],
        channels=[there, here] if there != here else [],
        views=views if there == here and None not in views and len(set(views)) > 1 else [],
    )
    return Start(loaded, provenance)


def _folder(config):
    """What `config.init` names: weights in any format, or the fitting export of a workdir."""
    try:
        return convert.locate(config.init, (config.transfer, *convert.EXPORTS))
    except UserError as error:
        way_out = ''
        if not as_path(config.init).exists():
            way_out = f', or scratch{_NAMES.get(config.init.lower(), "")}'
        raise UserError(f'config.init={config.init}: {error}{way_out}') from None


def _check_dimensions(variables, expected, folder):
    """That the weights are of as many dimensions as the network."""
    there, here = (len(first_kernel.get(tree).shape) - 2 for tree in (variables, expected))
    if there != here:
        raise UserError(
            f'{folder} holds a {there}D network, and this run has config.dimensions={here}; name '
            f'weights of a {here}D network as config.init, or choose a --config in {there}D'
        )


def _check_network(config: Any, card: Card, folder: Path, parts: list[str]) -> None:
    """That the loaded parts would compute here what they did there."""
    compared = [n for n in _COMPARED if n != 'upsample' or 'decoder' in parts]
    there = {n: card.model.get(n, config.model.get(n)) for n in compared}
    differ = [n for n in compared if there[n] != config.model.get(n)]
    if differ:
        settings = [f'config.model.{name}={there[name]}' for name in differ]
        here = ', '.join(str(config.model.get(name)) for name in differ)
        raise UserError(
            f'{folder} was trained with {", ".join(settings)}, this run has {here}; add '
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
