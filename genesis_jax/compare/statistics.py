"""Tests and intervals: p-values of SciPy's tests, NaN where there is nothing to test.

SciPy's bootstrap draws values one by one, not patients with all their candidates, and scikit-learn
would rank all candidates anew in each draw: hours where `auc_of_draws` takes seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from genesis_jax.compare.published import PUBLISHED_TEST


@dataclass(frozen=True)
class Paired:
    """Two methods on the same patients."""

    patients: int
    difference: float  # of mean Dice or AUC
    low: float  # its 95 % interval
    high: float
    tested: float  # mean difference of what is tested: Dice, or the Brier score
    p: float


def spread(values: np.ndarray) -> tuple[float, float]:
    """Mean and sample standard deviation (NaN with fewer than two)."""
    mean = float(np.mean(values)) if values.size else float('nan')
    return mean, float(np.std(values, ddof=1)) if values.size > 1 else float('nan')


TESTS = {  # of the runs of two methods, by the names of `compare --test`
    'welch': "Welch's t-test, two-sided",
    'published': PUBLISHED_TEST,  # asks only whether the method is better
}


def in_words(test: str) -> str:
    """One of TESTS between two methods of which neither is the baseline."""
    return TESTS[test] + ', in favour of the higher mean' * (test == 'published')


def t_test(values: np.ndarray, baseline: np.ndarray, test: str, *, falls: bool = False) -> float:
    """p of one of TESTS; NaN without spread or two values each.

    Args:
      falls: lower values are better.
    """
    if min(len(values), len(baseline)) < 2 or np.ptp(values) == np.ptp(baseline) == 0:
        return float('nan')
    better = 'less' if falls else 'greater'
    side = better if test == 'published' else 'two-sided'
    return float(stats.ttest_ind(values, baseline, equal_var=False, alternative=side).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p-values, corrected by Holm for their number; NaN, which tests nothing, stays and counts not.

    (SciPy corrects false discovery rates only.)
    """
    known = sorted((p, index) for index, p in enumerate(values) if p == p)
    corrected, highest = list(values), 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[index] = highest
    return corrected


def wilcoxon(differences: np.ndarray) -> float:
    """p of the two-sided signed-rank test; 1 if nothing differs."""
    if not len(differences):
        return float('nan')
    return float(stats.wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def draw_weights(patients: int, draws: int, seed: int) -> np.ndarray:
    """How often each patient is drawn, with replacement: `[draws, patients]`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=draws).astype(float)


def compare_means(values: np.ndarray, baseline: np.ndarray, weights: np.ndarray) -> Paired:
    """Values by patient `[P]` against the baseline's; weights `[draws, P]`."""
    differences = values - baseline
    drawn = weights @ differences / weights.sum(axis=1)
    mean = float(differences.mean())
    return Paired(len(values), mean, *interval(drawn), mean, wilcoxon(differences))


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The central 95 % of what was drawn, NaN left out."""
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return float('nan'), float('nan')
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def auc_of_draws(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The AUC of a run in each draw of patients `[draws]`; NaN where a draw has one class.

    Comparing each pair once and adding up pairs of patients makes a draw cost no more than the
    number of patients squared, however many candidates they have.

    Args:
      labels: `[N]` of 0 and 1, or class indices if scores are `[N, n]`: mean of one against rest;
        of several findings `[N, n]` of 0 and 1: their mean.
      scores: `[N]` or `[N, n]`.
      patients: `[N]` indices below P.
      weights: `[draws, P]`.
    """
    if scores.ndim == 2:
        targets = labels.T if labels.ndim == 2 else [labels == i for i in range(scores.shape[1])]
        columns = zip(targets, scores.T, strict=True)
        return mean_of(auc_of_draws(*column, patients, weights) for column in columns)
    labels = np.asarray(labels, bool)
    if 2 * np.count_nonzero(labels) > len(labels):  # the loop is over the rarer class
        labels, scores = ~labels, -scores
    count = weights.shape[1]
    order = np.argsort(scores[~labels])
    lower, owners = scores[~labels][order], patients[~labels][order]
    wins = np.zeros((count, count))
    for score, patient in zip(scores[labels], patients[labels], strict=True):
        below, not_above = np.searchsorted(lower, score), np.searchsorted(lower, score, 'right')
        wins[patient] += np.bincount(owners[:below], minlength=count)
        wins[patient] += 0.5 * np.bincount(owners[below:not_above], minlength=count)
    won = np.sum((weights @ wins) * weights, axis=1)
    sides = (np.bincount(patients[side], minlength=count) for side in (labels, ~labels))
    pairs = np.prod([weights @ side for side in sides], axis=0)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def mean_of(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of arrays, element by element, NaN left out."""
    return np.ma.masked_invalid([*parts]).mean(axis=0).filled(np.nan)
