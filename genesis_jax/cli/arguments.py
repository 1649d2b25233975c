"""What the commands of this package share: a parser whose errors are one sentence, and types.

argparse, as tyro and simple-parsing take 64,64,32 as three words and answer in several lines.
"""

import argparse
import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from genesis_jax.errors import UserError, in_full
from genesis_jax.paths import as_path, local_path

Number = TypeVar('Number', int, float)

_BUCKET = '; may be gs://BUCKET/...'  # of every `path_or_url`, in the help


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and that knows which options were given."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message}\n')

    def option(
        self,
        name: str,
        kind: Callable[[str], Any] | Sequence[str],
        metavar: str | None,
        text: str,
        default: str | None = None,
        otherwise: str = '%(default)s',
        *,
        group: argparse._ArgumentGroup | None = None,
        **more: Any,
    ) -> None:
        """Adds `--name`, of an argparse type or one of some words.

        Args:
          default: as one would type it.
          otherwise: what holds by default, for the help, if it is more than the default says.
        """
        more |= {'type': kind} if callable(kind) else {'choices': kind}
        text += _BUCKET * (kind in (path_or_url, paths_or_urls))
        if default is not None or otherwise != '%(default)s':
            text += f' (default: {otherwise})'
        (group or self).add_argument(
            f'--{name}', metavar=metavar, default=default, help=text, **more
        )

    def switch(self, name: str, text: str) -> None:
        """Adds `--name`, which is False unless given."""
        self.add_argument(f'--{name}', action='store_true', help=text)

    def positional(
        self, name: str, kind: Callable[[str], Any], text: str, nargs: str | None = None
    ) -> None:
        """Adds an argument without a name, of an argparse type."""
        text += _BUCKET * (kind is path_or_url)
        self.add_argument(name, type=kind, nargs=nargs, metavar=name.upper(), help=text)

    def fail(self, error: object, status: int = 1) -> NoReturn:
        """Ends the command with the one sentence of an error."""
        self.exit(status, f'error: {error}\n')

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:  # type: ignore[override]
        """As of argparse; `given` of the result has the names of the options that `args` set."""
        known = vars(super().parse_args(args, namespace))
        # argparse sets a default only where the namespace has nothing.
        unset = argparse.Namespace(**dict.fromkeys(known))
        values = vars(super().parse_args(args, unset))
        given = {name for name, value in values.items() if value is not None}
        return argparse.Namespace(**known, given=given)

    def refuse(self, args: argparse.Namespace, names: Sequence[str], why: str) -> None:
        """Ends the program if one of these options, which would do nothing, was given."""
        written = {action.dest: ' '.join(action.option_strings[:1]) for action in self._actions}
        for name in names:
            if name in args.given:
                self.error(f'{written[name]} {why}')


def path(text: str) -> Path:
    """An argparse type: a local path, with ~ expanded, which shells do not after `=`."""
    return _checked(local_path, text)


def path_or_url(text: str) -> Path:
    """An argparse type: a local path, or one in a bucket."""
    return _checked(as_path, text)


def paths_or_urls(text: str) -> tuple[Path, ...]:
    """An argparse type: names separated by commas, each as of `path_or_url`."""
    names = text.split(',')
    if not all(names):
        raise argparse.ArgumentTypeError(f'expected names separated by commas, found {text!r}')
    return tuple(map(path_or_url, names))


def _checked(read, text):
    try:
        return read(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_WORDS = {3: 'three', 2: 'two', 5: 'five'}


def existing_folder(text: str) -> Path:
    """An argparse type: a folder that is there."""
    folder = path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f'the folder {text} does not exist; check its name')
    return folder


def existing_file(text: str) -> Path:
    """An argparse type: a file that is there."""
    file = path(text)
    if not file.is_file():
        raise argparse.ArgumentTypeError(f'the file {text} does not exist; check its name')
    return file


def number(
    kind: type[Number],
    low: float = -math.inf,
    high: float = math.inf,
    *,
    below: float = math.inf,
) -> Callable[[str], Number]:
    """An argparse type: a finite number from `low` to `high`, or to below `below`."""

    def parse(text: str) -> Number:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if math.isfinite(value) and low <= value <= high and value < below:
                return value
        what = 'a whole number' if kind is int else 'a number'
        limits = f' from {in_full(low)}' * math.isfinite(low)
        limits += f' to {in_full(high)}' * math.isfinite(high)
        limits += f' to below {in_full(below)}' * math.isfinite(below)
        raise argparse.ArgumentTypeError(f'expected {what}{limits}, found {text!r}')

    return parse


count = number(int, 1)
share = number(float, 0, below=1)


def triple(kind: type[Number], low: float) -> Callable[[str], tuple[Number, ...]]:
    """An argparse type: x,y,z."""
    return sides(kind, low, 3)


def sides(kind: type[Number], low: float, rank: int) -> Callable[[str], tuple[Number, ...]]:
    """An argparse type: x,y or x,y,z."""
    side = number(kind, low)

    def parse(text: str) -> tuple[Number, ...]:
        words = text.split(',')
        if len(words) != rank:
            raise argparse.ArgumentTypeError(
                f'expected {_WORDS[rank]} numbers {",".join("xyz"[:rank])}, found {text!r}'
            )
        return tuple(side(word) for word in words)

    return parse


def add_networks(parser: Parser) -> None:
    """Adds `--model`, a tuple of paths, and `--mirror`: True, False or, if not given, None."""
    text = (
        'a run (WORKDIR/seed_0) or its export/model; of several, separated by commas, or of all '
        'runs of a WORKDIR, the probabilities are averaged'
    )
    parser.option('model', paths_or_urls, 'DIR', text, required=True)
    text = (
        'average the probabilities of all mirror images along the axes that the training mirrored: '
        'up to 8 times the work in 3D, 4 in 2D'
    )
    default = "as in the training's test"
    parser.option('mirror', _yes_or_no, 'yes|no', text, otherwise=default, nargs='?', const=True)


def _yes_or_no(text):
    if text not in ('yes', 'no'):
        raise argparse.ArgumentTypeError(f'expected yes or no, found {text!r}')
    return text == 'yes'
