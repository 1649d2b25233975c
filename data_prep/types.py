"""What preparations hand to each other: scans and their splits, and what was read from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genesis_jax.imaging.volumes import Scan

SPLITS = ('train', 'validation')
FIXED_SPLITS = ('train', 'validation', 'test')
_LISTED = 10  # names in a line


@dataclass(frozen=True)
class Entry:
    """A scan and where its cubes go.

    Attributes:
      split: train or validation; a scan of any other gives no cubes, and is read for nothing but to
        keep its copies out of those two.
      fold: what the records say.
      patient: whose it is; empty: every scan is a patient of its own.
    """

    scan: Scan
    split: str
    fold: int
    patient: str = ''


@dataclass(frozen=True)
class Cubes:
    """What one scan gave.

    Attributes:
      origins: int32 [N, 3], voxel indices of the cubes' first voxels.
      voxels: int16 [N, X, Y, Z].
      tried, air, tissue: starts looked at up to the one that completed the set, and how many of
        them were refused as air and as tissue.
    """

    origins: np.ndarray
    voxels: np.ndarray
    tried: int
    air: int
    tissue: int


@dataclass(frozen=True)
class Sampled:
    """One scan's cubes with what their records need, or the reason why there are none.

    The voxels of the cubes have channels: int16 [N, X, Y, Z, C], in 2D [N, X, Y, C].
    """

    cubes: Cubes | None = None
    spacing: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    reason: str = ''
    identity: bytes = b''  # the same for images of the same pixels
    remark: str = ''  # on what is probably not meant; continues the name of several


@dataclass(frozen=True)
class Case:
    """What one worker reads: a scan, or a scan with its candidates.

    Attributes:
      case_id: unique; becomes the records' scan_id.
      patient: all cases of a patient lie in one split.
      split: train, validation or test; or fold_0, fold_1, ...
      fold: what the records say.
      shown: what a user looks for below the source.
      source: whatever `work` needs to read it; picklable.
    """

    case_id: str
    patient: str
    split: str
    fold: int
    shown: str
    source: Any


@dataclass(frozen=True)
class Item:
    """One record: int16 [X, Y, Z, C] (2D: [X, Y, C]) with a class index, of several labels 0 or 1
    for each class, or a uint8 [X, Y, Z] mask of class indices."""

    cube: np.ndarray
    origin: tuple[int, int, int]  # voxels, of the scan as prepared
    label: int | tuple[int, ...] | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Prepared:
    """What a worker made of a case.

    Attributes:
      items: go to the dataset, in this order.
      spacing: mm along x, y, z.
      window: [C, 2], per channel the values that become 0 and 1.
      whole: goes to `NAME_cases`.
      identity: the same for images of the same voxels, see genesis_jax/imaging/volumes.py.
      reason: why the case is skipped; continues its name.
      remark: on what is probably not meant; continues the name of several.
    """

    items: Sequence[Item] = ()
    spacing: tuple[float, ...] = ()
    window: np.ndarray | None = None
    whole: Item | None = None
    identity: bytes = b''
    reason: str = ''
    remark: str = ''


@dataclass(frozen=True)
class Declaration:
    """What readers may rely on; goes into the metadata.

    Attributes:
      classes: names by class index; of a segmentation, the first is background.
      channels: names, in the order of the cubes' last axis.
      spacing: mm that scans were resampled to; None: each keeps its own.
      full_range: of other scans than CT, the window is minimum to maximum (of images, the range of
        their bit depth), not the robust range.
    """

    task: Literal['classification', 'multilabel', 'segmentation']
    classes: Sequence[str]
    channels: Sequence[str]
    modality: Literal['ct', 'mri', 'other']
    spacing: tuple[float, ...] | None = None
    full_range: bool = False


@dataclass(frozen=True)
class LabelledVolume:
    """One scan with its labels: int16 [X, Y, Z, C], uint8 [X, Y, Z], mm, [C, 2].

    `identity` is that of `Prepared`.
    """

    voxels: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, ...]
    window: np.ndarray
    identity: bytes = b''


@dataclass(frozen=True)
class Files:
    """One case on disk: an image per channel, or one 4D image of all; and its labels."""

    images: tuple[Path, ...]
    label: Path


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
    return ', '.join(names[:_LISTED]) + more
