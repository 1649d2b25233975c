"""What the commands of this package share: a parser whose errors are one sentence, and types."""

import argparse
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message}\n')

    def fail(self, error, status=1) -> NoReturn:
        """Ends the command with the one sentence of an error."""
        self.exit(status, f'error: {error}\n')


def path(text):
    """An argparse type: a path, with ~ expanded, which shells do not after `=`."""
    return Path(text).expanduser()


def count(text):
    """An argparse type: a whole number from 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'expected a whole number from 1, found {text!r}')
    return int(text)


def share(text):
    """An argparse type: a number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'expected a number from 0 to below 1, found {text!r}')
    return value
