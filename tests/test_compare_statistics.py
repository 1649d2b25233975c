"""The tests and intervals of comparisons, beside those of SciPy and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from genesis_jax.compare import statistics


def test_auc_of_drawn_patients_is_that_of_the_drawn_examples(rng):
    labels, patients = rng.integers(0, 2, 50), rng.integers(0, 8, 50)
    scores = np.round(rng.normal(size=50) + labels, 1)  # ties
    weights = statistics.draw_weights(8, 20, seed=0)
    found = statistics.auc_of_draws(labels, scores, patients, weights)
    expected = [roc_auc_score(labels, scores, sample_weight=w[patients]) for w in weights]
    np.testing.assert_allclose(found, expected)
    one = labels == 1
    often = statistics.auc_of_draws(labels[one], scores[one], patients[one], weights)
    assert np.isnan(often).all()


def test_the_interval_of_a_mean_difference_is_that_of_theory(rng):
    values, baseline = rng.normal(0.3, 1, 400), rng.normal(0, 1, 400)
    weights = statistics.draw_weights(400, 4000, seed=0)
    paired = statistics.compare_means(values, baseline, weights)
    differences = values - baseline
    expected = stats.norm.interval(0.95, differences.mean(), stats.sem(differences))
    assert (paired.low, paired.high) == pytest.approx(expected, abs=0.02)


def test_tests_without_an_answer_say_so_quietly():
    assert np.isnan(statistics.t_test([1.0], [1.0, 2.0], 'welch'))
    assert np.isnan(statistics.t_test([1.0, 1.0], [2.0, 2.0], 'welch'))
    assert statistics.wilcoxon(np.zeros(5)) == 1
    assert np.isnan(statistics.wilcoxon(np.zeros(0)))
    assert statistics.wilcoxon(np.array([0.1])) == 1
    assert 0 < statistics.wilcoxon(np.array([0.1, 0.1, 0, 0.2, -0.1])) <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_largest_of_bonferroni_steps(values):
    corrected = statistics.holm([*values, math.nan])
    assert math.isnan(corrected.pop())
    order = np.argsort(values)
    steps = np.minimum(1, np.sort(values) * np.arange(len(values), 0, -1))
    np.testing.assert_allclose(np.array(corrected)[order], np.maximum.accumulate(steps))
    assert all(p <= q for p, q in zip(values, corrected, strict=True))
