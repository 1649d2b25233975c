"""The U-Net as nnU-Net v2 builds networks, and the plans that name it.

nnU-Net's `-pretrained_weights` takes a file whose arrays are all of those of the network that the
plans describe, but for its last layers. Its own networks (PlainConvUNet, ResidualEncoderUNet) have
other widths, instance normalisation, strided convolutions and more levels: these weights cannot be
poured into them. What nnU-Net can do is to build the network here, which plans name by its class:

    python -m genesis_jax.convert Genesis_Chest_CT.pt genesis.pth --to=nnunet
    python -m genesis_jax.torch.nnunet genesis.pth $nnUNet_preprocessed/DATASET/nnUNetPlans.json
    nnUNetv2_train DATASET 3d_fullres 0 -p nnUNetPlans_genesis -pretrained_weights genesis.pth

What does not fit: nnU-Net normalises CT and MR by mean and standard deviation where these weights
saw intensities from 0 to 1, which fine-tuning has to make up for; patches whose sides do not divide
by 8 are refused; scans need as many channels as the weights; the network takes more memory per
voxel than nnU-Net's own, so that a smaller batch or patch may be needed.

nnssl's fine-tuning (`nnUNetv2_preprocess_like_nnssl`, `nnUNetv2_train_pretrained`) takes the same
file as its checkpoint, loads the encoder alone, and repeats the first kernel for more channels.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genesis_jax.cli.arguments import Parser, path
from genesis_jax.convert import pytorch
from genesis_jax.errors import UserError
from genesis_jax.topology import DIVISORS, LEVELS, check_sides, scales, up_levels
from genesis_jax.torch.networks import DOWN, UNet, initialise

CLASS = 'genesis_jax.torch.nnunet.GenesisPlainConvUNet'
STRIDES = [[1, 1, 1], *[[2, 2, 2]] * (LEVELS - 1)]  # nnU-Net plans deep supervision by them
_STEM, _STAGES = 'encoder.stem', 'encoder.stages'


class GenesisPlainConvUNet(nn.Module):
    """`UNet3D` with nnU-Net's arguments, and its names where it asks for them.

    nnssl's trainer builds only networks whose class names end with PlainConvUNet or
    ResidualEncoderUNet.

    Attributes:
      key_to_encoder, key_to_stem, keys_to_in_proj, key_to_lpe: where nnssl's adaptation finds the
        parts that it loads.
    """

    key_to_encoder = _STAGES
    key_to_stem = _STEM
    keys_to_in_proj = (f'{_STEM}.ops.0.conv1',)
    key_to_lpe = None

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        deep_supervision: bool = False,
        strides: Sequence[Sequence[int]] | None = None,
        **model: Any,
    ) -> None:
        """Takes the plans' arguments; `model` are those of `UNet3D`."""
        super().__init__()
        if strides is not None and [list(stride) for stride in strides] != STRIDES:
            raise ValueError(f'strides={strides}: this network has {STRIDES}')
        network = UNet(in_channels=input_channels, out_channels=num_classes, **model)
        self.encoder = _Encoder(network)
        self.decoder = _Decoder(network, deep_supervision)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits `[B, classes, Z, Y, X]`; with deep supervision those of all scales, finest first.

        Raises:
          OptionError: a side does not divide by 8.
        """
        check_sides(x.shape[2:], DIVISORS[3])
        return self.decoder(self.encoder(x))


class _Encoder(nn.Module):
    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.stem, *stages = (network.get_submodule(name) for name in DOWN)
        self.stages = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = [self.stem(x)]
        for stage in self.stages:
            levels.append(stage(nn.functional.max_pool3d(levels[-1], 2)))
        return levels


class _Decoder(nn.Module):
    """Attributes: deep_supervision, which nnU-Net switches."""

    def __init__(self, network: UNet, deep_supervision: bool) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.stages = nn.ModuleList(network.get_submodule(up.name) for up in network.ups)
        # nnU-Net fills no name with .seg_layers. in it from a file: these are randomly initialised.
        coarse = [
            nn.Conv3d(channels, network.out_channels, 1)
            for channels in scales(network.width, 3)[-2:0:-1]
        ]
        self.seg_layers = nn.ModuleList((*coarse, network.out_tr[0])).apply(initialise)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        *skips, x = levels
        outputs: list[torch.Tensor] = []
        for stage, seg_layer, skip in zip(
            self.stages, self.seg_layers, reversed(skips), strict=True
        ):
            x = stage(x, skip)
            if self.deep_supervision or skip is skips[0]:
                outputs.append(seg_layer(x))
        return outputs[::-1] if self.deep_supervision else outputs[-1]


def renamed(name: str) -> str:
    """A published name as it is in `GenesisPlainConvUNet`."""
    level, _, rest = name.partition('.')
    return f'{_LEVELS[level]}.{rest}' if level in _LEVELS else f'{_LAST}.{rest.partition(".")[2]}'


_LAST = f'decoder.seg_layers.{LEVELS - 2}'
_LEVELS = {
    DOWN[0]: _STEM,
    **{name: f'{_STAGES}.{i}' for i, name in enumerate(DOWN[1:])},
    **{up.name: f'decoder.stages.{i}' for i, up in enumerate(up_levels(1, 3))},
}


def architecture(model: dict[str, Any]) -> dict[str, Any]:
    """What plans hold as `architecture`; `model`: arguments of `UNet3D` but for the channels."""
    return {
        'network_class_name': CLASS,
        'arch_kwargs': {'strides': STRIDES, **model},
        '_kw_requires_import': [],
    }


def adapt_plans(
    plans: dict[str, Any], own: dict[str, Any], configuration: str = '3d_fullres'
) -> dict[str, Any]:
    """nnU-Net's plans, with this network in one configuration and no other.

    Args:
      plans: what a `nnUNetPlans.json` holds.
      own: `architecture` of these weights.

    Raises:
      UserError: there is no such configuration, or the patches do not fit.
    """
    if configuration not in plans.get('configurations', {}):
        raise UserError(
            f'the plans have no {configuration}; expected one of '
            f'{", ".join(plans.get("configurations", {})) or "nnU-Net"}'
        )
    chosen = plans['configurations'][configuration]
    if 'inherits_from' in chosen:
        raise UserError(f'{configuration} inherits from another; choose {chosen["inherits_from"]}')
    sides = chosen['patch_size']
    if len(sides) != 3 or any(side % DIVISORS[3] for side in sides):
        raise UserError(
            f'{configuration} has patches of {sides}, and the network takes three sides that '
            f'divide by {DIVISORS[3]}; change patch_size in the plans'
        )
    return {
        **plans,
        'plans_name': f'{plans["plans_name"]}_genesis',
        'configurations': {configuration: {**chosen, 'architecture': own}},
    }


def main(arguments: Sequence[str]) -> int:
    """Writes plans beside those that nnU-Net made: `nnUNetPlans_genesis.json`."""
    parser = Parser(prog='python -m genesis_jax.torch.nnunet', description=main.__doc__)
    parser.positional('weights', path, 'written by genesis_jax.convert --to=nnunet')
    parser.positional('plans', path, 'nnUNetPlans.json of the dataset')
    parser.option('configuration', str, 'NAME', 'of the plans', '3d_fullres')
    args = parser.parse_args(arguments)
    try:
        target = _write_plans(args.weights, args.plans, args.configuration)
    except UserError as error:
        parser.fail(error)
    print(f'wrote {target}')
    words = [target.parent.name, args.configuration, '0', '-p', target.stem]
    words += ['-pretrained_weights', str(args.weights)]
    print(f'next: nnUNetv2_train {shlex.join(words)}')
    return 0


def _write_plans(weights, plans, configuration):
    own = _read_architecture(weights)
    expected = 'expected nnUNetPlans.json, as nnUNetv2_plan_and_preprocess writes it'
    try:
        adapted = adapt_plans(json.loads(plans.read_text()), own, configuration)
        target = Path(plans).with_name(f'{adapted["plans_name"]}.json')
    except OSError as error:
        raise UserError(f'cannot read {plans} ({error.strerror}); {expected}') from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f'{plans} holds no plans ({type(error).__name__}: {error}); {expected}'
        ) from None
    if target.exists():
        raise UserError(f'{target} exists already; remove it')
    try:
        target.write_text(json.dumps(adapted, indent=4))
    except OSError as error:
        raise UserError(f'cannot write {target} ({error.strerror}); free it') from None
    return target


def _read_architecture(weights):
    """What a file of `convert/nnunet.py` tells of its network; nothing in it is run."""
    expected = 'weights that python -m genesis_jax.convert --to=nnunet wrote'
    try:
        file = pytorch.load(weights, expected)
    except OSError as error:
        raise UserError(f'cannot read {weights} ({error.strerror}); expected {expected}') from None
    own = file.get('architecture') if isinstance(file, dict) else None
    if not isinstance(own, dict) or own.get('network_class_name') != CLASS:
        raise UserError(f'{weights} names no network for nnU-Net; expected {expected}')
    return own


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
