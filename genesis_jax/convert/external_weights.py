"""The card of a network that was not trained here: what its file says of itself, and no more."""

import dataclasses
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genesis_jax.card import Card, split
from genesis_jax.convert import names, resnet
from genesis_jax.errors import UserError
from genesis_jax.provenance import Source
from genesis_jax.topology import name_of, norm_of


def card_of(
    described: dict[str, Any],
    path: str | Path,
    format: str,
    conventions: dict[str, Any],
    left_out: Sequence[str] = (),
    **known: Any,
) -> Card:
    """The card of a foreign file.

    Args:
      described: its network, as `names.describe` does.
      path: of the file; its name and its hash tell where the weights come from.
      format: one of `convert.FORMATS`.
      conventions: of its framework: epsilon, batch_norm_momentum, batch_statistics.
      left_out: names in the file that no network here has.
      known: other entries of the card.
    """
    model = described['config']['model'] | conventions
    with Path(path).open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    source = Source(Path(path).name, digest, format, list(left_out))
    return Card.from_dict(described | {'config': {'model': model}, 'source': source, **known}, path)


def of_pytorch(
    state: dict[str, Any],
    path: str | Path,
    format: str,
    left_out: Sequence[str] = (),
    **known: Any,
) -> tuple[dict[str, Any], Card]:
    """`(state dict, card)` of names and shapes alone, without the classifier of an ImageNet file.

    Epsilon and batch statistics decide outputs and are a guess, which the card tells as `assumed`.

    Args:
      left_out: names in the file that no network here has, besides the classifier's.

    Raises:
      UserError: they are of no network here.
    """
    state, classifier = resnet.without_classifier(state)
    described = names.describe(state, path)
    dimensions = split(described['network'])[1]
    published = name_of(described['config']['model'], dimensions) == 'unet3d'
    conventions: dict[str, Any] = {
        'epsilon': 1e-5,
        'batch_norm_momentum': 0.9,
        # (as the published network, and as any ResNet)
        'batch_statistics': 'official' if published else 'synchronised',
    }
    # No published PyTorch network in 3D: rather from Keras.
    if described['config']['model'].get('upsample') == 'nearest' and dimensions == 3:
        del conventions['epsilon']
    keeps = norm_of(described['config']['model'], dimensions) == 'batch'
    deciding = ('epsilon', 'batch_statistics') if keeps else ('epsilon',)
    known['assumed'] = [n for n in deciding if n in conventions]
    left_out = [*left_out, *classifier]
    return state, card_of(described, path, format, conventions, left_out, **known)


def settle(card: Card, path: str | Path, epsilon: float | None = None) -> Card:
    """The card with this epsilon; without one, the card must have it.

    Raises:
      UserError: it is not known, and not even likely.
    """
    if epsilon is not None:
        config = card.config | {'model': card.model | {'epsilon': float(epsilon)}}
        assumed = card.assumed and [name for name in card.assumed if name != 'epsilon']
        return dataclasses.replace(card, config=config, assumed=assumed)
    if card.assumed is not None and 'epsilon' not in card.model:
        raise UserError(
            f'{path} upsamples by nearest neighbours, as Keras networks (epsilon 1e-3) do and '
            'PyTorch networks (1e-5) may, and has no card that tells the epsilon of its batch '
            f'normalisation; run: python -m genesis_jax.convert {shlex.quote(str(path))} TARGET '
            '--epsilon=E, or call from_pretrained(..., epsilon=E)'
        )
    return card
