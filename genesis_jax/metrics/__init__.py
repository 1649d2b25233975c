"""What a fine-tuned network is worth, in numbers: NumPy arrays in, floats out, on the host.

Fractions are 0..1, distances mm. What has no answer is NaN, without a warning, and means leave
NaN out. Every function says what it answers for empty masks or for labels of one class: of single
arrays, two empty masks agree; over cases, a class that is in neither is not counted.
"""

from genesis_jax.metrics.cases import (
    CASE_METRICS,
    case_metrics,
    mean,
    segmentation_counts,
    segmentation_metrics,
)
from genesis_jax.metrics.overlap import dice, iou, mean_iou_paper
from genesis_jax.metrics.ranking import (
    AUC_INTERVAL,
    LUNA16_RATES,
    accuracy,
    auc,
    auc_interval,
    average_precision,
    classification_metrics,
    findings_metrics,
    froc,
    luna16_score,
)
from genesis_jax.metrics.surface import TOLERANCE, hd95, surface_dice, surface_distances

__all__ = [
    'AUC_INTERVAL',
    'CASE_METRICS',
    'LUNA16_RATES',
    'TOLERANCE',
    'accuracy',
    'auc',
    'auc_interval',
    'average_precision',
    'case_metrics',
    'classification_metrics',
    'dice',
    'findings_metrics',
    'froc',
    'hd95',
    'iou',
    'luna16_score',
    'mean',
    'mean_iou_paper',
    'segmentation_counts',
    'segmentation_metrics',
    'surface_dice',
    'surface_distances',
]
