"""Matrices from voxel indices to world mm: whether they are those of a straight grid, and which."""

import warnings
from collections.abc import Sequence

import numpy as np

from genesis_jax.errors import ScanError, ScanRemark

NOTICED = 0.25  # of the smallest voxel side: a difference at a corner that is worth a remark
_LARGEST_ANGLE = np.rad2deg(1 / 500)  # half of it on each axis: half a voxel over 500
_LARGEST_MOVE = 0.5  # of the smallest voxel side, at a corner

StraightGrid = tuple[list[float], list[float], list[float]]  # spacing, origin, direction, as in ITK


def straightened(matrix: np.ndarray, size: Sequence[int], name: str, remedy: str) -> StraightGrid:
    """The straight grid that a matrix [4, 4] from indices to mm describes.

    Axes that are off right angles by rounding are turned to the nearest rotation (the orthogonal
    factor of the polar decomposition) about the middle of the volume; with a remark, if that moves
    a corner by a noticeable part of a voxel.

    Args:
      size: of the volume, in voxels.
      name: what the matrix is called in messages.
      remedy: how to straighten a sheared scan; ends the message.

    Raises:
      ScanError: the matrix is singular or not finite, or its axes are sheared.
    """
    sides = matrix[:3, :3]
    spacing = np.linalg.norm(sides, axis=0)
    if not np.isfinite(matrix).all():
        raise ScanError(f'has NaN or infinity in its {name}; {remedy}')
    if not spacing.all() or abs(np.linalg.det(sides / spacing)) < 1e-3:
        raise ScanError(f'has a {name} that lays all voxels in a plane (it is singular); {remedy}')
    axes = sides / spacing
    cosines = (axes.T @ axes)[np.triu_indices(3, 1)]
    angle = np.rad2deg(np.arcsin(np.abs(cosines).max().clip(0, 1)))
    left, _, right = np.linalg.svd(axes)
    nearest = left @ right
    centre = (np.array(size[:3]) - 1) / 2
    straight = np.eye(4)
    straight[:3, :3] = nearest * spacing
    straight[:3, 3] = matrix[:3, 3] + (sides - straight[:3, :3]) @ centre
    moved = corner_distance(matrix, straight, size)
    if angle > _LARGEST_ANGLE or moved > _LARGEST_MOVE * spacing.min():
        raise ScanError(
            f'has axes that are not at right angles: by its {name} two of them are off by '
            f'{angle:.2g} degrees (up to {in_mm(moved)} mm here), where only rounding is allowed; '
            f'{remedy}'
        )
    if moved > NOTICED * spacing.min():
        warnings.warn(
            f'has axes that are {angle:.2g} degrees off right angles by its {name}: they were '
            f'turned to right angles, which moves its corners by up to {in_mm(moved)} mm',
            ScanRemark,
            stacklevel=2,
        )
    return spacing.tolist(), straight[:3, 3].tolist(), nearest.ravel().tolist()


def in_mm(length: float) -> str:
    """A length in mm as messages print it: 0.123, 12.3 or 1234."""
    return f'{length:.3g}' if length < 100 else f'{length:.0f}'


def corner_distance(matrix: np.ndarray, other: np.ndarray, size: Sequence[int]) -> float:
    """How far apart, in mm, two matrices lay a volume: at the corner where they differ most."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(size[:3]) - 1)
    apart = np.c_[corners, np.ones(8)] @ (matrix - other)[:3].T
    return float(np.linalg.norm(apart, axis=1).max())
