"""Image files to records [X, Y, 1], with and without a label: what all sources of images share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.types import Declaration, Job, Patch, Result, Task
from genesis_jax.imaging.images import Window, read_grey

_SPACING = (1.0, 1.0, 1.0)  # an image tells no millimetres


@dataclass(frozen=True)
class ImageReader:
    """What a worker does with an image; a job's source is the image and, if it has one, its label.

    Attributes:
      size: pixels along x and y.
      window: what becomes 0 ... 1, see `imaging.images.read_grey`.
    """

    size: tuple[int, int]
    window: Window = 'depth'

    def __call__(self, job: Job) -> Result:
        """Reads the image.

        Raises:
          ScanError: the image cannot be used.
        """
        scan, *label = job.source
        image = read_grey(scan.files[0], self.size, self.window)
        patch = Patch(image.pixels[..., None], (0, 0, 0), *label)
        window = np.array([image.window])
        return Result([patch], _SPACING, window, identity=image.identity, remark=image.remark)

    def recipe(self, seed: int) -> dict[str, Any]:
        """How a dataset without labels was made."""
        return {**vars(self), 'seed': seed, 'modality': 'other', 'spacing': None}

    def options(self, task: Task | None = None, classes: Sequence[str] = ()) -> dict[str, Any]:
        """What `build.dataset.prepare` is told of any dataset of these images."""
        full_range = self.window == 'depth'
        return {
            'declaration': Declaration(task, classes, ('grey',), 'other', full_range=full_range),
            'size': self.size,
            'parts': 'images',
            'sources': 'files',
            'skip_duplicates': True,
        }
