"""The metrics of a segmentation: rows for a case, and their means."""

import numpy as np

from genesis_jax.metrics.overlap import dice, iou, mean_iou_paper
from genesis_jax.metrics.surface import hd95, surface_dice, surface_distances

CASE_METRICS = ('dice', 'iou', 'mean_iou_paper', 'hd95', 'surface_dice')


def case_metrics(prediction, mask, spacing, classes) -> list[dict[str, object]]:
    """The metrics of one case, a row for every class but the background.

    Args:
      prediction: probabilities, float `[X, Y, Z, n]`, n = 1 for two classes (foreground where
        above 0.5), else one for each class (the highest wins), or class indices `[X, Y, Z]`.
      mask: class indices `[X, Y, Z]`.
      spacing: mm along x, y, z.
      classes: names, the background's first.

    Returns:
      dicts with `class` and CASE_METRICS. `mean_iou_paper` cuts the probabilities of the class
      at its thresholds; of class indices it is the mean of the foreground's and background's IoU.
      A class that is neither in the mask nor in the prediction is NaN throughout (as in nnU-Net):
      else a network would get a class right, on average, by the cases that lack it.
    """
    prediction, mask = np.asarray(prediction), np.asarray(mask)
    answers = _answers(prediction, mask.shape, len(classes))
    rows = []
    for index, name in enumerate(classes[1:], start=1):
        answer, truth = answers == index, mask == index
        graded = answer
        if prediction.ndim > mask.ndim:
            graded = prediction[..., index if prediction.shape[-1] > 1 else 0]
        values = [float('nan')] * len(CASE_METRICS)
        if answer.any() or truth.any():
            distances = surface_distances(answer, truth, spacing)
            values = [
                dice(answer, truth),
                iou(answer, truth),
                mean_iou_paper(graded, truth),
                hd95(*distances),
                surface_dice(*distances),
            ]
        rows.append({'class': name, **dict(zip(CASE_METRICS, values, strict=True))})
    return rows


def segmentation_metrics(rows, classes) -> dict[str, float]:
    """The means of the rows of all cases by name, and `dice_<class>` for every foreground class.

    A class counts in the cases in which it is in the mask or in the prediction; HD95 in those of
    them in which it is in both. `segmentation_counts` tells how many these are.
    """
    return {name: mean(values) for name, values in _columns(rows, classes).items()}


def segmentation_counts(rows, classes) -> dict[str, list[int]]:
    """What each of `segmentation_metrics` rests on: `{name: [rows counted, rows]}`."""
    return {
        name: [int(np.count_nonzero(~np.isnan(values))), len(values)]
        for name, values in _columns(rows, classes).items()
    }


def mean(values) -> float:
    """The mean of what is not NaN; NaN if nothing is left."""
    values = np.fromiter(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')


def _columns(rows, classes):
    columns = {name: [row[name] for row in rows] for name in CASE_METRICS}
    for name in classes[1:]:
        columns[f'dice_{name}'] = [row['dice'] for row in rows if row['class'] == name]
    return columns


def _answers(prediction, shape, classes):
    """Class indices `[X, Y, Z]`."""
    if prediction.shape == shape:
        return prediction
    outputs = prediction.shape[-1]
    if prediction.shape[:-1] != shape or (outputs if outputs > 1 else 2) != classes:
        raise ValueError(
            f'a prediction of {prediction.shape} for a mask of {shape} and {classes} classes'
        )
    return prediction[..., 0] > 0.5 if outputs == 1 else np.argmax(prediction, axis=-1)
