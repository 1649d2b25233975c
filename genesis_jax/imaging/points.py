"""Labelled points of scans to patches around them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import PrepareError, in_full
from genesis_jax.imaging.crops import (
    Header,
    Index,
    crop,
    outside,
    prepare_image,
    to_index,
    to_world,
)
from genesis_jax.imaging.fingerprints import voxel_hash
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.volumes import Modality, oriented, padding_of, read_image


@dataclass(frozen=True)
class Points:
    """The labelled points of one scan, in the order of their rows.

    Attributes:
      rows: int [N], lines of the table, whose header is line 1.
      positions: float [N, 3], world mm or voxels of the stored scan.
      labels: int [N], class indices.
    """

    rows: np.ndarray
    positions: np.ndarray
    labels: np.ndarray

    def select(self, chosen: np.ndarray) -> 'Points':
        """The points where the bool [N] is True."""
        return Points(self.rows[chosen], self.positions[chosen], self.labels[chosen])


@dataclass(frozen=True)
class PointRule:
    """How patches are cut around points.

    Attributes:
      size: voxels along x, y, z.
      spacing: mm to resample to; None keeps every scan's own.
      modality: decides unit, window and padding.
      in_voxels: positions are voxels of the scan as stored, instead of world mm.
      table: the table's name, for errors.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    modality: Modality
    in_voxels: bool
    table: str


def gather(rows: Sequence[tuple[int, Sequence[float], int]]) -> Points:
    """Points of (line, position, label) rows."""
    lines, positions, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Points(
        np.array(lines, int), np.array(positions, float).reshape(-1, 3), np.array(labels, int)
    )


@dataclass(frozen=True)
class Cuts:
    """The patches around the points of one scan.

    Attributes:
      patches: int16 [X, Y, Z, 1] each, in the order of the points.
      origins: of each, in voxels of the scan as prepared.
      spacing: mm along x, y, z.
      window: float [1, 2], the values that become 0 and 1.
      identity: the same for images of the same voxels.
    """

    patches: list[np.ndarray]
    origins: list[Index]
    spacing: tuple[float, ...]
    window: np.ndarray
    identity: bytes


def check_points(located: Iterable[tuple[Scan, Points]], rule: PointRule) -> None:
    """Refuses points outside their scans where the headers alone tell it, before any work.

    Only MetaImages, as LUNA16 has them, are looked at; everything else is left to `cut_points`.
    """
    for scan, points in located:
        if scan.files[0].suffix.lower() not in ('.mhd', '.mha'):
            continue
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(scan.files[0]))
        try:
            reader.ReadImageInformation()
        except RuntimeError:  # told when the scan is read
            continue
        if reader.GetDimension() == 3:
            _stored_indices(reader, scan.shown, points, rule)


def cut_points(scan: Scan, points: Points, rule: PointRule) -> Cuts:
    """Reads a scan and cuts a patch around each of its points.

    Raises:
      ScanError: the scan cannot be used.
      PrepareError: a point lies outside of the scan.
    """
    stored = read_image(scan, rule.modality)
    centres = to_world(stored, _stored_indices(stored, scan.shown, points, rule))
    turned = oriented(stored)
    image, window = prepare_image(turned, rule.modality)
    padding = padding_of(rule.modality)
    cut = [crop(image, centre, rule.size, rule.spacing, padding) for centre in centres]
    return Cuts(
        patches=[patch[..., None] for patch, _ in cut],
        origins=[origin for _, origin in cut],
        spacing=rule.spacing or image.GetSpacing(),
        window=np.array([window]),
        identity=voxel_hash([turned], rule.modality),
    )


def _stored_indices(image: Header, shown: str, points: Points, rule: PointRule) -> np.ndarray:
    """The points as continuous indices [N, 3] of the scan as stored."""
    indices = points.positions if rule.in_voxels else to_index(image, points.positions)
    stray = outside(image, indices)
    if stray.any():
        first = int(np.argmax(stray))
        position = ', '.join(in_full(value) for value in points.positions[first])
        where = '' if rule.in_voxels else f' (voxel {_joined(indices[first], ", ")})'
        raise PrepareError(
            f'{rule.table}, row {points.rows[first]}: the point {position}{where} lies outside its '
            f'scan {shown} of {_joined(image.GetSize(), " x ")} voxels; correct or remove the row'
            + ('' if rule.in_voxels else ', and check that coordinates are world mm in LPS')
        )
    return indices


def _joined(numbers: Sequence[float], glue: str) -> str:
    return glue.join(f'{number:.0f}' for number in numbers)
