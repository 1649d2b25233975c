"""Losses: of restoration one value per example, of target tasks functions of sums over examples.

The loss of a target task is a function of totals over a whole batch (or split), so that it does not
depend on how many devices share the batch: `terms` gives what each example adds to the totals,
`loss` and `metrics` read them. Totals are made with `jax.lax.psum` in training and by adding up
batches in validation.
"""

import jax
import jax.numpy as jnp
import optax

from genesis_jax.models import probabilities

_SMOOTH = 1.0  # of the soft Dice, as published


def squared_error(prediction, target):
    """Mean squared error over each example's voxels and channels: `[B, ..., C]` to `[B]`."""
    return jnp.mean((prediction - target) ** 2, axis=tuple(range(1, target.ndim)))


class CrossEntropy:
    """Classification: binary cross-entropy of one logit, softmax cross-entropy of several."""

    def terms(self, logits, batch):
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

    def loss(self, totals):
        """Mean cross-entropy."""
        return totals['loss'] / totals['examples']

    def metrics(self, totals):
        """What is told of the validation beside the loss."""
        return {'accuracy': totals['correct'] / totals['examples']}


class BinaryCrossEntropy(CrossEntropy):
    """Multi-label classification: binary cross-entropy, right answers; means over findings."""

    def terms(self, logits, batch):
        """What examples add, each `[B]`, of logits `[B, n]` and `batch['label']` `[B, n]`."""
        labels = batch['label'].astype(jnp.float32)
        loss = optax.sigmoid_binary_cross_entropy(logits, labels).mean(axis=-1)
        correct = ((logits > 0) == (labels > 0)).astype(jnp.float32).mean(axis=-1)
        return {'loss': loss, 'correct': correct, 'examples': jnp.ones_like(loss)}


class SoftDice:
    """Segmentation: 1 - soft Dice over all voxels of the batch, mean over foreground classes.

    Of several classes the cross-entropy is added (Isensee et al., nnU-Net, 2021): Dice alone leaves
    out the background, which one of the classes can then take over for good.
    """

    def terms(self, logits, batch):
        """What examples add, each `[B]` or `[B, foreground classes]`, of logits `[B, X, Y, Z, n]`
        and `batch['mask']` `[B, X, Y, Z]`."""
        classes = max(2, logits.shape[-1])
        truth = jax.nn.one_hot(batch['mask'], classes)[..., 1:]
        soft = probabilities(logits, 'segmentation')[..., -(classes - 1) :]
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

    def loss(self, totals):
        """1 - soft Dice (smooth 1), of several classes with the mean cross-entropy."""
        dice = (2 * totals['overlap'] + _SMOOTH) / (totals['size'] + _SMOOTH)
        return 1 - dice.mean() + totals['cross_entropy'] / totals['examples']

    def metrics(self, totals):
        """What is told of the validation beside the loss: Dice of the predicted classes."""
        size = totals['hard_size']
        return {'dice': ((2 * totals['hard_overlap'] + 1e-9) / (size + 1e-9)).mean()}


LOSSES = {
    'classification': CrossEntropy,
    'multilabel': BinaryCrossEntropy,
    'segmentation': SoftDice,
}
