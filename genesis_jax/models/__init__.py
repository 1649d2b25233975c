"""Networks: Flax Linen modules whose variables are plain nested dicts."""

from collections.abc import Mapping
from typing import Any

import jax

from genesis_jax.models import outside
from genesis_jax.models.classifier import Classifier2D, Classifier3D
from genesis_jax.models.network import Network
from genesis_jax.models.resenc import ResEncClassifier3D, ResEncUNet3D
from genesis_jax.models.unet import UNet2D, UNet3D
from genesis_jax.tasks import TASKS
from genesis_jax.topology import NETWORKS as TOPOLOGIES
from genesis_jax.topology import name_of as name_in

# Of each of `topology.NETWORKS` the U-Net, which answers every element, and its classifier.
NETWORKS: dict[str, dict[str, type[Network]]] = {
    'unet3d': {'unet': UNet3D, 'classifier': Classifier3D},
    'unet2d': {'unet': UNet2D, 'classifier': Classifier2D},
    'resenc3d': {'unet': ResEncUNet3D, 'classifier': ResEncClassifier3D},
}


def name_of(task: str, dimensions: int) -> str:
    """The form of network (`card_rules.WHOLE`) for a task, on arrays of 2 or 3 spatial axes."""
    return f'{TASKS[task].network}{dimensions}d'


def from_card(card: Mapping[str, Any]) -> Network:
    """The network that an export's card (`checkpoints.load_export`) describes."""
    return make(card['network'], card['config']['model'], out_channels=card['out_channels'])


def class_of(form: str, options: Mapping[str, Any]) -> type[Network]:
    """The class of a network; the arguments are those of `make`."""
    kind, dimensions = form[:-2], int(form[-2])
    if options.get('module'):
        return outside.NETWORKS[kind]
    return NETWORKS[name_in(options, dimensions)][kind]


def make(form: str, options: Mapping[str, Any], **more: Any) -> Network:
    """A network with the options of `config.model`, of which None is its own default.

    Args:
      form: what it is for, one of `card_rules.WHOLE`, such as 'unet3d'.
      more: options that no config has.
    """
    # Flax's modules have a method `init`, and a name of their own.
    fields: dict[str, Any] = {
        'initialiser' if field == 'init' else field: tuple(v) if isinstance(v, list) else v
        for field, v in options.items()
        if v is not None and field != 'name'
    }
    fields |= more
    made = class_of(form, options)
    if 'module' in fields:
        return made(**outside.arguments(form[:-2], int(form[-2]), fields))
    if 'upsample' not in TOPOLOGIES[made.topology].options:
        fields.pop('upsample', None)  # 'transpose', which is its only way
    return made(**fields)


def probabilities(logits: jax.Array, task: str) -> jax.Array:
    """Of each class on the last axis: softmax, or where classes are independent sigmoid of each.

    A single logit is that of the second of two classes; of restoration they are grey values.
    """
    alone = logits.shape[-1] == 1 or not TASKS[task].exclusive
    return jax.nn.sigmoid(logits) if alone else jax.nn.softmax(logits)
