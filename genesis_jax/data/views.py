"""2D readings of 3D records: single slices, neighbouring slices, or three planes as channels.

A view (`config.data.view`) makes records of patches `[X, Y, Z, C]` into records of images
`[X, Y, K * C]`, so that 2D networks learn, and are tested, on what 3D networks are:

- 'slices': axial slices, K = 1;
- 'adjacent': axial slices, each with the one below and the one above it, K = 3 (at the first and
  the last slice, that slice again);
- 'orthogonal': the central axial, coronal and sagittal plane, resampled linearly to X x Y, K = 3
  (the 2.5D representation of Roth and others, MICCAI 2014).

Where an example has one answer (classification) it is the central slice; in segmentation and
restoration every slice is an example. A segmented volume is still tested as a whole: its slices are
predicted one by one and put together (`over_slices`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from genesis_jax.imaging.slices import neighbours

VIEWS = ('slices', 'adjacent', 'orthogonal')
_IMAGES = {'slices': 1, 'adjacent': 3, 'orthogonal': 3}  # K


def shape_of(shape: tuple[int, ...], view: str | None) -> tuple[int, ...]:
    """The shape of an example, of records `[X, Y, Z, C]`."""
    return shape if view is None else (*shape[:2], _IMAGES[view] * shape[-1])


def viewed(source: Any, view: str | None, shape: tuple[int, ...], every: bool) -> Any:
    """The examples of records of this shape: every slice, or one of each record."""
    if view is None:
        return source
    return Viewed(source, view, shape[2] if every else None)


class Viewed:
    """Records in 2D, as one random-access source.

    Reads a whole record for each of its slices: no more memory, but more bytes from the disk.

    Args:
      source: random-access source of records with `cube` `[X, Y, Z, C]`.
      view: one of VIEWS.
      slices: Z, if every slice is an example; None: one example of each record.

    Attributes:
      source: as given.
    """

    def __init__(self, source: Any, view: str, slices: int | None = None):
        self.source, self._view, self._slices = source, view, slices

    @property
    def patients(self) -> list[str]:
        """Whose each example is."""
        return [patient for patient in self.source.patients for _ in range(self._slices or 1)]

    def __len__(self) -> int:
        return len(self.source) * (self._slices or 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place, z = divmod(index, self._slices or 1)
        return self._seen(self.source[place], z)

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """The example at a place of a source that draws its records (`data.volumes`)."""
        place, z = divmod(index, self._slices or 1)
        return self._seen(self.source.draw(place, rng), z)

    def _seen(self, record, z):
        return take(record, self._view, z if self._slices else record['cube'].shape[2] // 2)


def take(record: dict[str, Any], view: str, z: int) -> dict[str, Any]:
    """The record of one image: slice `z` of a record, or its orthogonal planes."""
    image = _image(record['cube'], view, z)
    taken = record | {'cube': image, 'window': ranges(record['window'], view)}
    if 'mask' in record:
        taken['mask'] = record['mask'][:, :, z]
    if 'valid' in record:
        of_channels = np.broadcast_to(record['valid'], record['cube'].shape)
        taken['valid'] = _image(of_channels, view, z)
    return taken


def _image(patch, view, z):
    """What a view shows of `[X, Y, Z, C]` at slice `z`; `[X, Y, K * C]`."""
    if view == 'orthogonal':
        return orthogonal(patch)
    places = [z] if view == 'slices' else neighbours(z, patch.shape[2])
    return np.concatenate([patch[:, :, place] for place in places], axis=-1)


def orthogonal(patch: np.ndarray) -> np.ndarray:
    """The central planes of `[X, Y, Z, C]`: axial, coronal, sagittal; `[X, Y, 3 * C]`."""
    x, y, z = (side // 2 for side in patch.shape[:3])
    planes = [patch[:, :, z], patch[:, y], patch[x]]
    return np.concatenate([_resized(plane, patch.shape[:2]) for plane in planes], axis=-1)


def ranges(window: np.ndarray, view: str | None) -> np.ndarray:
    """Windows `[2]` or `[C, 2]` of a record, for the channels of its view."""
    if view is None or np.ndim(window) == 1:
        return window
    return np.tile(window, (_IMAGES[view], 1))


def own_channel(count: int, view: str | None, dimensions: int) -> int:
    """The first of an example's channels that is of its own slice, not of a neighbour's.

    2D records of three channels are slices between their neighbours (data_prep/slices.py).
    """
    between = view == 'adjacent' or (view is None and dimensions == 2 and count == 3)
    return count // 3 if between else 0


def channels(volume: np.ndarray, view: str | None) -> np.ndarray:
    """A whole volume `[X, Y, Z, C]` with what `view` adds to each slice as channels."""
    if view != 'adjacent':
        return volume
    depth = volume.shape[2]
    places = neighbours(np.arange(depth), depth)
    return np.concatenate([volume[:, :, place] for place in places], axis=-1)


def over_slices(
    predict: Callable[[np.ndarray], Any], window: Sequence[int]
) -> tuple[Callable[[np.ndarray], Any], tuple[int, ...]]:
    """`predict` and window of a 2D network, for `sliding.sliding_window` over a 3D volume."""
    return lambda batch: predict(batch[:, :, :, 0]), (*window, 1)


def _resized(plane, sides):
    """A plane `[A, B, C]` brought to these sides, linearly between the centres of its voxels."""
    for axis, side in enumerate(sides):
        old = plane.shape[axis]
        if old == side:
            continue
        place = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1 if other == axis else 1 for other in range(3)])
        ends = [np.take(plane, np.minimum(low + step, old - 1), axis) for step in (0, 1)]
        mixed = ends[0] * (1 - share) + ends[1] * share
        plane = np.rint(mixed).astype(plane.dtype)
    return plane
