"""What one sees of a run: progress bar, printed lines, `metrics.jsonl`, TensorBoard, pictures."""

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from genesis_jax.paths import is_url
from genesis_jax.runs.files import write_atomically


class Log:
    """Writes only on the process that is told to (`active`). A context manager."""

    def __init__(self, workdir: Path, active: bool = True):
        self._workdir, self._active = workdir, active
        self._bar: Any = None
        self._tensorboard: Any = None
        self._rows: Any = None

    def __enter__(self) -> 'Log':
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows is not None:
            self._flush()
        for resource in (self._bar, self._tensorboard, self._rows):
            if resource is not None:
                resource.close()

    def start(self, step: int, total: int) -> None:
        """Opens the files, dropping what a killed run logged after `step`, and shows the bar."""
        if not self._active:
            return
        from tensorboardX import SummaryWriter

        file, kept = self._workdir / 'metrics.jsonl', ''
        if file.exists():
            lines = file.read_text('utf-8').splitlines(True)
            kept = ''.join(line for line in lines if _step_of(line) <= step)
            write_atomically(file, kept)
        # Nothing can be appended to an object in a bucket: it is replaced after every epoch.
        self._rows = io.StringIO() if is_url(file) else file.open('a', encoding='utf-8')
        if is_url(file):
            self._rows.write(kept)
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
        if self._rows is None:
            return
        self._rows.write(json.dumps({'step': step, **metrics}) + '\n')
        if 'epoch' in metrics or not is_url(self._workdir):
            self._flush()
        for name, value in metrics.items():
            self._tensorboard.add_scalar(name, value, step)

    def picture(self, step: int, image: np.ndarray, name: str) -> None:
        """Keeps an RGB image (uint8 `[rows, columns, 3]`) as a file and in TensorBoard."""
        from PIL import Image

        png = io.BytesIO()
        Image.fromarray(image).save(png, 'PNG')
        write_atomically(self._workdir / 'samples' / f'step_{step:07d}.png', png.getvalue())
        self._tensorboard.add_image(name, np.moveaxis(image, -1, 0), step)

    def _flush(self):
        if isinstance(self._rows, io.StringIO):
            write_atomically(self._workdir / 'metrics.jsonl', self._rows.getvalue())
        else:
            self._rows.flush()


def _step_of(line):
    """The step of a row; a row cut short by a kill counts as not written."""
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError):
        return float('inf')
