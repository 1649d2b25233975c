"""The residual-encoder U-Net: names of `dynamic_network_architectures`' ResidualEncoderUNet.

That is the class that nnU-Net v2 and nnssl build. Its axes are Z, Y, X and ours X, Y, Z, so kernels
are turned round. Its state dict has most arrays several times: every convolution and normalisation
again as a member of `all_modules`, and the whole encoder again as the decoder's. NumPy only.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from genesis_jax.convert import table
from genesis_jax.errors import UserError
from genesis_jax.topology import RESENC_BLOCKS, norm_of, resenc_features

FIRST = 'encoder.stem.convs.0.conv.weight'
CLASS = 'dynamic_network_architectures.architectures.unet.ResidualEncoderUNet'
# Where nnssl's adaptation finds the parts that it loads.
key_to_encoder, key_to_stem, key_to_lpe = 'encoder.stages', 'encoder.stem', None
keys_to_in_proj = ('encoder.stem.convs.0.conv', 'encoder.stem.convs.0.all_modules.0')
_ALIASES = ('decoder.encoder.', '.all_modules.')
_IN_LIST = {'.conv.': '.all_modules.0.', '.norm.': '.all_modules.1.'}
_HEADS = 'decoder.seg_layers.'


def encoder_rows(model: Mapping[str, Any], in_channels: int) -> list[table.Row]:
    """The arrays of the encoder that `config.model` describes, in PyTorch's order."""
    features, blocks = resenc_features(model), model.get('blocks') or RESENC_BLOCKS
    before = features[0]
    rows = _block(model, 'encoder.stem.convs.0', 'encoder/stem', '', (in_channels, before))
    for level, (after, count) in enumerate(zip(features, blocks, strict=True)):
        for block in range(count):
            name = f'encoder.stages.{level}.blocks.{block}'
            path, first = f'encoder/level_{level}/block_{block}', (before, after)
            rows += _block(model, f'{name}.conv1', path, '_0', first)
            rows += _block(model, f'{name}.conv2', path, '_1', (after, after))
            if before != after:
                kernel, _, *norm = _block(model, f'{name}.skip.1', path, None, first, 'head')
                rows += [kernel, *norm]
            before = after
    return rows


def decoder_rows(model: Mapping[str, Any]) -> list[table.Row]:
    """The arrays of the decoder, without its heads."""
    *skips, below = resenc_features(model)
    stages, up = list[table.Row](), list[table.Row]()
    for number, (level, skip) in enumerate(reversed(list(enumerate(skips)))):
        name, path = f'decoder.stages.{number}.convs.0', f'decoder/level_{level}'
        stages += _block(model, name, path, '', (2 * skip, skip))
        name, path = f'decoder.transpconvs.{number}', f'decoder/up_{level}'
        up += table.layer(name, tuple(path.split('/')), 'up', (below, skip), turned=True)
        below = skip
    return stages + up


def head_rows(model: Mapping[str, Any], out_channels: int) -> list[table.Row]:
    """The arrays of the head: the last of those of deep supervision."""
    name, channels = f'{_HEADS}{len(resenc_features(model)) - 2}', resenc_features(model)[0]
    return table.layer(name, ('head',), 'head', (channels, out_channels), turned=True)


def is_one(state: Mapping[str, Any]) -> bool:
    """Whether a state dict has the names of a residual encoder."""
    return FIRST in state and 'encoder.stages.0.blocks.0.conv1.conv.weight' in state


def described(state: Mapping[str, Any], source: object) -> dict[str, Any]:
    """What names and shapes tell of a network, as `names.describe`; no aliases among them.

    Raises:
      UserError: its stages have other widths than here.
    """
    width, in_channels, *_ = state[FIRST].shape
    blocks: list[int] = []
    while f'encoder.stages.{len(blocks)}.blocks.0.conv1.conv.weight' in state:
        stage, count = f'encoder.stages.{len(blocks)}.blocks', 0
        while f'{stage}.{count}.conv1.conv.weight' in state:
            count += 1
        blocks.append(count)
    norm = 'batch' if 'encoder.stem.convs.0.norm.running_mean' in state else 'instance'
    model = {'name': 'resenc3d', 'width': int(width), 'norm': norm, 'blocks': blocks}
    kernels = [state[f'encoder.stages.{n}.blocks.0.conv1.conv.weight'] for n in range(len(blocks))]
    found, expected = [int(kernel.shape[0]) for kernel in kernels], resenc_features(model)
    if found != expected or any(len(kernel.shape) != 5 for kernel in kernels):
        raise UserError(
            f'{source} is a residual encoder of the kernel {tuple(kernels[0].shape)} and the '
            f'channels {", ".join(map(str, found))}; expected one in 3D of '
            f'{", ".join(map(str, expected))}, as nnU-Net plans them'
        )
    head = state.get(f'{_HEADS}{len(blocks) - 2}.weight', state.get('dense_2.weight'))
    hidden = state.get('dense_1.weight')
    kind = 'classifier' if 'dense_2.weight' in state else 'unet'
    if kind == 'classifier':
        model['hidden'] = 0 if hidden is None else int(hidden.shape[0])
    parts = {'encoder': True, 'decoder': any(n.startswith('decoder.stages.') for n in state),
             'hidden': hidden is not None, 'head': head is not None}  # fmt: skip
    return {
        'network': f'{kind}3d',
        'parts': [part for part, there in parts.items() if there],
        'in_channels': int(in_channels),
        'out_channels': 1 if head is None else int(head.shape[0]),
        'config': {'model': model},
    }


