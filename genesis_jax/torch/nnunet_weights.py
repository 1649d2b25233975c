"""Weights for nnU-Net v2's `-pretrained_weights` and nnssl's adaptation; see `torch/nnunet.py`.

The file holds `network_weights`, the plans' `architecture` and an `nnssl_adaptation_plan`. A
residual-encoder U-Net is nnU-Net's own and fits its plans of as many stages. The published U-Net
fits `genesis_jax.torch.nnunet.GenesisPlainConvUNet` and no network of nnU-Net's own. nnU-Net has
the axes of an array as Z, Y, X and ours are X, Y, Z: the kernels are turned round.
"""

from pathlib import Path
from typing import Any

import torch

from genesis_jax.card import Card
from genesis_jax.convert import pytorch, resenc
from genesis_jax.errors import UserError
from genesis_jax.topology import NETWORKS, norm_of
from genesis_jax.torch import nnunet
from genesis_jax.torch.pretrained import UNet3D, from_variables

_MODEL = ('width', 'upsample', 'epsilon', 'batch_norm_momentum', 'batch_statistics')


def write(path: str | Path, variables: dict[str, Any], card: Card, dtype: str = 'float32') -> None:
    """Writes a file; UserError unless it is a whole U-Net.

    nnU-Net leaves out the last layer, but compares the rest name by name: a file without decoder
    would not load.
    """
    assert dtype == 'float32', dtype
    own_norm = NETWORKS[card.topology].norm
    if card.module or norm_of(card.model, card.dimensions) != own_norm:
        raise UserError(
            f'the network has {card.module or "config.model.norm=" + card.model["norm"]}, which '
            f'nnU-Net does not build; expected {card.topology} with norm={own_norm}'
        )
    if card.network != UNet3D.name:
        raise UserError(
            f'nnU-Net segments here in 3D, and this is a {card.network}; expected a U-Net '
            f'({UNet3D.name})'
        )
    card.check_whole('nnU-Net')
    if card.topology == 'resenc3d':
        state = pytorch.state_of(variables, card)
        own = _architecture_of(card)
    else:
        network = from_variables(variables, card)
        state = network.state_dict()
        state = {nnunet.renamed(name): _turned(array) for name, array in state.items()}
        own = nnunet.architecture({name: getattr(network, name) for name in _MODEL})
    torch.save(
        {
            'network_weights': state,
            'architecture': own,
            'nnssl_adaptation_plan': _adaptation(card, own),
            **pytorch.own_card(card),
        },
        path,
    )


def _architecture_of(card):
    """What nnU-Net's plans hold of a residual-encoder U-Net."""
    return {
        'network_class_name': resenc.CLASS,
        'arch_kwargs': resenc.arch_kwargs(card.model),
        '_kw_requires_import': ['conv_op', 'norm_op', 'dropout_op', 'nonlin'],
    }


def _turned(array):
    """A kernel `[..., X, Y, Z]` as `[..., Z, Y, X]`; anything else as it is."""
    return array.permute(0, 1, 4, 3, 2).contiguous() if array.ndim == 5 else array


def _adaptation(card, own):
    """What nnssl saves beside weights, as far as fine-tuning reads it."""
    sides = [int(side) for side in (card.cube_shape or (64, 64, 32))[:3]][::-1]
    spacing = [float(value) for value in card.spacing or ()][::-1] or None
    key = resenc if card.topology == 'resenc3d' else nnunet.GenesisPlainConvUNet
    return {
        'architecture_plans': {
            'arch_class_name': own['network_class_name'],
            'arch_kwargs': own['arch_kwargs'],
            'arch_kwargs_requiring_import': own['_kw_requires_import'],
        },
        'pretrain_plan': {'configurations': {'genesis': {'spacing': spacing, 'patch_size': sides}}},
        'pretrain_num_input_channels': card.in_channels,
        'recommended_downstream_patchsize': sides,
        'key_to_encoder': key.key_to_encoder,
        'key_to_stem': key.key_to_stem,
        'keys_to_in_proj': list(key.keys_to_in_proj),
        'key_to_lpe': key.key_to_lpe,
    }
