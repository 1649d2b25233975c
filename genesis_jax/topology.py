"""What decides the shapes of the networks, for all who build or name their arrays. Imports no jax.

In 3D: the U-Net of Models Genesis. In 2D: a ResNet-18, with a decoder that is ours.
"""

from collections.abc import Sequence
from typing import NamedTuple

from genesis_jax.errors import OptionError

LEVELS = 4  # in 3D
STAGES = 4  # of the ResNet-18, after its stem
BLOCKS = 2  # in each stage
# Every side of the input must divide by it: in 3D for three max-pools; in 2D for the stem, its pool
# and the stages after the first.
DIVISORS = {3: 2 ** (LEVELS - 1), 2: 2 ** (STAGES + 1)}


class UpLevel(NamedTuple):
    """A level of a decoder: its number or 'last', its name in PyTorch, and channels.

    These are of what comes from below, of the skip (0: none), and of what leaves it.
    """

    level: int | str
    name: str
    below: int
    skip: int
    features: int


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


def check_sides(sides: Sequence[int], divisor: int) -> None:
    """Raises OptionError unless every side divides by `divisor`, a power of 2."""
    if any(side % divisor for side in sides):
        nearest = tuple(max(divisor, round(side / divisor) * divisor) for side in sides)
        times = {8: 'three', 32: 'five'}[divisor]
        raise OptionError(
            f'the U-Net halves its input {times} times, so every side must divide by {divisor}, '
            f'but the sides are {tuple(sides)}; use for example {nearest}'
        )