def without_aliases(state: Mapping[str, Any], source: object) -> tuple[dict[str, Any], list[str]]:
    """`(state dict with each array once, names of heads that no network here has)`.

    Raises:
      UserError: an array differs from what the other names of it hold.
    """
    if not is_one(state):
        return dict(state), []
    once = {name: a for name, a in state.items() if not any(alias in name for alias in _ALIASES)}
    differ = [
        alias
        for name, array in once.items()
        for alias in aliases(name)
        if alias in state and not np.array_equal(state[alias], array, equal_nan=True)
    ]
    known = {alias for name in once for alias in aliases(name)}
    differ += [name for name in state if name not in known and name not in once]
    if differ:
        raise UserError(
            f'{source} holds {len(differ)} arrays that differ from those under their other names '
            f'({", ".join(differ)}); expected a state dict as the network has it: save it again'
        )
    heads = sorted({name for name in once if name.startswith(_HEADS)}, key=_number)
    coarse = [name for name in heads if _number(name) < _number(heads[-1])]
    return {name: array for name, array in once.items() if name not in coarse}, coarse


def own_counters(counters: Mapping[str, int]) -> dict[str, int]:
    """The counters of batch normalisations, each once."""
    return {n: c for n, c in counters.items() if not any(alias in n for alias in _ALIASES)}


def with_aliases(
    arrays: Mapping[str, Any], out_channels: int, zeros: Callable[[tuple[int, ...]], Any]
) -> dict[str, Any]:
    """All names of ResidualEncoderUNet's state dict: that of a U-Net loads with `strict=True`.

    The heads of coarser levels, which no export here has, are zeros.
    """
    full, decodes = dict(arrays), any(name.startswith('decoder.') for name in arrays)
    for name, array in arrays.items():
        others = aliases(name) if decodes else [n for n in aliases(name) if _ALIASES[0] not in n]
        full |= dict.fromkeys(others, array)
        if name.startswith('decoder.transpconvs.') and name.endswith('.weight'):
            head = f'{_HEADS}{name.split(".")[2]}'
            for kind, shape in (('weight', (array.shape[1], 1, 1, 1)), ('bias', ())):
                full.setdefault(f'{head}.{kind}', zeros((out_channels, *shape)))
    return full


def aliases(name: str) -> list[str]:
    """The other names of an array."""
    again = [name.replace(part, listed) for part, listed in _IN_LIST.items() if part in name]
    own = [name, *again]
    return again + [f'decoder.{n}' for n in own if name.startswith('encoder.')]


def arch_kwargs(model: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ResidualEncoderUNet, as plans hold them, but for channels and classes."""
    features = resenc_features(model)
    norm = {'instance': 'InstanceNorm3d', 'batch': 'BatchNorm3d'}[norm_of(model, 3)]
    return {
        'n_stages': len(features),
        'features_per_stage': features,
        'conv_op': 'torch.nn.modules.conv.Conv3d',
        'kernel_sizes': [[3, 3, 3]] * len(features),
        'strides': [[1, 1, 1], *[[2, 2, 2]] * (len(features) - 1)],
        'n_blocks_per_stage': list(model.get('blocks') or RESENC_BLOCKS),
        'n_conv_per_stage_decoder': [1] * (len(features) - 1),
        'conv_bias': True,
        'norm_op': f'torch.nn.modules.{norm[:-6].lower()}norm.{norm}',
        'norm_op_kwargs': {'eps': model['epsilon'], 'affine': True},
        'dropout_op': None,
        'dropout_op_kwargs': None,
        'nonlin': 'torch.nn.LeakyReLU',
        'nonlin_kwargs': {'inplace': True},
    }


def _block(model, name, path, suffix, sizes, kind='conv'):
    """A convolution and its normalisation; of a shortcut (`suffix` None) they have other names."""
    conv, norm = (
        ('shortcut_conv', 'shortcut_bn') if suffix is None else ('conv' + suffix, 'bn' + suffix)
    )
    place = tuple(path.split('/'))
    statistics = norm_of(model, 3) == 'batch'
    return [
        *table.layer(f'{name}.conv', (*place, conv), kind, sizes, turned=True),
        *table.norm(f'{name}.norm', (*place, norm), sizes[1], statistics),
    ]


def _number(name):
    return int(name.removeprefix(_HEADS).partition('.')[0])
