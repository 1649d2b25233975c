"""Networks: Flax Linen modules whose variables are plain nested dicts."""

from collections.abc import Mapping
from typing import Any

import jax

from genesis_jax.models.classifier import Classifier2D, Classifier3D
from genesis_jax.models.network import Network
from genesis_jax.models.unet import UNet2D, UNet3D
from genesis_jax.tasks import TASKS

NETWORKS = {
    'unet3d': UNet3D,
    'classifier3d': Classifier3D,
    'unet2d': UNet2D,
    'classifier2d': Classifier2D,
}


def name_of(task: str, dimensions: int) -> str:
    """The network (of NETWORKS) for a task of a config, on arrays of 2 or 3 spatial axes."""
    return f'{TASKS[task].network}{dimensions}d'


def from_card(card: Mapping[str, Any]) -> Network:
    """The network that an export's card (`checkpoints.load_export`) describes."""
    return make(card['network'], card['config']['model'], out_channels=card['out_channels'])


def make(name: str, options: Mapping[str, Any], **more: Any) -> Network:
    """The network `name` of NETWORKS with the options of `config.model`."""
    # Flax's modules have a method `init`.
    fields = {'initialiser' if field == 'init' else field: v for field, v in options.items()}
    return NETWORKS[name](**fields, **more)


def probabilities(logits: jax.Array, task: str) -> jax.Array:
    """Of each class on the last axis: softmax, or where classes are independent sigmoid of each.

    A single logit is that of the second of two classes; of restoration they are grey values.
    """
    alone = logits.shape[-1] == 1 or not TASKS[task].exclusive
    return jax.nn.sigmoid(logits) if alone else jax.nn.softmax(logits)
