"""Networks: Flax Linen modules whose variables are plain nested dicts."""

import jax

from genesis_jax.models.classifier import Classifier2D, Classifier3D
from genesis_jax.models.unet2d import UNet2D
from genesis_jax.models.unet3d import UNet3D

__all__ = [
    'NETWORKS',
    'Classifier2D',
    'Classifier3D',
    'UNet2D',
    'UNet3D',
    'from_card',
    'name_of',
    'probabilities',
]

NETWORKS = {
    'unet3d': UNet3D,
    'classifier3d': Classifier3D,
    'unet2d': UNet2D,
    'classifier2d': Classifier2D,
}


def name_of(task, dimensions):
    """The network (of NETWORKS) for a task of a config, on arrays of 2 or 3 spatial axes."""
    kind = 'unet' if task in ('restoration', 'segmentation') else 'classifier'
    return f'{kind}{dimensions}d'


def from_card(card):
    """The network that an export's card (`checkpoints.load_export`) describes."""
    return NETWORKS[card.network](out_channels=card.out_channels, **card.model)


def probabilities(logits, task):
    """Of each class on the last axis: sigmoid of a single logit, softmax of several.

    The findings of a `multilabel` task do not exclude each other: sigmoid of each.
    """
    alone = logits.shape[-1] == 1 or task == 'multilabel'
    return jax.nn.sigmoid(logits) if alone else jax.nn.softmax(logits)
