"""Where a fine-tuning starts: from scratch, or from the parts of a network trained before.

Strict: a part that is asked for is there in full and fits, or the run does not start.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from genesis_jax import convert
from genesis_jax.convert import card_checks, external_weights, first_kernel, names
from genesis_jax.errors import UserError

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
      lines: what was loaded and what was not, in words.
    """

    variables: dict[str, Any]
    lines: tuple[str, ...]

    @property
    def parts(self):
        """Names of the loaded parts."""
        return tuple(self.variables.get('params', {}))


def open_start(config, expected):
    """Loads what `config.init` and `config.transfer` ask for.

    Args:
      expected: the network's variables, as arrays or their shapes.

    Raises:
      UserError: there is nothing of that name, or it does not fit the network.
    """
    own = [part for part in card_checks.PARTS if part in expected['params']]
    if config.init == 'scratch':
        return Start({}, (f'from scratch: {", ".join(own)} are drawn at random',))
    wanted = [part for part in PARTS[config.transfer] if part in own]
    folder = _folder(config)
    variables, card = convert.read(folder)
    anew = []
    if external_weights.is_resnet(card) and 'decoder' in wanted:  # none can have been forgotten
        wanted, anew = ['encoder'], ['a ResNet-18 has no decoder, which starts anew']
    missing = [part for part in wanted if part not in variables['params']]
    if missing:
        raise UserError(
            f'{folder} holds {", ".join(variables["params"])} and no {missing[0]}; name an export '
            f'with it as config.init, or ask for --config.transfer=encoder'
        )
    _check_dimensions(variables, expected, folder)
    _check_network(config, card, folder, wanted)
    loaded = {
        name: {part: tree[part] for part in wanted if part in tree}
        for name, tree in variables.items()
    }
    loaded, adapted = _adapt_channels(loaded, expected)
    adapted = adapted or _other_view(config, card)
    _check_fit(loaded, expected, wanted, folder)
    count = sum(leaf.size for leaf in jax.tree.leaves(loaded['params']))
    unused = [part for part in variables['params'] if part not in wanted]
    new = [part for part in own if part not in wanted]
    lines = [f'from {folder}: {" and ".join(wanted)} ({count:,} parameters)']
    lines += [*_converted(folder, card), *adapted, *anew]
    lines += [f'not loaded from there: {", ".join(unused)}'] if unused else []
    lines += [f'drawn at random: {", ".join(new)}'] if new else []
    return Start(loaded, tuple(lines))


def _folder(config):
    """What `config.init` names: weights in any format, or the fitting export of a workdir."""
    try:
        return convert.locate(config.init, (config.transfer, *convert.EXPORTS))
    except UserError as error:
        way_out = ''
        if not Path(config.init).expanduser().exists():
            way_out = f', or scratch{_NAMES.get(config.init.lower(), "")}'
        raise UserError(f'config.init={config.init}: {error}{way_out}') from None


def _converted(folder, card):
    """Lines on another format, and on what the weights were trained for, where that is known."""
    source = card.get('source') or {}
    told = (
        external_weights.trained_for(card),
        external_weights.left_out(card),
        external_weights.assumed(card),
    )
    told = [said for said in told if said]
    # (an export or a hub folder of ours may hold the weights of a file of another program)
    name = source.get('format') or convert.recognise(folder)
    if name == 'orbax' or name not in convert.FORMATS:
        return told
    digest = source.get('sha256')
    known = f', sha256 {digest[:12]}' if digest else ''
    return [f'converted from {convert.FORMATS[name].words}{known}', *told]


def _check_dimensions(variables, expected, folder):
    """That the weights are of as many dimensions as the network."""
    there, here = (
        flatten_dict(tree)[first_kernel.path_in(tree)].ndim - 2 for tree in (variables, expected)
    )
    if there != here:
        raise UserError(
            f'{folder} holds a {there}D network, and this run has config.dimensions={here}; name '
            f'weights of a {here}D network as config.init, or choose a --config in {there}D'
        )


def _check_network(config, card, folder, wanted):
    """That the loaded parts would compute here what they did there."""
    there = card['config']['model']
    compared = [n for n in _COMPARED if n != 'upsample' or 'decoder' in wanted]
    differ = [n for n in compared if there.get(n, config.model.get(n)) != config.model.get(n)]
    if differ:
        settings = [f'config.model.{name}={there[name]}' for name in differ]
        here = ', '.join(str(config.model.get(name)) for name in differ)
        raise UserError(
            f'{folder} was trained with {", ".join(settings)}, this run has {here}; add '
            f'{" ".join(f"--{setting}" for setting in settings)}'
        )


def _adapt_channels(loaded, expected):
    """Fits the first kernel to another number of input channels, and says so."""
    flat = flatten_dict(loaded)
    path = first_kernel.path_in(expected)
    old, new = flat[path].shape[-2], flatten_dict(expected)[path].shape[-2]
    if old == new:
        return loaded, []
    flat[path] = first_kernel.for_channels(flat[path], new)
    return unflatten_dict(flat), [first_kernel.line(old, new)]


def _other_view(config, card):
    """A line on as many channels that showed something else there (see `views`)."""
    there, here = card.get('view'), config.data.view
    if there is None or here is None or there == here:
        return []
    return [f'channels: as of config.data.view={there} there, {here} here']


def _check_fit(loaded, expected, wanted, folder):
    """Raises UserError with every name that is missing, unexpected or of another shape."""
    have = {name: leaf.shape for name, leaf in flatten_dict(loaded, sep='/').items()}
    need = {
        name: leaf.shape
        for name, leaf in flatten_dict(expected, sep='/').items()
        if name.split('/')[1] in wanted
    }
    remedy = 'use an export of the same architecture, or set config.model as it was there'
    names.check(have, need, folder, remedy)


def shapes_of(network, channels):
    """The network's variables as shapes, which do not depend on the size of the input."""
    smallest = jax.ShapeDtypeStruct(network.smallest_input(channels), jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), smallest)
