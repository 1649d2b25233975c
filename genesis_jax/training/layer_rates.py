"""How fast each part of a network learns: frozen encoder, layer-wise decay, warm-up of the head."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from genesis_jax.errors import UserError


def make_scales(
    config: Any, params: Mapping[str, Any], loaded: Collection[str], steps_per_epoch: int
) -> Callable[[jax.Array], Any] | None:
    """Factors of the learning rate for `optim.Optimisation`, or None where all are 1.

    The level n places before the head learns at `layer_decay ** n` of the learning rate (Clark et
    al., ELECTRA, 2020, do so for transformers); a frozen encoder does not learn; during the
    warm-up only parts that were not `loaded` do.

    Args:
      params: the network's parameters, or their shapes.
      loaded: names of the parts that came from elsewhere.

    Raises:
      UserError: rates fall off by level, and a level's name does not tell its place.
    """
    frozen = () if config.freeze == 'none' else config.freeze.split('_')  # names of parts
    warmup_steps = config.head_warmup_epochs * steps_per_epoch
    if config.layer_decay == 1 and not frozen and not (warmup_steps and loaded):
        return None
    places = {} if config.layer_decay == 1 else _places(params)
    last = 1 + max(places.values(), default=0)

    def scale(path, step):
        names = [entry.key for entry in path]
        if names[0] in frozen:
            return jnp.float32(0)
        constant = jnp.float32(config.layer_decay ** (last - places.get((*names[:2],), last)))
        return constant * (step >= warmup_steps) if names[0] in loaded else constant

    return lambda step: jax.tree_util.tree_map_with_path(lambda path, _: scale(path, step), params)


def _places(params):
    """The place of every level, counted from the first of the encoder: `{(part, name): place}`.

    Those of the decoder follow the deepest of the encoder, in falling order of their numbers.
    """
    places = {('encoder', name): _number(name) for name in params['encoder']}
    deepest = max(places.values())
    decoder = params.get('decoder', ())
    return places | {('decoder', name): 2 * deepest - _number(name) for name in decoder}


def _number(name):
    """2 of `level_2` and `up_2`; 0 of a stem; -1 of a decoder's last level, which follows 0."""
    number = name.rpartition('_')[2]
    if number in ('stem', 'last'):
        return {'stem': 0, 'last': -1}[number]
    if not number.isdecimal():
        raise UserError(
            f'config.layer_decay: the network has the part {name!r}, whose name does not tell its '
            'place; name its levels level_0, level_1, ..., or leave the decay at 1'
        )
    return int(number)
