"""How far apart the surfaces of two masks lie, in mm.

The surface of a mask is its voxels that touch a voxel outside it by a face (outside the volume
counts as outside), taken as points at their centres. Only the box around both surfaces is looked
at. A scan of 512x512x300 takes seconds; pure noise in one, the worst, a minute and 2 GB.

The package surface-distance weighs points by area, but its last release (0.1) fails on empty
masks with NumPy 2 and calls names that SciPy is about to remove.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

TOLERANCE = 2.0  # mm
_FAR = 300  # searching from one distant point costs as much as so many voxels of a distance map
_ROUNDING = 1e-6  # mm; 2 mm must be within 2 mm whatever its factors


def surface_distances(prediction, mask, spacing) -> tuple[np.ndarray, np.ndarray]:
    """Distances between the surfaces of two masks `[X, Y, Z]`, 0 or 1, of a spacing in mm.

    Returns:
      `(from prediction, from mask)`: for every point of one surface the mm to the other. Towards
      an empty mask they are infinite; from an empty mask there are none.
    """
    prediction, mask = np.asarray(prediction, bool), np.asarray(mask, bool)
    if prediction.shape != mask.shape:
        raise ValueError(f'a prediction of {prediction.shape} and a mask of {mask.shape}')
    ours, theirs = _surface(prediction), _surface(mask)
    spacing = np.asarray(spacing, float)
    return _distances(ours, theirs, spacing), _distances(theirs, ours, spacing)


def hd95(from_prediction, from_mask) -> float:
    """The 95 % Hausdorff distance: the larger of the two 95th percentiles of surface_distances.

    Both masks empty: 0, they agree. One empty: NaN, for there is no distance to nothing. Means
    leave NaN out, so a network that misses more cases is not measured in them: read HD95 beside
    Dice, which is 0 there, and with the number of cases it rests on (`segmentation_counts`).
    """
    if not from_prediction.size and not from_mask.size:
        return 0.0
    if not from_prediction.size or not from_mask.size:
        return float('nan')
    return float(max(np.percentile(from_prediction, 95), np.percentile(from_mask, 95)))


def surface_dice(from_prediction, from_mask, tolerance: float = TOLERANCE) -> float:
    """The share of both surfaces within `tolerance` mm of the other, from surface_distances.

    Both masks empty: 1. One empty: 0.
    """
    points = from_prediction.size + from_mask.size
    met = sum(
        np.count_nonzero(distances <= tolerance + _ROUNDING)
        for distances in (from_prediction, from_mask)
    )
    return float(met / points) if points else 1.0


def _surface(volume):
    """The surface's voxels, indices `[N, 3]`."""
    boxes = ndimage.find_objects(volume.view(np.uint8))
    if not boxes:
        return np.empty((0, volume.ndim), int)
    inside = volume[boxes[0]]  # eroding less than the whole scan
    corner = [side.start for side in boxes[0]]
    return np.argwhere(inside & ~ndimage.binary_erosion(inside)) + corner


def _distances(points, others, spacing):
    """From each point to the nearest of the others, mm: by search, or by a map if that is less."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    low = np.minimum(points.min(axis=0), others.min(axis=0))
    shape = np.maximum(points.max(axis=0), others.max(axis=0)) - low + 1
    if len(points) * _FAR < np.prod(shape):
        return KDTree(others * spacing).query(points * spacing)[0]
    away = np.ones(shape, bool)
    away[tuple((others - low).T)] = False
    nearest = ndimage.distance_transform_edt(
        away, spacing, return_distances=False, return_indices=True
    )
    points = points - low
    return np.linalg.norm((nearest[:, *points.T].T - points) * spacing, axis=1)
