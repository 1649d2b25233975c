"""The corruptions, in the order in which an example goes through them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from genesis_jax.transforms.intensity import random_bezier_map
from genesis_jax.transforms.painting import random_painting
from genesis_jax.transforms.shuffle import random_local_shuffle

Options = Mapping[str, Any]  # of `corrupt`, as `config.transforms` has them


@dataclasses.dataclass(frozen=True)
class Corruption:
    """What may happen to an example.

    Attributes:
      name: the option `NAME_probability` says how often it happens.
      apply: `(key, volume, options) -> volume`.
      kinds: its kinds in words, each with its share given that it happens.
    """

    name: str
    apply: Callable[..., jax.Array]
    kinds: Callable[[Options], dict[str, float]]

    def probability(self, options: Options) -> float:
        """How often it happens."""
        return options[f'{self.name}_probability']


CORRUPTIONS = (
    Corruption(
        'shuffle',
        lambda key, volume, options: random_local_shuffle(
            key, volume, windows=options['shuffle_windows']
        ),
        lambda options: {'shuffling': 1},
    ),
    Corruption(
        'nonlinear',
        lambda key, volume, options: random_bezier_map(key, volume),
        lambda options: {'non-linear': 1},
    ),
    Corruption(
        'paint',
        lambda key, volume, options: random_painting(
            key,
            volume,
            outpaint_probability=options['outpaint_probability'],
            fill=options['fill'],
        ),
        lambda options: {
            'out-painting': options['outpaint_probability'],
            'in-painting': 1 - options['outpaint_probability'],
        },
    ),
)


def kinds(options: Options) -> dict[str, float]:
    """What happens to an example, by kind, and how often; `{}` of an autoencoder."""
    shares = {
        kind: corruption.probability(options) * share
        for corruption in CORRUPTIONS
        for kind, share in corruption.kinds(options).items()
    }
    return {kind: share for kind, share in shares.items() if share > 0}


def describe(options: Options) -> str:
    """The corruptions that happen and how often, in words."""
    words = [f'{kind} {share:.3g}' for kind, share in kinds(options).items()]
    return ', '.join(words) or 'none (autoencoder)'
