"""Losses of target tasks: golden Dice, cross-entropy by hand, totals that any batching gives."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax.training.losses import BinaryCrossEntropy, CrossEntropy, SoftDice


def total(terms):
    return {name: values.sum(axis=0) for name, values in terms.items()}


def logit(p):
    return np.log(p) - np.log1p(-p)


def test_soft_dice_is_the_published_one(golden):
    wanted = json.loads((golden / 'metrics.json').read_text())['dice_soft_smooth1']
    with np.load(golden / 'metrics.npz') as arrays:
        p, mask = arrays['p'].astype(np.float64), arrays['y'].astype(np.uint8)
    loss = SoftDice()
    logits = logit(p.clip(1e-7, 1 - 1e-7)).astype(np.float32)[..., None]
    terms = loss.terms(logits, {'mask': mask})
    np.testing.assert_allclose(1 - loss.loss(total(terms)), wanted, atol=1e-5)


def test_binary_cross_entropy_by_hand():
    loss, p = CrossEntropy(), np.float32([0.9, 0.2, 0.6])
    labels = np.int32([1, 0, 0])
    totals = total(loss.terms(logit(p)[:, None], {'label': labels}))
    expected = -np.mean([np.log(0.9), np.log(0.8), np.log(0.4)])
    np.testing.assert_allclose(loss.loss(totals), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.metrics(totals)['accuracy'], 2 / 3, rtol=1e-6)


def test_cross_entropy_of_several_classes_by_hand():
    loss = CrossEntropy()
    p = np.float32([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    totals = total(loss.terms(np.log(p), {'label': np.int32([0, 1])}))
    np.testing.assert_allclose(loss.loss(totals), -np.mean(np.log([0.7, 0.3])), rtol=1e-5)
    np.testing.assert_allclose(loss.metrics(totals)['accuracy'], 0.5, rtol=1e-6)


def test_findings_are_answered_one_by_one():
    loss = BinaryCrossEntropy()
    p = np.float32([[0.9, 0.8], [0.3, 0.6]])  # of one image, both findings are likely
    totals = total(loss.terms(logit(p), {'label': np.int32([[1, 1], [0, 0]])}))
    expected = -np.mean(np.log([0.9, 0.8, 0.7, 0.4]))
    np.testing.assert_allclose(loss.loss(totals), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.metrics(totals)['accuracy'], 3 / 4, rtol=1e-6)


@pytest.mark.parametrize('outputs', [1, 3])
def test_dice_of_a_perfect_and_of_a_wrong_answer(outputs):
    loss, rng = SoftDice(), np.random.default_rng(0)
    mask = rng.integers(0, max(2, outputs), (2, 8, 8, 8))
    right = mask[..., None] * 2 - 1 if outputs == 1 else jax.nn.one_hot(mask, outputs)
    wrong = -right if outputs == 1 else jax.nn.one_hot((mask + 1) % outputs, outputs)
    for logits, low, high, dice in ((right, 0, 1e-3, 1), (wrong, 0.99, 101, 0)):
        totals = total(loss.terms(jnp.asarray(100.0 * logits), {'mask': mask}))
        assert low <= float(loss.loss(totals)) <= high
        assert abs(float(loss.metrics(totals)['dice']) - dice) < 1e-3


def test_several_classes_add_the_cross_entropy():
    loss, mask = SoftDice(), np.zeros((2, 4, 4, 4), np.uint8)
    logits = np.tile(np.log(np.float32([0.5, 0.25, 0.25])), (2, 4, 4, 4, 1))
    totals = total(loss.terms(logits, {'mask': mask}))
    dice = (0 + 1) / (0.25 * mask.size + 1)
    np.testing.assert_allclose(loss.loss(totals), 1 - dice + np.log(2), rtol=1e-5)


def test_dice_without_foreground_is_defined():
    loss, empty = SoftDice(), np.zeros((1, 4, 4, 4), np.uint8)
    totals = total(loss.terms(jnp.full((1, 4, 4, 4, 1), -50.0), {'mask': empty}))
    assert float(loss.loss(totals)) == pytest.approx(0) and float(
        loss.metrics(totals)['dice']
    ) == pytest.approx(1)


def test_totals_do_not_depend_on_the_batching():
    loss, rng = SoftDice(), np.random.default_rng(1)
    logits = rng.normal(size=(4, 8, 8, 8, 3)).astype(np.float32)
    mask = rng.integers(0, 3, (4, 8, 8, 8))
    whole = total(loss.terms(logits, {'mask': mask}))
    parts = [total(loss.terms(logits[i : i + 2], {'mask': mask[i : i + 2]})) for i in (0, 2)]
    summed = jax.tree.map(lambda a, b: a + b, *parts)
    np.testing.assert_allclose(loss.loss(whole), loss.loss(summed), rtol=1e-6)
