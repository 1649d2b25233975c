"""The learning rate of each start: the best on validation patients, never on the test."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from genesis_jax.errors import UserError


def chosen_rate(folders: Mapping[float, Path]) -> float:
    """The learning rate with the lowest validation loss.

    Args:
      folders: by learning rate, the workdirs of its fine-tunings, all complete.

    Raises:
      UserError: none has a validation loss.
    """
    losses = {rate: validation_loss(folder) for rate, folder in folders.items()}
    if all(map(math.isinf, losses.values())):
        folder = next(iter(folders.values()))
        raise UserError(f'no learning rate was tried to its end; see {folder.parent}')
    return min(losses, key=losses.__getitem__)


def validation_loss(folder: Path) -> float:
    """The lowest validation loss of a fine-tuning, mean over its runs; infinite if it has none."""
    losses = [
        json.loads(file.read_text('utf-8'))['validation_loss']
        for file in sorted(folder.glob('*/results.json'))
    ]
    known = losses and None not in losses and all(map(math.isfinite, losses))
    return math.fsum(losses) / len(losses) if known else math.inf
