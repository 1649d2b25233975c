"""What the phantoms of points and nodules share: a drawn chest, and places in it."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from data_prep.phantoms.files import Shape, as_image
from data_prep.phantoms.thorax import Nodule, thorax


def chest(
    rng: np.random.Generator, shape: Shape, extent: Sequence[float]
) -> tuple[sitk.Image, list[Nodule]]:
    """A drawn patient of about this extent in mm, as an image somewhere in the world."""
    sides = np.array(extent) * (*[rng.uniform(0.92, 1.08)] * 2, rng.uniform(0.92, 1.08))
    spacing = tuple(round(float(mm), 4) for mm in sides / shape)
    hu, nodules = thorax(rng, shape, spacing)
    origin = [round(float(mm), 2) for mm in rng.uniform(-200, 50, 3)]
    return as_image(hu.T, spacing, origin), nodules


def find_lungs(hu: np.ndarray) -> np.ndarray:
    """The inside of the lungs with their vessels [X, Y, Z], roughly."""
    dark = ndimage.gaussian_filter(hu.astype(np.float32), 1) < -500
    parts, _ = ndimage.label(dark)
    rim = np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()])
    inside = dark & ~np.isin(parts, np.unique(rim))
    return ndimage.binary_erosion(ndimage.binary_closing(inside, iterations=3), iterations=2)


def pick(rng: np.random.Generator, where: np.ndarray, count: int) -> np.ndarray:
    """So many voxels (x, y, z) of a mask, fewer where it has fewer."""
    inside = np.argwhere(where)
    return inside[rng.permutation(len(inside))[:count]]
