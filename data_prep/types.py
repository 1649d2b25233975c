"""What preparations hand to each other: scans and their splits, and what was read from them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genesis_jax.imaging.dicom_labels import LabelFile
from genesis_jax.imaging.scans import Scan

Task = Literal['classification', 'multilabel', 'segmentation']
SPLITS = ('train', 'validation', 'test')
_LISTED = 10  # names in a line
_PLURAL_END = re.compile('(?<=ch)es$|s$')


@dataclass(frozen=True)
class Job:
    """A scan (or an image) to prepare: what one worker reads, and where its patches go.

    Attributes:
      scan_id: unique; goes into the records.
      patient: all scans of a patient lie in one split.
      split: train, validation or test; or fold_0, fold_1, ... A scan of a split that the dataset
        does not have is read for nothing but to keep its copies out of the others.
      fold: what the records say.
      shown: what a user looks for below the source.
      source: whatever the worker needs to read it; picklable.
      masks: of the scan, by the option that gave them; see build/regions.py.
    """

    scan_id: str
    patient: str
    split: str
    fold: int
    shown: str
    source: Any
    masks: Mapping[str, Scan] = field(default_factory=dict)


@dataclass(frozen=True)
class Patch:
    """A part of a scan, or an image: int16 [X, Y, Z, C] (2D: [X, Y, C]).

    A labelled one has a class index, or of several labels 0 or 1 for each class, or a uint8
    [X, Y, Z] mask of class indices. Of a scan of which something is left out, `valid` is uint8
    [X, Y, Z, 1], 0 there.
    """

    cube: np.ndarray
    origin: Sequence[int]  # voxels, of the scan as prepared
    label: int | tuple[int, ...] | None = None
    mask: np.ndarray | None = None
    valid: np.ndarray | None = None

    @property
    def held(self) -> list[int]:
        """The class indices that it is of or holds."""
        if self.mask is not None:
            return np.flatnonzero(np.bincount(self.mask.ravel())).tolist()
        if self.label is None or isinstance(self.label, int):
            return [] if self.label is None else [self.label]
        return np.flatnonzero(self.label).tolist()


@dataclass(frozen=True)
class Result:
    """What a worker made of a scan.

    Attributes:
      patches: go to the dataset, in this order.
      spacing: mm along x, y, z.
      window: [C, 2], per channel the values that become 0 and 1.
      whole: goes to `NAME_cases`.
      identity: the same for images of the same voxels, see genesis_jax/imaging/fingerprints.py;
        empty where copies are not looked for.
      reason: why the scan is skipped; continues its name.
      remark: on what is probably not meant; continues the name of several.
      told: what else is to be known of this scan; each continues its name.
      tried, air, tissue: places looked at, and how many were refused as air and as tissue.
      stored: of a scan that is stored whole, the fields of its record that say what it holds.
    """

    patches: Sequence[Patch] = ()
    spacing: Sequence[float] = ()
    window: np.ndarray | None = None
    whole: Patch | None = None
    identity: bytes = b''
    reason: str = ''
    remark: str = ''
    told: Sequence[str] = ()
    tried: int = 0
    air: int = 0
    tissue: int = 0
    stored: Mapping[str, Any] | None = None

    @property
    def count(self) -> int:
        """How many patches the scan gave."""
        return len(self.patches if self.stored is None else self.stored['origins'])


@dataclass(frozen=True)
class Declaration:
    """What readers may rely on; goes into the metadata.

    Attributes:
      task: None: without labels, for pre-training.
      classes: names by class index; of a segmentation, the first is background.
      channels: names, in the order of the patches' last axis.
      spacing: mm that scans were resampled to; None: each keeps its own.
      full_range: of other scans than CT, the window is minimum to maximum (of images, the range of
        their bit depth), not the robust range.
    """

    task: Task | None
    classes: Sequence[str]
    channels: Sequence[str]
    modality: Literal['ct', 'mri', 'other']
    spacing: Sequence[float] | None = None
    full_range: bool = False


@dataclass(frozen=True)
class LabelledVolume:
    """One scan with its labels: int16 [X, Y, Z, C], uint8 [X, Y, Z], mm, [C, 2].

    `identity` is that of `Result`.
    """

    voxels: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, ...]
    window: np.ndarray
    identity: bytes = b''


@dataclass(frozen=True)
class Files:
    """A scan on disk: a file per channel, or one 4D file of all; and its labels."""

    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class LabelledSeries:
    """A DICOM series, the files that label it, and the classes, without background."""

    scan: Scan
    labels: tuple[LabelFile, ...]
    classes: tuple[str, ...]


def counted(count: int, name: str) -> str:
    """A number of things, of which `name` is the plural: 1 scan, 2 scans."""
    return f'{count} {_PLURAL_END.sub("", name) if count == 1 else name}'


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
    return ', '.join(names[:_LISTED]) + more
