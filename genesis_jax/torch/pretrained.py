"""Networks with weights, of any format that `genesis_jax.convert` reads.

Strict: every array is there and fits, or nothing is returned. A part is drawn at random only where
an argument asks for it, and it is said which.
"""

import numpy as np
import torch

from genesis_jax import convert
from genesis_jax.convert import first_kernel, names
from genesis_jax.errors import UserError
from genesis_jax.torch import networks

_NETWORKS = {'unet3d': networks.UNet3D, 'classifier3d': networks.Classifier3D}
_PARTS = {'unet3d': ('encoder', 'decoder', 'head'), 'classifier3d': ('encoder', 'hidden', 'head')}
# What an argument changes without touching the weights.
_FREE = ('batch_statistics', 'statistics_momentum')
_OPTIONS = {  # of a card's `config.model`; the rest concerns training in JAX
    'unet3d': ('width', 'epsilon', *_FREE, 'upsample'),
    'classifier3d': ('width', 'epsilon', *_FREE, 'hidden'),
}
_ASKED = {'decoder': 'new_decoder=True', 'hidden': 'hidden=N (0: none)', 'head': 'out_channels=N'}


def from_card(card):
    """The network that a card describes, in evaluation; its weights are drawn at random."""
    return _make(card['network'], _options(card, card['network']))


def from_pretrained(path, format=None, network=None, **changes):
    """A network with the weights of a file or folder, in evaluation.

    Args:
      path: a `.pt`, a Keras `.h5`, a hub folder (these need no JAX), an export, a run's workdir.
      format: one of `convert.FORMATS`; None: by what the file holds.
      network: 'unet3d' or 'classifier3d'; None: as it is there.
      changes: `out_channels=N` draws a new head of N logits, `hidden=N` a new hidden layer,
        `new_decoder=True` a new decoder, all at random; `in_channels=N` repeats and rescales the
        first kernel; `batch_statistics` and `statistics_momentum` replace what is there.

    Returns:
      the network; its `card` tells what is known of the weights, its `lines` what differs from
      the file, which is printed as well.

    Raises:
      UserError: it cannot be read, or lacks a part that no argument asks to draw.
    """
    variables, card = convert.read(path, format)
    made = from_variables(variables, card, network, source=path, **changes)
    if made.lines:
        print(*made.lines, sep='\n')
    return made


def from_variables(variables, card, network=None, source='the card', **changes):
    """The network of what `convert.read` returns; otherwise as `from_pretrained`."""
    network = network or card['network']
    if network not in _NETWORKS:
        raise UserError(f'there are no weights of a {network}; expected {", ".join(_NETWORKS)}')
    new = _new_parts(network, changes, source)
    options = {**_options(card, network), **changes}
    options.pop('new_decoder', None)
    wanted = _wanted(card, network, options, new, changes, source)
    made, lines = _make(network, options), []
    chosen = {
        collection: {part: tree[part] for part in wanted if part in tree}
        for collection, tree in variables.items()
    }
    if made.in_channels != card['in_channels']:
        _repeat_channels(chosen, made.in_channels)
        lines.append(first_kernel.line(card['in_channels'], made.in_channels))
    _load(made, chosen, network, wanted)
    if new:
        lines = [f'from {source}: {" and ".join(wanted)}', *lines]
        lines.append(f'drawn at random: {", ".join(new)}')
    made.card, made.lines = card, tuple(lines)
    return made


def _options(card, network):
    """Arguments of the network that a card describes, or of another with the same encoder."""
    model = card['config']['model']
    sizes = {'in_channels': card['in_channels'], 'out_channels': card['outputs']}
    return sizes | {name: model[name] for name in _OPTIONS[network] if name in model}


def _make(network, options):
    return _NETWORKS[network](**options).eval()


def _new_parts(network, changes, source):
    """The parts that `changes` ask to draw; UserError if they ask for what cannot be changed."""
    asked = {'decoder': 'new_decoder', 'hidden': 'hidden', 'head': 'out_channels'}
    asked = {part: name for part, name in asked.items() if part in _PARTS[network]}
    possible = (*asked.values(), 'in_channels', *_FREE)
    if wrong := [name for name in changes if name not in possible]:
        raise UserError(
            f'{wrong[0]} of {source} cannot be changed to {changes[wrong[0]]}; a {network} takes '
            f'{", ".join(possible)}'
        )
    return [part for part, name in asked.items() if changes.get(name)]


def _wanted(card, network, options, new, changes, source):
    """The parts to take from the source; UserError if one is not there."""
    needed = [part for part in _PARTS[network] if part != 'hidden' or options.get('hidden') != 0]
    # A head belongs to the network, and to the hidden layer, that it was trained with.
    kept = network == card['network'] and 'hidden' not in changes
    there = [part for part in card['parts'] if part != 'head' or kept]
    missing = [part for part in needed if part not in (*there, *new)]
    if missing:
        remedies = [_ASKED[part] for part in missing if part in _ASKED]
        raise UserError(
            f'{source} holds {", ".join(card["parts"])} of a {card["network"]}, and no '
            f'{" and no ".join(missing)} for this {network}; name another file'
            + (f', or ask for what is new with {", ".join(remedies)}' if remedies else '')
        )
    return [part for part in needed if part not in new]


def _repeat_channels(variables, count):
    """Fits the first kernel to so many input channels, in place."""
    *path, last = first_kernel.PATH
    tree = variables
    for key in path:
        tree[key] = dict(tree[key])  # not that of the caller
        tree = tree[key]
    tree[last] = first_kernel.for_channels(tree[last], count)


def _load(network, variables, kind, parts):
    """Puts the arrays of these parts into a network, each in its place."""
    made = names.Architecture(
        network=kind,
        parts=tuple(parts),
        width=network.width,
        in_channels=network.in_channels,
        outputs=network.out_channels,
        upsample=getattr(network, 'upsample', 'transpose'),
        hidden=getattr(network, 'hidden', 0),
    )
    arrays = names.to_torch(variables, made.rows())
    # float32 holds every bfloat16 and float16 exactly.
    tensors = {name: torch.from_numpy(np.array(a, np.float32)) for name, a in arrays.items()}
    unused = network.load_state_dict(tensors, strict=False).unexpected_keys
    assert not unused, unused
