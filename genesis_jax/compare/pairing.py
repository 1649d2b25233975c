"""Two workdirs on the patients that both were tested on: the same cases, so a sharper test."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from genesis_jax.compare import statistics
from genesis_jax.compare.runs import Tested


def pair(
    tests: Sequence[Tested], base: Sequence[Tested], base_path: Path, draws: int, seed: int
) -> tuple[statistics.Paired | None, str]:
    """`(Paired or None, a note or an empty text)` of the tests of two workdirs."""
    ours, theirs = ({*chain(*(test.patients for test in side))} for side in (tests, base))
    shared = sorted(ours & theirs)
    notes = []
    if ours != theirs:
        notes = [f'tested on other patients than {base_path}; paired on the {len(shared)} of both']
    values, others = (_by_patient(side, shared) for side in (tests, base))
    known = ~np.isnan(values + others)
    if not known.all():
        notes += [
            f'paired on {np.count_nonzero(known)} of {len(known)} patients; the others have no '
            f'Dice here or in {base_path}'
        ]
        shared = [name for name, counts in zip(shared, known, strict=True) if counts]
        values, others = values[known], others[known]
    if len(shared) < 2:
        return None, f'{len(shared)} test patients to pair with {base_path}, too few for a test'
    weights = statistics.draw_weights(len(shared), draws, seed)
    if tests[0].labels is None:
        return statistics.compare_means(values, others, weights), '; '.join(notes)
    weights = np.concatenate([np.ones((1, len(shared))), weights])  # first everyone, once
    areas = (
        statistics.mean_of(scores_of_draws(test, shared, weights) for test in side)
        for side in (tests, base)
    )
    area, drawn = np.split(np.subtract(*areas), [1])
    paired = statistics.Paired(
        len(shared),
        float(area[0]),
        *statistics.interval(drawn),
        float(np.mean(values - others)),
        statistics.wilcoxon(values - others),
    )
    return paired, '; '.join(notes)


def scores_of_draws(test: Tested, patients: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """Mean Dice or AUC of one test in each draw of patients `[draws]`.

    Args:
      weights: `[draws, patients]`, how often each is drawn.
    """
    if test.labels is None or test.probabilities is None:
        values = _by_patient([test], patients)
        known = ~np.isnan(values)
        drawn = weights[:, known].sum(axis=1)
        totals = weights[:, known] @ values[known]
        return np.divide(totals, drawn, out=np.full(len(weights), np.nan), where=drawn > 0)
    index = _index(test, patients)
    keep = index >= 0
    columns = test.labels[keep], test.probabilities[keep], index[keep]
    return statistics.auc_of_draws(*columns, weights)


def _by_patient(tests, patients):
    """Means over the rows of each patient, then over runs `[len(patients)]`, NaN left out."""
    means = []
    for test in tests:
        index = _index(test, patients)
        keep = (index >= 0) & ~np.isnan(test.values)
        total = np.bincount(index[keep], test.values[keep], len(patients))
        count = np.bincount(index[keep], minlength=len(patients))
        means.append(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
    return statistics.mean_of(means)


def _index(test, patients):
    """Each row's place among `patients`; −1: none of them."""
    places = {name: place for place, name in enumerate(patients)}
    return np.array([places.get(name, -1) for name in test.patients])
