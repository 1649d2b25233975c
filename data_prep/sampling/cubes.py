"""Which patches of a scan without labels to take, in pure NumPy.

Patches are cut at random starts, or around random voxels of a mask, and refused if they show
nothing but air. The paper's rule for lungs (MICCAI 2019, Genesis Chest CT) also stays clear of a
border and refuses much tissue (bone and muscle, which teach little about lungs).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from genesis_jax.errors import ScanError
from genesis_jax.imaging.volumes import Modality

_CANDIDATES_AT_ONCE = 64  # bounds memory to so many faces, and leaves early once enough is found


@dataclass(frozen=True)
class CubeRule:
    """Which patches to take from a scan; the defaults are the paper's for chest CT.

    Attributes:
      size: voxels along x, y, z.
      per_scan: patches wanted from one scan.
      tries: starts drawn to find them.
      border_low, border_high: voxels left free before and after a patch along x, y, z.
      tissue_threshold: a voxel from this value on is tissue, in the scan's unit; None means a
        tenth of the scan's window. What is left out of a scan is no tissue.
      min_tissue, max_tissue: a patch is refused as air if its tissue score is not above the first,
        as tissue if it is above the second.
    """

    size: tuple[int, int, int] = (64, 64, 32)
    per_scan: int = 32
    tries: int = 1600
    border_low: tuple[int, int, int] = (100, 100, 30)
    border_high: tuple[int, int, int] = (101, 101, 34)
    tissue_threshold: float | None = -150.0
    min_tissue: float = 0.0
    max_tissue: float = 0.15

    def at_window(self, window: tuple[float, float]) -> 'CubeRule':
        """The rule with its tissue threshold settled for a scan of this window."""
        if self.tissue_threshold is not None:
            return self
        low, high = window
        return replace(self, tissue_threshold=low + 0.1 * (high - low))


@dataclass(frozen=True)
class Cubes:
    """What one scan gave.

    Attributes:
      origins: int32 [N, 3], voxel indices of the patches' first voxels.
      voxels: int16 [N, X, Y, Z], or with channels [N, X, Y, Z, C].
      valid: uint8 [N, X, Y, Z], 0 where voxels are left out; None if there are none.
      tried, air, tissue: starts looked at up to the one that completed the set, and how many of
        them were refused as air and as tissue.
    """

    origins: np.ndarray
    voxels: np.ndarray
    valid: np.ndarray | None
    tried: int
    air: int
    tissue: int


def default_rule(modality: Modality) -> CubeRule:
    """Patches of any part of any scan that is not air alone.

    In CT more than 1 % of a patch must be tissue: of a chest CT, what shows less is air around the
    patient, with clothes or some of the table in it; patches within a lung show more, its vessels.
    """
    free = (0, 0, 0)
    anywhere = CubeRule(border_low=free, border_high=free, min_tissue=0.01, max_tissue=1.0)
    if modality == 'ct':
        return anywhere
    return replace(anywhere, tissue_threshold=None, min_tissue=0.1)


def sample_cubes(
    rng: np.random.Generator,
    voxels: np.ndarray,
    rule: CubeRule,
    inside: np.ndarray | None = None,
    valid: np.ndarray | None = None,
) -> Cubes:
    """Draws all starts at once and keeps the first `per_scan` accepted patches, in drawing order.

    Args:
      rng: the scan's own generator.
      voxels: int16 [X, Y, Z], or [X, Y, Z, C], of which the first channel decides.
      rule: with its tissue threshold settled (`at_window`).
      inside: bool [X, Y, Z], on whose true voxels patches are centred; see `_starts_inside`.
      valid: uint8 [X, Y, Z], 0 where voxels are left out: they count as air, and no patch is of
        nothing else.

    Raises:
      ScanError: the scan cannot hold one patch and its borders.
    """
    scored = scored_voxels(voxels, valid)
    low, high = start_range(scored.shape, rule)
    if inside is None:
        starts = rng.integers(low, high + 1, size=(rule.tries, 3), dtype=np.int32)
    else:
        starts = _starts_inside(rng, inside, low, high, rule)
    columns = column_scores(scored, low, high, rule)
    kept: list[int] = []
    tried = air = tissue = 0
    for first in range(0, len(starts), _CANDIDATES_AT_ONCE):
        batch = slice(first, first + _CANDIDATES_AT_ONCE)
        scores = _cube_scores(columns, starts[batch] - low, rule)
        if valid is not None:
            seen = [part_of(valid, start, rule.size).any() for start in starts[batch]]
            scores = np.where(seen, scores, -np.inf)
        accepted = np.flatnonzero((scores > rule.min_tissue) & (scores <= rule.max_tissue))
        accepted = accepted[: rule.per_scan - len(kept)]
        kept += (first + accepted).tolist()
        done = len(kept) == rule.per_scan
        scores = scores[: accepted[-1] + 1] if done else scores
        tried += len(scores)
        air += int((scores <= rule.min_tissue).sum())
        tissue += int((scores > rule.max_tissue).sum())
        if done:
            break
    taken = starts[kept]
    shown = None if valid is None else _cut(valid, taken, rule.size)
    return Cubes(taken, _cut(voxels, taken, rule.size), shown, tried, air, tissue)


def scored_voxels(voxels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """What tells tissue, int16 [X, Y, Z]: the first channel, lowest where voxels are left out."""
    scored = voxels if voxels.ndim == 3 else voxels[..., 0]
    return scored if valid is None else np.where(valid, scored, np.iinfo(np.int16).min)


def start_range(shape: tuple[int, ...], rule: CubeRule) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest start along x, y, z, both included."""
    low = np.array(rule.border_low)
    high = np.array(shape) - rule.size - rule.border_high
    if (high < low).any():
        least = low + rule.size + rule.border_high
        borders = any(rule.border_low + rule.border_high)
        what = 'a patch and its borders need' if borders else 'a patch needs'
        way_out = '--cube_size, --border_low or --border_high' if borders else '--cube_size'
        raise ScanError(
            f'has {" x ".join(map(str, shape))} voxels where {what} at least '
            f'{" x ".join(map(str, least))}; lower {way_out}'
        )
    return low, high


