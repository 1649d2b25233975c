"""A trace of some training steps, for TensorBoard's profiler or Perfetto."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax


class Profile:
    """Writes what host and devices do from one step to another into a folder. A context manager.

    Args:
      steps: (first, last), counted from 1; None: no trace.
    """

    def __init__(self, folder: Path, steps: Sequence[int] | None):
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._running = False

    def __enter__(self) -> 'Profile':
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def is_past(self, step: int) -> bool:
        """Whether all steps to trace are done, of a run that resumes after this step."""
        return 0 < self._last <= step

    def step(self, step: int) -> jax.profiler.StepTraceAnnotation:
        """The context of a step."""
        if not self._running and self._first <= step <= self._last:
            jax.profiler.start_trace(self._folder)
            self._running = True
        return jax.profiler.StepTraceAnnotation('train', step_num=step)

    def done(self, step: int, state: Any) -> None:
        """Ends the trace after the last of its steps, once the devices have taken it."""
        if self._running and step >= self._last:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self):
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
