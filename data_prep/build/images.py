"""Image files to records [X, Y, 1], with and without a label: what all sources of images share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data_prep.build.summary import Summary
from data_prep.types import Case, Cubes, Declaration, Item, Prepared, Sampled
from genesis_jax.imaging.images import Window, read_grey
from genesis_jax.imaging.volumes import Modality, Scan

_ORIGIN = (0, 0, 0)
_SPACING = (1.0, 1.0, 1.0)  # an image tells no millimetres


@dataclass(frozen=True)
class ImageRecipe:
    """How an image becomes a record: see `image_files.read_grey`.

    Attributes:
      size: pixels along x and y.
      window: what becomes 0 ... 1.
      seed: of all draws.
      config: of configs/, pre-trains on these images.
    """

    size: tuple[int, int]
    window: Window = 'depth'
    seed: int = 0
    config: str = 'genesis_ultrasound'
    modality: Modality = 'other'
    spacing: None = None
    channels: ClassVar[tuple[str, ...]] = ('grey',)

    @property
    def shape(self) -> tuple[int, ...]:
        """X, Y, C."""
        return (*self.size, len(self.channels))

    def new_summary(self) -> Summary:
        """Counts of images."""
        return Summary(1, sources='files', parts='images', config=self.config)

    def sample(self, scan: Scan) -> Sampled:
        """The one record of an image."""
        image = read_grey(scan.files[0], self.size, self.window)
        one = Cubes(np.array([_ORIGIN], np.int32), image.pixels[None, ..., None], 0, 0, 0)
        return Sampled(one, _SPACING, image.window, identity=image.identity, remark=image.remark)

    def declare(self, classes: Sequence[str], multilabel: bool) -> Declaration:
        """What readers of a labelled dataset of these images may rely on."""
        task = 'multilabel' if multilabel else 'classification'
        full_range = self.window == 'depth'
        return Declaration(task, classes, self.channels, self.modality, full_range=full_range)


def read_case(case: Case, recipe: ImageRecipe) -> Prepared:
    """Reads the image of a case, whose source is a `Scan` and its label: what a worker does.

    Raises:
      ScanError: the image cannot be used.
    """
    scan, label = case.source
    image = read_grey(scan.files[0], recipe.size, recipe.window)
    item = Item(image.pixels[..., None], _ORIGIN, label)
    return Prepared(
        [item],
        _SPACING,
        np.array([image.window]),
        identity=image.identity,
        remark=image.remark,
    )
