"""What one sees of a run: progress bar, printed lines, `metrics.jsonl`, TensorBoard, pictures."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genesis_jax.runs.files import write_atomically


class Log:
    """Writes only on the process that is told to (`active`). A context manager."""

    def __init__(self, workdir: Path, active: bool = True):
        self._workdir, self._active = workdir, active
        self._bar = self._tensorboard = self._lines = None

    def __enter__(self) -> 'Log':
        return self

    def __exit__(self, *_: object) -> None:
        for resource in (self._bar, self._tensorboard, self._lines):
            if resource is not None:
                resource.close()

    def start(self, step: int, total: int) -> None:
        """Opens the files, dropping what a killed run logged after `step`, and shows the bar."""
        if not self._active:
            return
        from tensorboardX import SummaryWriter

        file = self._workdir / 'metrics.jsonl'
        if file.exists():
            lines = file.read_text('utf-8').splitlines(True)
            kept = [line for line in lines if _step_of(line) <= step]
            write_atomically(file, ''.join(kept))
        self._lines = file.open('a', encoding='utf-8')
        self._tensorboard = SummaryWriter(str(self._workdir / 'tensorboard'), purge_step=step + 1)
        # A log file gets a line a minute instead of an animation.
        interval = 0.2 if sys.stderr.isatty() else 60.0
        self._bar = tqdm(initial=step, total=total, unit='step', mininterval=interval)

    def advance(self, **figures: str) -> None:
        """One step further; the figures stand beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._active:
            tqdm.write(text)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends one row to `metrics.jsonl` and its numbers to TensorBoard."""
        if self._lines is None:
            return
        self._lines.write(json.dumps({'step': step, **metrics}) + '\n')
        self._lines.flush()
        for name, value in metrics.items():
            self._tensorboard.add_scalar(name, value, step)

    def picture(self, step: int, image: np.ndarray, name: str) -> None:
        """Keeps an RGB image (uint8 `[rows, columns, 3]`) as a file and in TensorBoard."""
        from PIL import Image

        folder = self._workdir / 'samples'
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f'step_{step:07d}.png')
        self._tensorboard.add_image(name, np.moveaxis(image, -1, 0), step)


def _step_of(line):
    """The step of a row; a row cut short by a kill counts as not written."""
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError):
        return float('inf')
