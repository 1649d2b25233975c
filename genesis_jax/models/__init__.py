"""Networks: Flax Linen modules whose variables are plain nested dicts."""

import jax

from genesis_jax.models.classifier3d import Classifier3D
from genesis_jax.models.unet3d import UNet3D

__all__ = ['NETWORKS', 'Classifier3D', 'UNet3D', 'from_card', 'probabilities']

NETWORKS = {'unet3d': UNet3D, 'classifier3d': Classifier3D}


def from_card(card):
    """The network that an export's card (`checkpoints.load_export`) describes."""
    return NETWORKS[card['network']](out_channels=card['outputs'], **card['config']['model'])


def probabilities(logits):
    """Of each class on the last axis: sigmoid of a single logit, softmax of several."""
    return jax.nn.sigmoid(logits) if logits.shape[-1] == 1 else jax.nn.softmax(logits)
