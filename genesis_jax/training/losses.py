"""Losses, each a function of totals over the examples of a whole batch or split.

So they do not depend on how many devices share the batch: `terms` gives what each example adds to
the totals, `loss` and `metrics` read them. Totals are made with `jax.lax.psum` in training and by
adding up batches in validation.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from genesis_jax import parallel
from genesis_jax.models import probabilities
from genesis_jax.training.voxel_losses import VoxelLoss, squared, voxel_loss_of

Arrays = Mapping[str, Any]

_SMOOTH = 1.0  # of the soft Dice, as published


def mean_error(
    prediction: jax.Array,
    target: jax.Array,
    valid: jax.Array | None = None,
    error: VoxelLoss = squared,
) -> jax.Array:
    """The mean error over each example's voxels and channels: `[B, ..., C]` to `[B]`.

    Args:
      valid: `[B, ..., C]` or `[B, ..., 1]`, 1 where the mean is taken and 0 elsewhere; None: all.
    """
    return _mean(error(prediction, target), valid)


def _mean(values, valid=None, keepdims=False):
    """The mean of each example, `[B, ..., C]` to `[B]`: of valid values, 0 if none is."""
    axes = tuple(range(1, values.ndim))
    if valid is None:
        return jnp.mean(values, axis=axes, keepdims=keepdims)
    valid = jnp.broadcast_to(valid, values.shape)
    count = jnp.sum(valid, axis=axes, keepdims=keepdims)
    return jnp.sum(values * valid, axis=axes, keepdims=keepdims) / jnp.maximum(count, 1)


class Loss:
    """What all losses share. Totals are a sum for each name that `terms` gives."""

    task: str

    def terms(self, logits: jax.Array, batch: Arrays) -> dict[str, jax.Array]:
        """What examples add to the totals, each `[B]` or `[B, classes]`."""
        raise NotImplementedError

    def loss(self, totals: Arrays) -> jax.Array:
        """The loss over all examples of the totals."""
        return totals['loss'] / totals['examples']

    def metrics(self, totals: Arrays) -> dict[str, jax.Array]:
        """What is logged of the validation beside the loss."""
        raise NotImplementedError

    def of_step(self, logits: jax.Array, batch: Arrays) -> jax.Array:
        """The loss of a training step, as one device sees it; devices minimise its mean."""
        terms = self.terms(logits, batch)
        totals = jax.lax.psum({k: v.sum(axis=0) for k, v in terms.items()}, parallel.AXIS)
        return self.loss(totals)

    def conclude(self, totals: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Loss and metrics of totals (float64) over a whole split."""
        of_split = {name: np.float32(total) for name, total in totals.items()}
        values = {'loss': self.loss(of_split)} | self.metrics(of_split)
        return {name: float(value) for name, value in values.items()}

    def answers(self, logits: jax.Array) -> jax.Array:
        """What the network says: a probability of each class, or the restored grey values."""
        return probabilities(logits, self.task)


