"""Corruptions by name: each is one function in a file of its own, and these lines above it.

    @corruption('noise', sd=0.1)
    def random_noise(key, volume, *, sd):

gives configs `transforms.noise_probability` (0, as long as nothing is set) and
`transforms.noise_sd`. What the function returns is the corrupted volume, or that and where it was
changed, `[X, Y(, Z), 1]` of booleans, if a value may stay what it was by chance.
"""

import dataclasses
import difflib
import importlib
import inspect
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from genesis_jax.errors import OptionError

Options = Mapping[str, Any]  # of `corrupt`, as `config.transforms` has them
PUBLISHED = ('shuffle', 'nonlinear', 'paint')  # in the published order
_OF_ALL = ('flip_probability', 'flip_axes', 'order', 'modules')  # options of no corruption


@dataclasses.dataclass(frozen=True)
class Corruption:
    """What may happen to an example.

    Attributes:
      name: the option `NAME_probability` says how often it happens.
      random_op: `(key, volume, *, ...)` to the volume, or to `(volume, changed)`.
      options: by their names in configs, the argument of `random_op` and its default.
      probability: where none is given.
      kinds: its kinds in words, each with its share given that it happens, of the arguments.
      pairs: whether `random_op` gets another volume of the batch as `other`.
    """

    name: str
    random_op: Callable[..., Any]
    options: Mapping[str, tuple[str, Any]]
    probability: float
    kinds: Callable[..., dict[str, float]]
    pairs: bool

    @property
    def fields(self) -> dict[str, Any]:
        """Its options in configs, with their defaults."""
        options = {name: default for name, (_, default) in self.options.items()}
        return {f'{self.name}_probability': self.probability} | options

    def probability_in(self, options: Options) -> float:
        """How often it happens."""
        return options.get(f'{self.name}_probability', self.probability)

    def arguments(self, options: Options) -> dict[str, Any]:
        """Of `random_op`."""
        return {arg: options.get(name, value) for name, (arg, value) in self.options.items()}

    def key(self, key: jax.Array) -> jax.Array:
        """Its own of an example's key; the published ones take theirs by number (`pipeline`)."""
        return jax.random.fold_in(key, zlib.crc32(self.name.encode()))


CORRUPTIONS: dict[str, Corruption] = {}


def corruption(
    name: str,
    /,
    *,
    probability: float = 0.0,
    kinds: str | Callable[..., dict[str, float]] = '',
    prefix: str | None = None,
    **defaults: Any,
) -> Callable:
    """Registers `random_op(key, volume, *, ...)` as the corruption `name`.

    Args:
      probability: how often it happens where no config says so.
      kinds: what it is called in words; or of several kinds, see `Corruption`.
      prefix: of its options in configs; `NAME_`, if not given.
      defaults: of its options; those of its signature, if not given.

    Raises:
      TypeError: an option has no default or is none of the function's, or a name is taken.
    """
    prefix = f'{name}_' if prefix is None else prefix

    def register(random_op):
        parameters = inspect.signature(random_op).parameters.values()
        keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        pairs = keywords.pop('other', None) is not None
        values = keywords | defaults
        lacking = [n for n, value in values.items() if value is inspect.Parameter.empty]
        if lacking or values.keys() != keywords.keys():
            raise TypeError(
                f'the corruption {name!r} has the options {", ".join(keywords) or "none"} and '
                f'defaults for {", ".join(values.keys() - set(lacking)) or "none"}; expected the '
                'same'
            )
        made = Corruption(
            name,
            random_op,
            {f'{prefix}{arg}': (arg, value) for arg, value in values.items()},
            probability,
            kinds if callable(kinds) else (lambda **_: {kinds or name.replace('_', ' '): 1.0}),
            pairs,
        )
        check_free(name, random_op, CORRUPTIONS[name].random_op if name in CORRUPTIONS else None)
        others = [one for one in CORRUPTIONS.values() if one.name != name]
        if taken := made.fields.keys() & set(_OF_ALL).union(*(one.fields for one in others)):
            raise TypeError(f'the option {sorted(taken)[0]} of {name!r} is taken; rename it')
        CORRUPTIONS[name] = made
        return random_op

    return register


