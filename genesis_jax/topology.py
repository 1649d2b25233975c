"""What decides the shapes of the networks, for all who build or name their arrays. Imports no jax.

A network has a row in NETWORKS here, and its modules one in `models.NETWORKS`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from genesis_jax.errors import OptionError

LEVELS = 4  # in 3D
STAGES = 4  # of the ResNet-18, after its stem
BLOCKS = 2  # in each stage
# Of the published networks, by dimensions. Every side of the input must divide by it: in 3D for
# three max-pools; in 2D for the stem, its pool and the stages after the first.
DIVISORS = {3: 2 ** (LEVELS - 1), 2: 2 ** (STAGES + 1)}
_TIMES = ('never', 'once', 'twice', *(f'{n} times' for n in ('three', 'four', 'five', 'six')))
NORMS = ('batch', 'instance', 'group')
RESENC_BLOCKS = (1, 3, 4, 6, 6, 6)  # residual blocks of each stage
_RESENC_WIDEST = 10  # times the width of the first stage: 320 where that has 32


class UpLevel(NamedTuple):
    """A level of a decoder: its number or 'last', its name in PyTorch, and channels.

    These are of what comes from below, of the skip (0: none), and of what leaves it.
    """

    level: int | str
    name: str
    below: int
    skip: int
    features: int


@dataclasses.dataclass(frozen=True)
class Topology:
    """A network, as far as shapes and names of arrays depend on it.

    Attributes:
      dimensions: spatial axes of the input.
      scales: channels of the encoder's features, finest first, by `config.model`.
      halvings: of the sides before the finest features.
      norm: the normalisation where `config.model.norm` names none.
      options: fields of `config.model` that it has and others may lack.
      words: what it is, for a model card; and its classifier.
    """

    dimensions: int
    scales: Callable[[Mapping[str, Any]], list[int]]
    words: tuple[str, str]
    halvings: int = 0
    norm: str = 'batch'
    options: tuple[str, ...] = ('upsample',)

    def divisor(self, model: Mapping[str, Any]) -> int:
        """What every side of the input must divide by."""
        return 2 ** (len(self.scales(model)) - 1 + self.halvings)


def resenc_features(model: Mapping[str, Any]) -> list[int]:
    """Channels of each stage, as nnU-Net plans them; `blocks` tells how many stages there are."""
    stages = range(len(model.get('blocks') or RESENC_BLOCKS))
    return [min(model['width'] * 2**stage, model['width'] * _RESENC_WIDEST) for stage in stages]


def scales(width: int, dimensions: int) -> list[int]:
    """Channels of the encoder's features, finest first; in 2D of the stem and of the stages."""
    if dimensions == 3:
        return [2 * width * 2**level for level in range(LEVELS)]
    return [width, *(width * 2**stage for stage in range(STAGES))]


def up_levels(width: int, dimensions: int) -> list[UpLevel]:
    """The levels of the decoder, deepest first."""
    *skips, below = scales(width, dimensions)
    levels = []
    for level, skip in reversed(list(enumerate(skips))):
        name = f'up_tr{64 * 2**level}' if dimensions == 3 else f'up_layer{level}'
        levels.append(UpLevel(level, name, below, skip, skip))
        below = skip
    if dimensions == 2:
        levels.append(UpLevel('last', 'up_last', below, 0, last_features(width)))
    return levels


def last_features(width: int) -> int:
    """Channels of the last level of the 2D decoder, which the head reads."""
    return max(1, width // 2)


NETWORKS = {  # by `config.model.name`
    'unet3d': Topology(
        3,
        lambda model: scales(model['width'], 3),
        ('3D U-Net', '3D encoder with a classification head'),
    ),
    'unet2d': Topology(
        2,
        lambda model: scales(model['width'], 2),
        ('2D U-Net on a ResNet-18', 'ResNet-18 with a classification head'),
        halvings=1,
    ),
    'resenc3d': Topology(
        3,
        resenc_features,
        ('3D residual-encoder U-Net', '3D residual encoder with a classification head'),
        norm='instance',
        options=('blocks',),
    ),
}


def name_of(model: Mapping[str, Any], dimensions: int) -> str:
    """The network that `config.model` names; without a name the published one."""
    return model.get('name') or f'unet{dimensions}d'


def norm_of(model: Mapping[str, Any], dimensions: int) -> str:
    """The normalisation that `config.model` names; without a name that of its network."""
    return model.get('norm') or NETWORKS[name_of(model, dimensions)].norm


def settled(model: Mapping[str, Any], dimensions: int) -> dict[str, str]:
    """Which network `config.model` means, with what is its own where it says nothing."""
    name = name_of(model, dimensions)
    blocks = model.get('blocks') or (RESENC_BLOCKS if name == 'resenc3d' else ())
    return {
        'name': '' if model.get('module') else name,
        'module': model.get('module') or '',
        'norm': norm_of(model, dimensions),
        'blocks': ','.join(map(str, blocks)),
    }


def faults(model: Mapping[str, Any], dimensions: int) -> Iterator[tuple[str, str]]:
    """Options that the network of a config (`config.model` without None) does not have.

    Each with what was expected instead.
    """
    if 'module' in model:
        if 'name' in model:
            yield 'name', 'none with config.model.module, which is the network'
        return
    name = name_of(model, dimensions)
    if NETWORKS[name].dimensions != dimensions:
        own = [repr(n) for n, network in NETWORKS.items() if network.dimensions == dimensions]
        yield 'name', f'{" or ".join(own)} with config.dimensions={dimensions}'
    if 'blocks' in model and 'blocks' not in NETWORKS[name].options:
        yield 'blocks', f'none with the network {name}, which has no such option'
    if model.get('upsample') == 'nearest' and 'upsample' not in NETWORKS[name].options:
        yield 'upsample', f"'transpose' with the network {name}, which upsamples in no other way"
    if norm_of(model, dimensions) != 'batch' and model.get('batch_statistics') == 'official':
        norm = norm_of(model, dimensions)
        yield 'batch_statistics', f"'synchronised' with {norm} normalisation, which has none"


def check_sides(sides: Sequence[int], divisor: int) -> None:
    """Raises OptionError unless every side divides by `divisor`, a power of 2."""
    if any(side % divisor for side in sides):
        nearest = tuple(max(divisor, round(side / divisor) * divisor) for side in sides)
        times = _TIMES[divisor.bit_length() - 1]
        raise OptionError(
            f'the network halves its input {times}, so every side must divide by {divisor}, '
            f'but the sides are {tuple(sides)}; use for example {nearest}'
        )
