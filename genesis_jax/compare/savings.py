"""How many labels pre-training saves: where the baseline's curve reaches the same score.

A method with a share f of the labels scores s; the baseline reaches s with a share g, on its curve
of scores over the logarithm of the share, made monotone and interpolated. Saved are 1 - f/g of the
labels. The interval is that of draws of patients and of runs, both with replacement; the variance
that n runs add is widened by n / (n - 1), since they are few.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genesis_jax.compare import statistics
from genesis_jax.compare.pairing import scores_of_draws
from genesis_jax.compare.runs import Tested, Workdir


@dataclass(frozen=True)
class Saving:
    """The share of labels that a method saves at one of its label fractions.

    Attributes:
      share: of the labels that the baseline needs; negative where the method needs more.
      low, high: its 95 % interval.
      at_least, high_at_least: the baseline reaches the score with none of its shares, so that
        `share` (or `high`) is a lower bound.
      at_most, low_at_most: the baseline is better with the smallest of its shares, so that `share`
        (or `low`) is an upper bound.
    """

    method: str
    label_fraction: float
    share: float
    low: float
    high: float
    at_least: bool = False
    at_most: bool = False
    high_at_least: bool = False
    low_at_most: bool = False


def savings(
    curves: Mapping[str, Mapping[float, tuple[Workdir, Sequence[Tested]]]],
    baseline: str,
    draws: int,
    seed: int,
) -> list[Saving]:
    """Of each method but the baseline, at each of its label fractions.

    Args:
      curves: by method and label fraction, a workdir and its tests. All on the same patients.
    """
    base = curves.get(baseline, {})
    if len(base) < 2 or len(curves) < 2:
        return []
    tests = [test for curve in curves.values() for _, found in curve.values() for test in found]
    patients = sorted({name for test in tests for name in test.patients})
    weights = statistics.draw_weights(len(patients), draws, seed)
    weights = np.concatenate([np.ones((1, len(patients))), weights])  # first everyone, once
    rng = np.random.default_rng(seed)
    means = {
        method: {
            fraction: _means(*curve[fraction], patients, weights, rng) for fraction in sorted(curve)
        }
        for method, curve in curves.items()
    }
    shares, heights = np.array([*means[baseline]]), np.stack([*means[baseline].values()], axis=1)
    heights = np.maximum.accumulate(heights, axis=1)
    return [
        _saving(method, fraction, scores, shares, heights)
        for method, curve in means.items()
        if method != baseline
        for fraction, scores in curve.items()
        if fraction < shares[-1]  # with all labels there is nothing to compare with
    ]


def _means(workdir, tests, patients, weights, rng):
    """The score in each draw, mean over drawn runs (in the first, over all once) `[draws]`."""
    by_seed = defaultdict(list)
    for part, test in zip(workdir.parts, tests, strict=True):
        by_seed[part.seed].append(scores_of_draws(test, patients, weights))
    runs = np.stack([statistics.mean_of(folds) for folds in by_seed.values()], axis=1)
    chosen = rng.integers(runs.shape[1], size=runs.shape)
    chosen[0] = np.arange(runs.shape[1])
    resampled, mean = np.take_along_axis(runs, chosen, axis=1).mean(axis=1), runs.mean(axis=1)
    count = max(2, runs.shape[1])
    return mean + (resampled - mean) * np.sqrt(count / (count - 1))


def _saving(method, fraction, scores, shares, heights):
    reached = heights >= scores[:, None]
    place = np.where(reached.any(axis=1), reached.argmax(axis=1), len(shares) - 1)
    before, rows = np.maximum(place - 1, 0), np.arange(len(scores))
    low, high = heights[rows, before], heights[rows, place]
    part = np.divide(scores - low, high - low, out=np.ones(len(scores)), where=high > low)
    logs = np.log(shares)
    needed = logs[before] + part.clip(0, 1) * (logs[place] - logs[before])
    saved = 1 - fraction / np.exp(needed)
    ends = statistics.interval(saved[1:])
    least, most = (1 - fraction / shares[[0, -1]]).tolist()  # what the curve can tell
    return Saving(
        method,
        fraction,
        float(saved[0]),
        *ends,
        at_least=bool(scores[0] > heights[0, -1]),
        at_most=bool(scores[0] < heights[0, 0]),
        high_at_least=bool(np.isclose(ends[1], most)),
        low_at_most=bool(np.isclose(ends[0], least)),
    )
