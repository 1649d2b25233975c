"""Ctrl-C and SIGTERM as a request to stop at the next good moment. Imports nothing heavy."""

import os
import signal


class Interruption:
    """Notes the first signal instead of dying of it; the second acts as usual.

    A context manager, for the main thread. `signal` is the number of the one that came, or None.

    Args:
      noted: the signals to note.
      as_sigterm: signals that are passed on as SIGTERM, for somebody else who listens to that.
    """

    def __init__(self, noted=(signal.SIGTERM, signal.SIGINT), as_sigterm=()):
        self.signal = None
        self._handlers = dict.fromkeys(noted, self._note) | dict.fromkeys(as_sigterm, _pass_on)

    def __enter__(self):
        self._before = {s: signal.signal(s, handler) for s, handler in self._handlers.items()}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.signal = number
        self.__exit__()


def _pass_on(*_):
    os.kill(os.getpid(), signal.SIGTERM)
