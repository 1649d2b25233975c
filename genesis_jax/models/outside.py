"""Networks from outside: `config.model.module='my_lab.net:MyUNet'` names a Linen module.

What such a class must keep to:

- Called as `network(x, train=train)` it takes float `[B, X, Y(, Z), C]` and returns float logits
  `[B, X, Y(, Z), out_channels]`.
- Its parameters are those of its submodules `encoder`, `decoder` and `head`.
- It has a field `out_channels`. Of the other fields of `config.model` (`width`, `norm`, `dtype`,
  ...) it gets those that it has a field for; so it does `axis_name` (the mapped axis, for the
  statistics of a batch), `freeze` and `deep_supervision`. What it has no field for cannot be set.
- Its attribute `divisor` says what every side of the input must divide by; without one, 32.
- To be classified with, it has `encode(x, train=train)`, which returns the encoder's features, the
  deepest last, and computes with `encoder` alone; so its submodules are made in `setup`.

Statistics other than `batch_stats` are not kept between steps.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genesis_jax.errors import UserError
from genesis_jax.models.classifier import Classifier
from genesis_jax.models.network import Network
from genesis_jax.topology import check_sides

PARTS = ('encoder', 'decoder', 'head')
_DIVISOR = 32  # of a class that says none
_SPECIAL = {  # what a class without the field can have
    'freeze': 'none',
    'deep_supervision': False,
    'norm': None,
    'blocks': None,
    'upsample': 'transpose',
    'remat': False,
    'dtype': 'float32',
    'batch_statistics': 'synchronised',
}


def load(place: str) -> type[nn.Module]:
    """The class at a place such as 'my_lab.net:MyUNet'.

    Raises:
      UserError: it cannot be imported, or is no Linen module.
    """
    name, _, attribute = place.partition(':')
    what = f'config.model.module={place}'
    try:
        found = getattr(importlib.import_module(name), attribute, None)
    except Exception as error:  # whatever the code of others raises
        raise UserError(
            f'{what}: {name} cannot be imported ({type(error).__name__}: {error}); mend it, or put '
            'the folder that holds it on PYTHONPATH'
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        held = 'no' if found is None else f'{found!r} as'
        raise UserError(f'{what}: {name} has {held} {attribute}; expected a class of flax.linen')
    if 'out_channels' not in _fields(found):
        raise UserError(
            f'{what}: {attribute} has no field out_channels; add it: the number of logits'
        )
    return found


def check(network: Network, options: Mapping[str, Any]) -> None:
    """Checks a network from outside, whose code runs for that.

    Args:
      options: what the config asks for by name, `freeze` and the fields of `config.model`.

    Raises:
      UserError: it lacks a part, a field that is asked for, or fails.
    """
    place = network.module  # type: ignore[attr-defined]
    made, what = load(place), f'config.model.module={place}'
    for name, default in _SPECIAL.items():
        if options.get(name, default) != default and name not in _fields(made):
            raise UserError(
                f'{what}: {made.__name__} has no field {name}, and the config asks for '
                f'{options[name]}; add the field, or leave it at {default}'
            )
    classifies = isinstance(network, Classifier)
    if classifies and not hasattr(made, 'encode'):
        raise UserError(
            f'{what}: {made.__name__} has no method encode, which a classifier needs; see '
            'genesis_jax/models/outside.py'
        )
    x = jax.ShapeDtypeStruct(network.smallest_input(1), jnp.float32)
    try:
        params = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
    except Exception as error:
        raise UserError(
            f'{what}: {made.__name__} fails on an input of {x.shape} ({type(error).__name__}: '
            f'{str(error).splitlines()[0]}); see genesis_jax/models/outside.py for what it must do'
        ) from error
    expected = ('encoder', 'hidden', 'head') if classifies else (*PARTS, 'heads')
    needed = ('encoder',) if classifies else PARTS
    parts = params.get('params', {})
    lacking = [part for part in needed if part not in parts]
    strange = [part for part in parts if part not in expected]
    if lacking or strange:
        raise UserError(
            f'{what}: {made.__name__} has the parts {", ".join(parts) or "none"}; expected the '
            f'submodules {", ".join(needed)}, and parameters in these alone'
        )


class _Outside(Network):
    """What the two have in common.

    Attributes:
      module: where the class is.
      options: of `config.model`, and `deep_supervision`, as pairs.
    """

    module: str = ''
    options: tuple[tuple[str, Any], ...] = ()
    rank: int = 3

    @property
    def dimensions(self) -> int:
        return self.rank

    @property
    def divisor(self) -> int:
        return getattr(self._make(), 'divisor', _DIVISOR)

    def _make(self):
        """The module, which belongs to no scope yet."""
        made = load(self.module)
        given = {**dict(self.options), 'out_channels': self.out_channels}
        given |= {'freeze': self.freeze, 'axis_name': self.axis_name}
        fields = {n: v for n, v in given.items() if n in _fields(made)}
        return made(**fields, parent=None)


class OutsideUNet(_Outside):
    """A network from outside that answers every element."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Any:
        """Logits `[B, X, Y(, Z), out_channels]`, or a list of them; ValueError on bad sides."""
        check_sides(x.shape[1:-1], self.divisor)
        inner = self._make().clone(parent=self, name='inner')
        nn.share_scope(self, inner)  # its parts are this one's
        logits = inner(x, train=train)
        return jax.tree.map(lambda level: level.astype(jnp.float32), logits)


class OutsideClassifier(_Outside, Classifier):
    """The classifier on the encoder of a network from outside."""

    def encode(self, x: jax.Array, train: bool) -> list[jax.Array]:
        check_sides(x.shape[1:-1], self.divisor)
        inner = self._make()  # has a head, too, so that it cannot share the scope
        draw = partial(inner.init, x=x, train=False, method='encode')
        params = self.param('encoder', lambda key: draw(key)['params']['encoder'])
        variables = {'params': {'encoder': params}}
        statistics = None
        if 'batch_stats' in jax.eval_shape(draw, jax.random.key(0)):
            start = partial(draw, jax.random.key(0))  # (averages are not random)
            statistics = self.variable(
                'batch_stats', 'encoder', lambda: start()['batch_stats']['encoder']
            )
            variables['batch_stats'] = {'encoder': statistics.value}
        options = {'train': train, 'method': 'encode', 'mutable': ['batch_stats']}
        features, updated = inner.apply(variables, x, **options)
        if statistics and train and not self.is_initializing():
            statistics.value = updated['batch_stats']['encoder']
        return features


NETWORKS = {'unet': OutsideUNet, 'classifier': OutsideClassifier}


def arguments(kind: str, dimensions: int, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of one of NETWORKS, from those of a network of ours."""
    own = _fields(NETWORKS[kind])
    options = {n: v for n, v in fields.items() if n not in ('module', 'out_channels', 'axis_name')}
    ours = {name: value for name, value in fields.items() if name in own}
    return ours | {'options': tuple(options.items()), 'rank': dimensions}


def _fields(made):
    return {field.name for field in dataclasses.fields(made)} - {'parent', 'name'}