def further_options() -> dict[str, Any]:
    """Fields of configs, with their defaults, of this package's corruptions but the published."""
    own = __name__.partition('.')[0]
    further = (
        one
        for one in CORRUPTIONS.values()
        if one.name not in PUBLISHED and one.random_op.__module__.startswith(f'{own}.')
    )
    return {name: value for one in further for name, value in one.fields.items()}


def chain(options: Options) -> list[Corruption]:
    """The corruptions that happen, in their order.

    Those that `order` names come first, then the published ones, then all others by their names.

    Raises:
      OptionError: a module cannot be imported, or there is no option or corruption of that name.
    """
    load(options.get('modules') or ())
    _check(options)
    first = names_of(options.get('order'))
    names = dict.fromkeys((*first, *PUBLISHED, *sorted(CORRUPTIONS)))
    return [one for n in names if (one := CORRUPTIONS[n]).probability_in(options) > 0]


def mix(options: Options) -> bool:
    """Whether a corruption that happens takes in another volume."""
    return any(one.pairs for one in chain(options))


def without_idle(options: Options) -> dict[str, Any]:
    """Options without those that change nothing: of corruptions that are off and unpublished."""
    idle = {
        name
        for one in CORRUPTIONS.values()
        if one.name not in PUBLISHED and one.probability_in(options) <= 0
        for name in one.fields
    }
    return {
        name: value
        for name, value in options.items()
        if name not in idle and (value or name not in ('order', 'modules'))
    }


def kinds(options: Options) -> dict[str, float]:
    """What happens to an example, by kind, and how often; `{}` of an autoencoder."""
    shares = {
        kind: one.probability_in(options) * share
        for one in chain(options)
        for kind, share in one.kinds(**one.arguments(options)).items()
    }
    return {kind: share for kind, share in shares.items() if share > 0}


def describe(options: Options) -> str:
    """The corruptions that happen and how often, in words."""
    words = [f'{kind} {share:.3g}' for kind, share in kinds(options).items()]
    return ', '.join(words) or 'none (autoencoder)'


def names_of(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names as a config has them; from the command line they may be one text with commas."""
    return tuple(value.split(',')) if isinstance(value, str) else tuple(value or ())


def load(modules: str | Sequence[str]) -> None:
    """Imports modules, which register what is theirs; OptionError if one cannot be imported."""
    for module in names_of(modules):
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever the code of others raises
            raise OptionError(
                f'modules: cannot import {module} ({type(error).__name__}: {error}); expected what '
                'Python finds from this folder, such as my_lab.noise for my_lab/noise.py'
            ) from None


def check_free(name: str, function: Callable, taken: Callable | None) -> None:
    """Raises TypeError if another module's function has the name already."""
    if taken is not None and taken.__module__ != function.__module__:
        raise TypeError(f'the name {name!r} is that of {taken.__module__}; choose another')


def check_range(
    option: str, values: Sequence[float], lowest: float = 0.0, *, whole: bool = False
) -> None:
    """Raises OptionError if an option is not two rising numbers from (0: above) `lowest`."""
    numbers = len(values) == 2 and all(isinstance(v, int if whole else int | float) for v in values)
    if not numbers or not values[0] <= values[1] or not (values[0] >= lowest and values[0] > 0):
        least = f'from {lowest:g}' if lowest else 'above 0'
        raise OptionError(
            f'{option} is {values}; expected two rising {"whole " * whole}numbers {least}'
        )


def _check(options):
    known = set(_OF_ALL).union(*(one.fields for one in CORRUPTIONS.values()))
    for name in options:
        if name not in known:
            raise OptionError(f'there is no option {name}; {nearest_of(name, known)}')
    for name in names_of(options.get('order')):
        if name not in CORRUPTIONS:
            raise OptionError(
                f'order: there is no corruption {name}; {nearest_of(name, CORRUPTIONS)}'
            )


def nearest_of(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the one most like it, else all."""
    found = difflib.get_close_matches(name, known, 1)
    return f'the nearest is {found[0]}' if found else f'expected one of {", ".join(sorted(known))}'
