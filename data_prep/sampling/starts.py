"""All places of a scan where a patch may start, so that training can draw among them.

`sample_cubes` tries some starts and keeps those that the rule accepts; here the same rule judges
every start. To draw among these is to try starts at random until one is accepted.
"""

import math
from collections.abc import Sequence

import numpy as np

from data_prep.sampling.cubes import (
    CubeRule,
    column_scores,
    part_of,
    scored_voxels,
    start_range,
)


def accepted_starts(
    voxels: np.ndarray,
    rule: CubeRule,
    inside: np.ndarray | None = None,
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """True at the first voxel of each patch that `sample_cubes` would keep, bool [X, Y, Z].

    Arguments and errors are those of `sample_cubes`. With `inside` every start counts once, also
    where patches of several voxels of the mask are moved to it.
    """
    scored = scored_voxels(voxels, valid)
    low, high = start_range(scored.shape, rule)
    columns = column_scores(scored, low, high, rule)
    starts = np.zeros(scored.shape, bool)
    region = part_of(starts, low, high - low + 1)
    for index, plane in enumerate(columns):
        scores = _box_sums(plane, rule.size).T / (2 * math.prod(rule.size))
        region[:, :, index] = (scores > rule.min_tissue) & (scores <= rule.max_tissue)
    if valid is not None:
        region &= _some_shown(valid, low, high, rule.size)
    if inside is not None:
        region &= _around(inside, low, high, rule.size)
    return starts


def reached_voxels(starts: np.ndarray, size: Sequence[int], blocks: Sequence[int]) -> np.ndarray:
    """True in every block of these sides that some patch reaches into, bool [X, Y, Z]."""
    reached = starts
    for axis, (length, block) in enumerate(zip(size, blocks, strict=True)):
        side = starts.shape[axis]
        parts = []
        for first in range(0, side, block):
            near = [slice(None)] * 3
            near[axis] = slice(max(0, first - length + 1), first + block)
            parts.append(reached[tuple(near)].any(axis))
        reached = np.stack(parts, axis)
    for axis, block in enumerate(blocks):
        reached = reached.repeat(block, axis)
    return part_of(reached, (0, 0, 0), starts.shape)


def _box_sums(plane: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Sums of [Y, X] over the face of a patch, by its first voxel, int64."""
    width, height = size[:2]
    table = np.pad(plane.cumsum(0, np.int64).cumsum(1), ((1, 0), (1, 0)))
    rows = table[height:] - table[:-height]
    return rows[:, width:] - rows[:, :-width]


def _some_shown(
    valid: np.ndarray, low: np.ndarray, high: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Whether a patch shows a voxel that is not left out, for the starts from `low` to `high`."""
    region = part_of(valid, low, high - low + size)
    count = region[:, :, : size[2]].sum(axis=2, dtype=np.int64)
    shown = np.empty(high - low + 1, bool)
    for index in range(shown.shape[2]):
        shown[:, :, index] = _box_sums(count.T, size).T > 0
        if index + 1 < shown.shape[2]:
            count += region[:, :, index + size[2]]
            count -= region[:, :, index]
    return shown


def _around(
    inside: np.ndarray, low: np.ndarray, high: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Whether a patch is centred in the mask, for the starts from `low` to `high`.

    Where none is, because the mask has no room for a patch around it, those moved into the scan.
    """
    half = np.array(size) // 2
    centred = part_of(inside, low + half, high - low + 1)
    if centred.any():
        return centred
    moved = np.zeros(high - low + 1, bool)
    moved[tuple((np.argwhere(inside) - half).clip(low, high).T - low[:, None])] = True
    return moved
