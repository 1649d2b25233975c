"""Deep supervision: the loss of a network whose coarser levels answer, too, while it trains.

As in nnU-Net (Isensee et al., 2021): the finest level counts most, each coarser one half of the one
before, and all weights add up to 1.
"""

from typing import Any

import jax
import jax.numpy as jnp

from genesis_jax.training.losses import Arrays, Loss


class DeepSupervision(Loss):
    """A loss of masks, of every level that answers in training; in evaluation of the finest alone.

    Args:
      loss: what is minimised at each level.
    """

    def __init__(self, loss: Loss):
        self._loss, self.task = loss, loss.task

    def of_step(self, logits: Any, batch: Arrays) -> jax.Array:
        """The weighted mean over levels: `[B, X, Y(, Z), n]` each, finest first.

        Every level halves the sides of the one before; `batch['mask']` is `[B, X, Y(, Z)]`.
        """
        losses = [
            self._loss.of_step(level, {**batch, 'mask': coarser(batch['mask'], 2**n)})
            for n, level in enumerate(logits)
        ]
        return jnp.sum(jnp.stack(losses) * jnp.array(weights(len(losses))))

    def terms(self, logits: jax.Array, batch: Arrays) -> dict[str, jax.Array]:
        """Those of the loss, of the finest level's logits."""
        return self._loss.terms(logits, batch)

    def loss(self, totals: Arrays) -> jax.Array:
        """That of the finest level."""
        return self._loss.loss(totals)

    def metrics(self, totals: Arrays) -> dict[str, jax.Array]:
        """Those of the finest level."""
        return self._loss.metrics(totals)


def weights(levels: int) -> list[float]:
    """Of each level, finest first: 1, 1/2, 1/4, ..., divided by their sum."""
    return [2.0 ** (levels - 1 - n) / (2**levels - 1) for n in range(levels)]


def coarser(mask: jax.Array, step: int) -> jax.Array:
    """`[B, X, Y(, Z)]` with sides divided by `step`: of each block the voxel at its middle."""
    inside = (slice(step // 2, None, step),) * (mask.ndim - 1)
    return mask[(slice(None), *inside)]
