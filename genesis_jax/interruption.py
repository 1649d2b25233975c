"""Ctrl-C and SIGTERM as a request to stop at the next good moment. Imports nothing heavy."""

import signal


class Interruption:
    """Notes the first SIGTERM or Ctrl-C instead of dying of it; the second acts as usual.

    A context manager, for the main thread. `signal` is the number of the one that came, or None.
    """

    def __enter__(self):
        self.signal = None
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.signal = number
        self.__exit__()
