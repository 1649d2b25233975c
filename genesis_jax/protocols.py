"""How fast each part of a network learns: frozen encoder, layer-wise decay, warm-up of the head."""

import jax
import jax.numpy as jnp

from genesis_jax.models.network import LEVELS


def make_scales(config, params, loaded, steps_per_epoch):
    """Factors of the learning rate for `optim.Optimisation`, or None where all are 1.

    The level n places before the head learns at `layer_decay ** n` of the learning rate (Clark et
    al., ELECTRA, 2020, do so for transformers); a frozen encoder does not learn; during the
    warm-up only parts that were not `loaded` do.

    Args:
      params: the network's parameters, or their shapes.
      loaded: names of the parts that came from elsewhere.
    """
    frozen = ('encoder',) if config.freeze == 'encoder' else ()
    # The head's place, counted from the first level of the encoder.
    last = 2 * LEVELS - 1 if 'decoder' in params else LEVELS
    warmup_steps = config.head_warmup_epochs * steps_per_epoch
    if config.layer_decay == 1 and not frozen and not (warmup_steps and loaded):
        return None

    def scale(path, step):
        names = [entry.key for entry in path]
        if names[0] in frozen:
            return jnp.float32(0)
        constant = jnp.float32(config.layer_decay ** (last - _place(names, last)))
        return constant * (step >= warmup_steps) if names[0] in loaded else constant

    return lambda step: jax.tree_util.tree_map_with_path(lambda path, _: scale(path, step), params)


def _place(names, last):
    """Where an array stands, from 0 in the first level of the encoder to the last place."""
    part, *rest = names
    if part == 'encoder':
        return int(rest[0].rpartition('_')[2])
    if part == 'decoder':  # level_2 or up_2 follows the deepest level of the encoder
        return 2 * LEVELS - 2 - int(rest[0].rpartition('_')[2])
    return last