def _starts_inside(
    rng: np.random.Generator, inside: np.ndarray, low: np.ndarray, high: np.ndarray, rule: CubeRule
) -> np.ndarray:
    """Starts of patches whose voxel `size // 2` is one of the mask, int32 [N, 3].

    Each is of another voxel, all of them equally likely. Where no voxel of the mask has room for a
    patch around it, patches around any of them are moved into the scan.
    """
    half = np.array(rule.size) // 2
    roomy = part_of(inside, low + half, high - low + 1)
    first = low + half if roomy.any() else np.zeros(3, int)
    voxels = roomy if roomy.any() else inside
    count = int(np.count_nonzero(voxels))
    chosen = rng.choice(count, min(rule.tries, count), replace=False)
    starts = first + _voxels_of(voxels, chosen) - half
    return starts.clip(low, high).astype(np.int32)


def _voxels_of(mask: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The true voxels [N, 3] of these numbers, counted in memory order; slice by slice."""
    per_slice = np.count_nonzero(mask, axis=(0, 1))
    ends = per_slice.cumsum()
    slices = np.searchsorted(ends, numbers, side='right')
    voxels = np.empty((len(numbers), 3), int)
    for z in np.unique(slices):
        own = slices == z
        plane = mask[:, :, z].T
        flat = np.flatnonzero(plane)[numbers[own] - (ends[z] - per_slice[z])]
        y, x = np.unravel_index(flat, plane.shape)
        voxels[own] = np.stack([x, y, np.full_like(x, z)], axis=1)
    return voxels


def part_of(
    array: np.ndarray, start: Sequence[int] | np.ndarray, size: Sequence[int] | np.ndarray
) -> np.ndarray:
    """The part of these sides that begins at `start`."""
    return array[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]


def column_scores(
    voxels: np.ndarray, low: np.ndarray, high: np.ndarray, rule: CubeRule
) -> np.ndarray:
    """Doubled tissue scores summed over a patch's depth, [starts along z, Y, X].

    A voxel scores 2 if it is tissue, else 1 if the next slice's is, else 0. Only the region that
    patches can reach is looked at, in memory order, slice by slice, so that a slice's arrays stay
    in the processor's cache.
    """
    depth = rule.size[2]
    (x, y, z), (x_end, y_end, z_end) = low, high + rule.size
    region = voxels.T[:, y:y_end, x:x_end]
    dtype = np.uint8 if 2 * depth <= np.iinfo(np.uint8).max else np.uint16
    recent = np.zeros((depth, *region.shape[1:]), np.uint8)  # a ring of the last slices' scores
    running = np.zeros(region.shape[1:], dtype)
    sums = np.empty((high[2] - z + 1, *region.shape[1:]), dtype)
    tissue = _tissue(region, z, rule)
    for index in range(z_end - z):
        score = recent[index % depth]
        running -= score
        following = _tissue(region, z + index + 1, rule)
        np.maximum(tissue + tissue, following, out=score)
        running += score
        if index >= depth - 1:
            sums[index - depth + 1] = running
        tissue = following
    return sums


def _tissue(region: np.ndarray, index: int, rule: CubeRule) -> np.ndarray:
    """1 where slice `index` of [Z, Y, X] is tissue, else 0; 0 everywhere past the last slice."""
    assert rule.tissue_threshold is not None, 'at_window settles it'
    if index == len(region):
        return np.zeros(region.shape[1:], np.uint8)
    return (region[index] >= math.ceil(rule.tissue_threshold)).view(np.uint8)


def _cube_scores(columns: np.ndarray, starts: np.ndarray, rule: CubeRule) -> np.ndarray:
    """Mean tissue scores of the patches at `starts` [N, 3] (x, y, z within the region)."""
    width, height, _ = rule.size
    x, y, z = starts.T
    faces = sliding_window_view(columns, (height, width), axis=(1, 2))[z, y, x]
    doubled = faces.reshape(len(starts), -1).sum(axis=1, dtype=np.uint32)
    return doubled / (2 * math.prod(rule.size))


def _cut(voxels: np.ndarray, starts: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """The patches [N, X, Y, Z] or [N, X, Y, Z, C] at `starts` [N, 3]."""
    patches = sliding_window_view(voxels, size, axis=(0, 1, 2))[tuple(starts.T)]
    return patches if voxels.ndim == 3 else np.moveaxis(patches, 1, -1)