class Restoration(Loss):
    """Restoration: mean error of the sigmoid; beside it that of two that learn nothing.

    `unchanged` returns the corrupted example as it is; `cube_mean` fills it with its target's mean.
    Where `valid` of the batch is 0, no error and no mean is taken.

    Args:
      name: of the error, see `voxel_losses`.
      where: 'corrupted': examples in which nothing was changed count for nothing.
    """

    task = 'restoration'

    def __init__(self, name: str = 'squared', where: str = 'all'):
        self._error, self._some = voxel_loss_of(name), where == 'corrupted'

    def terms(self, logits: jax.Array, batch: Arrays) -> dict[str, jax.Array]:
        """What examples add, of logits `[B, ..., C]` and `target` and `corrupted` of the batch."""
        target, valid = batch['target'], batch.get('valid')
        mean = _mean(target, valid, keepdims=True)
        loss = mean_error(self.answers(logits), target, valid, self._error)
        return {
            'loss': loss,
            'unchanged': mean_error(batch['corrupted'], target, valid, self._error),
            'cube_mean': mean_error(mean, target, valid, self._error),
            'examples': self._counted(loss, valid),
        }

    def _counted(self, loss, valid):
        """1 for each example that counts."""
        if not self._some:
            return jnp.ones_like(loss)
        return jnp.any(valid > 0, axis=tuple(range(1, valid.ndim))).astype(loss.dtype)

    def loss(self, totals: Arrays) -> jax.Array:
        """The mean over examples; 0 where none counts."""
        return totals['loss'] / jnp.maximum(totals['examples'], 1)

    def of_step(self, logits: jax.Array, batch: Arrays) -> jax.Array:
        """Where all examples count, devices have as many, so each takes the mean of its own."""
        if self._some:
            return super().of_step(logits, batch)
        valid, answers = batch.get('valid'), self.answers(logits)
        return jnp.mean(mean_error(answers, batch['target'], valid, self._error))

    def conclude(self, totals: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means over all examples."""
        examples = max(totals['examples'], 1)
        return {name: float(totals[name] / examples) for name in totals if name != 'examples'}


class CrossEntropy(Loss):
    """Classification: binary cross-entropy of one logit, softmax cross-entropy of several."""

    task = 'classification'

    def terms(self, logits: jax.Array, batch: Arrays) -> dict[str, jax.Array]:
        """What examples add, each `[B]`, of logits `[B, n]` and `batch['label']` `[B]`."""
        labels = batch['label']
        if logits.shape[-1] == 1:
            loss = optax.sigmoid_binary_cross_entropy(logits[:, 0], labels.astype(jnp.float32))
            predicted = (logits[:, 0] > 0).astype(labels.dtype)
        else:
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            predicted = jnp.argmax(logits, axis=-1).astype(labels.dtype)
        correct = (predicted == labels).astype(jnp.float32)
        return {'loss': loss, 'correct': correct, 'examples': jnp.ones_like(loss)}

    def metrics(self, totals: Arrays) -> dict[str, jax.Array]:
        """The share of right answers."""
        return {'accuracy': totals['correct'] / totals['examples']}


class BinaryCrossEntropy(CrossEntropy):
    """Multi-label classification: binary cross-entropy, right answers; means over findings."""

    task = 'multilabel'

    def terms(self, logits: jax.Array, batch: Arrays) -> dict[str, jax.Array]:
        """What examples add, each `[B]`, of logits `[B, n]` and `batch['label']` `[B, n]`."""
        labels = batch['label'].astype(jnp.float32)
        loss = optax.sigmoid_binary_cross_entropy(logits, labels).mean(axis=-1)
        correct = ((logits > 0) == (labels > 0)).astype(jnp.float32).mean(axis=-1)
        return {'loss': loss, 'correct': correct, 'examples': jnp.ones_like(loss)}


class SoftDice(Loss):
    """Segmentation: 1 - soft Dice over all voxels of the batch, mean over foreground classes.

    Of several classes the cross-entropy is added (Isensee et al., nnU-Net, 2021): Dice alone leaves
    out the background, which one of the classes can then take over for good.
    """

    task = 'segmentation'

    def terms(self, logits: jax.Array, batch: Arrays) -> dict[str, jax.Array]:
        """What examples add, each `[B]` or `[B, foreground classes]`, of logits `[B, X, Y, Z, n]`
        and `batch['mask']` `[B, X, Y, Z]`."""
        classes = max(2, logits.shape[-1])
        truth = jax.nn.one_hot(batch['mask'], classes)[..., 1:]
        soft = self.answers(logits)[..., -(classes - 1) :]
        if logits.shape[-1] == 1:
            hard = (soft > 0.5).astype(jnp.float32)
        else:
            hard = jax.nn.one_hot(jnp.argmax(logits, axis=-1), classes)[..., 1:]
        voxels = tuple(range(1, truth.ndim - 1))
        cross_entropy = jnp.zeros(len(logits))
        if logits.shape[-1] > 1:
            of_voxels = optax.softmax_cross_entropy_with_integer_labels(logits, batch['mask'])
            cross_entropy = of_voxels.mean(axis=voxels)
        return {
            'cross_entropy': cross_entropy,
            'examples': jnp.ones(len(logits)),
            'overlap': jnp.sum(soft * truth, axis=voxels),
            'size': jnp.sum(soft + truth, axis=voxels),
            'hard_overlap': jnp.sum(hard * truth, axis=voxels),
            'hard_size': jnp.sum(hard + truth, axis=voxels),
        }

    def loss(self, totals: Arrays) -> jax.Array:
        """1 - soft Dice (smooth 1), of several classes with the mean cross-entropy."""
        dice = (2 * totals['overlap'] + _SMOOTH) / (totals['size'] + _SMOOTH)
        return 1 - dice.mean() + totals['cross_entropy'] / totals['examples']

    def metrics(self, totals: Arrays) -> dict[str, jax.Array]:
        """Dice of the predicted classes."""
        size = totals['hard_size']
        return {'dice': ((2 * totals['hard_overlap'] + 1e-9) / (size + 1e-9)).mean()}


LOSSES = {loss.task: loss for loss in (Restoration, CrossEntropy, BinaryCrossEntropy, SoftDice)}
