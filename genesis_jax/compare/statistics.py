"""Tests and intervals. What cannot be tested has the p-value NaN."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Paired:
    """Two methods on the same patients."""

    patients: int
    difference: float  # of mean Dice or AUC
    low: float  # its 95 % interval
    high: float
    tested: float  # mean difference of what is tested: Dice, or the Brier score
    p: float


def spread(values) -> tuple[float, float]:
    """Mean and sample standard deviation (NaN with fewer than two)."""
    values = np.asarray(values, float)
    mean = float(np.mean(values)) if values.size else float('nan')
    return mean, float(np.std(values, ddof=1)) if values.size > 1 else float('nan')


def t_test(values, baseline, welch: bool = False) -> float:
    """p of the two-sided independent two-sample t-test; NaN without spread or two values each."""
    if min(len(values), len(baseline)) < 2 or np.ptp(values) == np.ptp(baseline) == 0:
        return float('nan')
    return float(stats.ttest_ind(values, baseline, equal_var=not welch).pvalue)


def wilcoxon(differences) -> float:
    """p of the two-sided signed-rank test; 1 if nothing differs."""
    if not len(differences):
        return float('nan')
    return float(stats.wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def draw_weights(patients: int, draws: int, seed: int) -> np.ndarray:
    """How often each patient is drawn, with replacement: `[draws, patients]`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=draws).astype(float)


def compare_means(values, baseline, weights) -> Paired:
    """Values by patient `[P]` against the baseline's; weights `[draws, P]`."""
    differences = values - baseline
    drawn = weights @ differences / weights.sum(axis=1)
    mean = float(differences.mean())
    return Paired(len(values), mean, *interval(drawn), mean, wilcoxon(differences))


def interval(drawn) -> tuple[float, float]:
    """The central 95 % of what was drawn, NaN left out."""
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return float('nan'), float('nan')
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def auc_of_draws(labels, scores, patients, weights) -> np.ndarray:
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
        wanted = labels.T if labels.ndim == 2 else [labels == i for i in range(scores.shape[1])]
        parts = [
            auc_of_draws(*columns, patients, weights)
            for columns in zip(wanted, scores.T, strict=True)
        ]
        return mean_of(parts)
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
    pairs = np.prod(
        [weights @ np.bincount(patients[side], minlength=count) for side in (labels, ~labels)],
        axis=0,
    )
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def mean_of(parts) -> np.ndarray:
    """The mean of arrays, element by element, NaN left out."""
    parts = np.array(parts)
    known = ~np.isnan(parts)
    counts = known.sum(axis=0)
    total = np.sum(parts, axis=0, where=known)
    return np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
