"""How well scores tell classes apart.

Of two classes: labels `[N]` of 0 and 1, scores `[N]`, higher for class 1. Of more classes: labels
`[N]`, scores `[N, n]`; each class is ranked against the rest. Of several findings at once: labels
and scores `[N, n]`. The last two give the mean over the columns. A column whose labels are all the
same has no ranking and is left out; with no column left the answer is NaN. scikit-learn and SciPy
have neither DeLong's interval nor FROC, so these are ours.
"""

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from genesis_jax.metrics.cases import mean

AUC_INTERVAL = ('low_of_auc', 'high_of_auc')  # of one test; `auc_low` is that of a finding `low`
LUNA16_RATES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # false positives a scan


def classification_metrics(labels, probabilities, scan_ids=None) -> dict[str, float]:
    """All metrics of a classification by name.

    Args:
      labels: `[N]` class indices; of several findings at once `[N, n]` of 0 and 1.
      probabilities: `[N, n]`, or `[N]` or `[N, 1]`: those of class 1 of two.
      scan_ids: `[N]`, the scan of each candidate: adds `luna16_score` if there are two classes.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim == 1 and probabilities.ndim == 2 and probabilities.shape[1] <= 2:
        probabilities = probabilities[:, -1]
    low, high = auc_interval(labels, probabilities)
    metrics = {
        'auc': auc(labels, probabilities),
        **dict(zip(AUC_INTERVAL, (low, high), strict=True)),
        'average_precision': average_precision(labels, probabilities),
        'accuracy': accuracy(labels, probabilities),
    }
    if scan_ids is not None and probabilities.ndim == 1:
        metrics['luna16_score'] = luna16_score(scan_ids, labels, probabilities)
    return metrics


def findings_metrics(labels, probabilities, findings) -> dict[str, float]:
    """All metrics of several findings at once by name: their means, and `auc_<finding>` of each.

    Args:
      labels, probabilities: `[N, n]`.
      findings: n names.
    """
    columns = zip(findings, np.transpose(labels), np.transpose(probabilities), strict=True)
    return classification_metrics(labels, probabilities) | {
        f'auc_{name}': auc(label, scores) for name, label, scores in columns
    }


def auc(labels, scores) -> float:
    """Area under the ROC curve."""
    return mean(roc_auc_score(*column) for column in _columns(labels, scores))


def auc_interval(labels, scores, level: float = 0.95) -> tuple[float, float]:
    """The DeLong interval of `auc`, `(low, high)`, cut to [0, 1].

    For a mean over columns, the variance of the mean of their placement values over the same
    examples, which for one column is DeLong's. NaN with fewer than two examples of either class
    in a column. A perfect ranking has the interval [1, 1] however few the examples.
    """
    columns = _columns(labels, scores)
    if not columns:
        return float('nan'), float('nan')
    areas, parts = zip(*(_placements(*column) for column in columns), strict=True)
    error = np.sqrt(np.sum(np.mean(parts, axis=0) ** 2))
    reach = stats.norm.ppf((1 + level) / 2) * error
    low, high = np.clip([np.mean(areas) - reach, np.mean(areas) + reach], 0, 1)
    return float(low), float(high)


def average_precision(labels, scores) -> float:
    """Area under the precision-recall curve, by steps."""
    return mean(average_precision_score(*column) for column in _columns(labels, scores))


def accuracy(labels, scores) -> float:
    """The share of right answers: above 0.5, or the highest of several classes.

    Of several findings at once, over all answers. NaN without examples.
    """
    labels, scores = _arrays(labels, scores)
    exclusive = scores.ndim == 2 and labels.ndim == 1
    answers = np.argmax(scores, axis=1) if exclusive else scores > 0.5
    return float(np.mean(answers == labels)) if labels.size else float('nan')


def froc(scan_ids, labels, scores, rates=LUNA16_RATES) -> np.ndarray:
    """Sensitivity at so many false positives a scan, two classes.

    As in LUNA16: one operating point for each distinct score, straight lines between them (which
    matter where scores are tied), and everything accepted at the end. Sensitivity is that among
    the candidates: nodules without a candidate are not counted as missed.

    Args:
      scan_ids: `[N]`, the scan of each candidate.
      rates: false positives a scan.

    Returns:
      float64 `[len(rates)]`; NaN if the labels are all the same.
    """
    labels, scores = _arrays(labels, scores)
    if not _has_both(labels):
        return np.full(len(rates), np.nan)
    order = np.argsort(-scores, kind='stable')
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # last of each distinct score
    hits = np.concatenate([[0], np.cumsum(labels[order] == 1)[ends]])
    false = np.concatenate([[0], np.cumsum(labels[order] == 0)[ends]])
    return np.interp(rates, false / len(np.unique(np.asarray(scan_ids))), hits / hits[-1])


def luna16_score(scan_ids, labels, scores) -> float:
    """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan."""
    return float(np.mean(froc(scan_ids, labels, scores)))


def _arrays(labels, scores):
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if len(labels) != len(scores) or (labels.ndim == 2 and labels.shape != scores.shape):
        raise ValueError(f'labels of {labels.shape} and scores of {scores.shape}')
    if not np.isfinite(scores).all():
        raise ValueError('scores must be finite: NaN or infinity has no rank')
    return labels, scores


def _columns(labels, scores):
    """The problems of two classes: `[(labels [N], scores [N]), ...]`, only those with both."""
    labels, scores = _arrays(labels, scores)
    if scores.ndim == 1:
        columns = [(labels == 1, scores)]
    else:
        single = [labels == index for index in range(scores.shape[1])]
        columns = zip((labels == 1).T if labels.ndim == 2 else single, scores.T, strict=True)
    return [column for column in columns if _has_both(column[0])]


def _has_both(labels):
    return 0 < np.count_nonzero(labels) < len(labels)


def _placements(labels, scores):
    """The AUC, and what each example adds to its error `[N]` (DeLong and others, 1988)."""
    ranks, shares, weights = stats.rankdata(scores), np.empty(len(labels)), np.empty(len(labels))
    for side in (labels, ~labels):
        count, others = np.count_nonzero(side), np.count_nonzero(~side)
        below = (ranks[side] - stats.rankdata(scores[side])) / others  # share of the other side
        shares[side] = below if side is labels else 1 - below
        weights[side] = 1 / np.sqrt(count * (count - 1)) if count > 1 else np.nan
    area = np.mean(shares[labels])
    return area, (shares - area) * weights
