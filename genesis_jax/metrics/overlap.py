"""How much of two masks is the same.

A prediction is a mask or probabilities of any shape, a mask an array of that shape, 0 or 1. Two
empty masks agree (1); an empty and a filled one do not (0). Means over cases leave out classes that
are in neither mask, see cases.py.
"""

import numpy as np

_PAPER_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))


def dice(prediction, mask, threshold=0.5) -> float:
    """Dice of what lies above the threshold: 2 |A and B| / (|A| + |B|)."""
    both, predicted, truth = _counts(prediction, mask, threshold)
    return _ratio(2 * both, predicted + truth)


def iou(prediction, mask, threshold=0.5) -> float:
    """Intersection over union of the foreground, of what lies above the threshold."""
    both, predicted, truth = _counts(prediction, mask, threshold)
    return _ratio(both, predicted + truth - both)


def mean_iou_paper(probabilities, mask) -> float:
    """The IoU that Models Genesis publish: it is *not* the foreground's at 0.5.

    The mean of the foreground's and the background's IoU, over the thresholds 0.50, 0.55 … 0.95.
    Large backgrounds lift it: half of it is close to 1 however small structures are segmented.
    """
    probabilities, mask = _pair(probabilities, mask)
    truth = np.count_nonzero(mask)
    likely = probabilities > _PAPER_THRESHOLDS[0]  # all that matters; little of a whole scan
    inside, likely = mask[likely], probabilities[likely]
    scores = []
    for threshold in _PAPER_THRESHOLDS:
        above = likely > threshold
        predicted, both = np.count_nonzero(above), np.count_nonzero(above & inside)
        foreground = _ratio(both, predicted + truth - both)
        background = _ratio(mask.size - predicted - truth + both, mask.size - both)
        scores.append((foreground + background) / 2)
    return float(np.mean(scores))


def _counts(prediction, mask, threshold):
    """Voxels in both, predicted, wanted."""
    prediction, mask = _pair(prediction, mask)
    above = prediction > threshold
    return np.count_nonzero(above & mask), np.count_nonzero(above), np.count_nonzero(mask)


def _pair(prediction, mask):
    prediction, mask = np.asarray(prediction), np.asarray(mask)
    if prediction.shape != mask.shape:
        raise ValueError(f'a prediction of {prediction.shape} and a mask of {mask.shape}')
    return prediction, mask.astype(bool, copy=False)


def _ratio(part, whole):
    return float(part / whole) if whole else 1.0
