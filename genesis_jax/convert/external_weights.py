"""The card of a network that was not trained here: what its file says of itself, and no more."""

import dataclasses
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genesis_jax.card import Card
from genesis_jax.convert import names, resnet
from genesis_jax.errors import UserError

_OF_KIND = {'unet': 'upsample', 'classifier': 'hidden'}  # what else describes a network


def card_of(
    architecture: names.Architecture,
    path: str | Path,
    format: str,
    conventions: dict[str, Any],
    left_out: Sequence[str] = (),
    **known: Any,
) -> Card:
    """The card of a foreign file.

    Args:
      architecture: `names.Architecture`.
      path: of the file; its name and its hash tell where the weights come from.
      format: one of `convert.FORMATS`.
      conventions: of its framework: epsilon, batch_norm_momentum, batch_statistics.
      left_out: names in the file that no network here has.
      known: other entries of the card.
    """
    of_network = _OF_KIND[architecture.kind]
    model = {'width': architecture.width, of_network: getattr(architecture, of_network)}
    with Path(path).open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    source = {'file': Path(path).name, 'sha256': digest, 'format': format}
    found = {
        'network': architecture.network,
        'parts': list(architecture.parts),
        'in_channels': architecture.in_channels,
        'out_channels': architecture.out_channels,
        'config': {'model': model | conventions},
        'source': source | {'left_out': list(left_out)},
    }
    return Card.from_dict(found | known, path)


def of_pytorch(
    state: dict[str, Any], path: str | Path, format: str, **known: Any
) -> tuple[dict[str, Any], Card]:
    """`(state dict, card)` of names and shapes alone, without the classifier of an ImageNet file.

    Epsilon and batch statistics decide outputs and are a guess, which the card tells as `assumed`.

    Raises:
      UserError: they are of no network here.
    """
    state, left_out = resnet.without_classifier(state)
    architecture = names.Architecture.of_state(state, path)
    conventions: dict[str, Any] = {
        'epsilon': 1e-5,
        'batch_norm_momentum': 0.9,
        # (as the published network, and as any ResNet)
        'batch_statistics': 'official' if architecture.dimensions == 3 else 'synchronised',
    }
    # No published PyTorch network in 3D: rather from Keras.
    if architecture.upsample == 'nearest' and architecture.dimensions == 3:
        del conventions['epsilon']
    known['assumed'] = [n for n in ('epsilon', 'batch_statistics') if n in conventions]
    return state, card_of(architecture, path, format, conventions, left_out, **known)


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
