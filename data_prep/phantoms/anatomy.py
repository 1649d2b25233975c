"""An abdomen on CT and a brain on MRI, drawn at random: what phantoms of segmentations are made of.

Simple shapes with uneven borders, in fractions of the scan, so that a small scan shows a whole
small patient. Arrays are [Z, Y, X], the order in memory of the files to be written. Another
generator is another patient: place, size, contrast, lesions and noise differ.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from data_prep.phantoms.files import Shape, as_scanned

_AIR, _FAT, _MUSCLE, _BONE = -1000, -100, 50, 300  # HU
SEQUENCES = ('t1', 't1ce', 't2', 'flair')
# mean values of t1, t1ce, t2, flair; the tumour's parts by their label in BraTS
_GREY, _WHITE, _FLUID = (450, 450, 600, 600), (600, 620, 450, 480), (250, 250, 1000, 150)
_TUMOUR = {
    1: (250, 250, 900, 500),  # necrosis
    2: (400, 400, 850, 950),  # oedema
    3: (380, 420, 750, 800),  # not enhancing
    4: (450, 950, 650, 750),  # enhancing
}


def abdomen(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """HU, int16, and the labels of LiTS, uint8 (1 liver, 2 lesion), both [Z, Y, X]."""
    grid = _grid(shape)
    x, y, z = grid
    hu = np.full(shape[::-1], _AIR, np.float32)
    wide, deep = rng.uniform(0.84, 0.94), rng.uniform(0.68, 0.8)
    outline = (x / wide) ** 2 + (y / deep) ** 2 + 0 * z
    hu[outline < 1] = _FAT
    hu[outline < rng.uniform(0.72, 0.85)] = _MUSCLE - 30
    middle = (rng.uniform(-0.42, -0.32), rng.uniform(-0.16, 0), rng.uniform(-0.1, 0.15))
    sides = rng.uniform(0.85, 1.15, 3) * (0.36, 0.4, 0.5)
    liver = _blob(rng, grid, middle, sides, 0.35) & (outline < 0.78)
    spine = _blob(rng, grid, (0, 0.42, 0), (0.11, 0.12, 9), 0) & (np.mod(z * 4, 1) > 0.15)
    contrast = rng.uniform(0, 60)  # of the medium
    liver_hu = rng.uniform(50, 70) + 0.8 * contrast
    for organ, value in (
        (_blob(rng, grid, (0.5, 0.15, 0.25), (0.16, 0.2, 0.3), 0.2), liver_hu - 15),  # spleen
        (_blob(rng, grid, (0.38, 0.3, -0.4), (0.1, 0.12, 0.3), 0.1), 35 + 1.5 * contrast),  # kidney
        (_blob(rng, grid, (0.3, -0.25, 0.3), (0.2, 0.2, 0.3), 0.3), rng.choice((-900, 20))),
        (_blob(rng, grid, (0.05, 0.22, 0), (0.06, 0.07, 9), 0), 45 + 2 * contrast),  # aorta
        (spine, _BONE),
        (liver, liver_hu),
    ):
        hu[organ & (outline < 0.95)] = value
    labels = liver.astype(np.uint8)
    lesions = np.zeros_like(liver)
    for _ in range(rng.integers(1, 4)):
        size = rng.uniform(0.08, 0.18)
        lesions |= _blob(rng, grid, _inside(rng, liver), (size, size, 1.3 * size), 0.3) & liver
    hu[lesions] = liver_hu - rng.uniform(35, 60)
    labels[lesions] = 2
    hu = ndimage.gaussian_filter(hu, 0.6, truncate=2)  # the scanner's blur
    return as_scanned(hu, rng.standard_normal(hu.shape, np.float32)), labels


def brain(rng: np.random.Generator, shape: Shape) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Four sequences by name, int16, black around the brain, and labels 1 to 4 as in BraTS 2013."""
    grid = _grid(shape)
    sides = rng.uniform(0.93, 1.05, 3) * (0.66, 0.8, 0.74)
    inside = _blob(rng, grid, rng.uniform(-0.05, 0.05, 3), sides, 0.05)
    white = _blob(rng, grid, (0, 0, 0), 0.78 * sides, 0.5) & inside
    fluid = np.zeros_like(inside)
    for side in (-1, 1):
        fluid |= _blob(rng, grid, (0.14 * side, 0, 0.1), rng.uniform(0.8, 1.3) * sides / 7, 0.2)
    labels = _tumour(rng, grid, ndimage.binary_erosion(inside, iterations=2)) * inside
    tissues = [(inside, _GREY), (white, _WHITE), (fluid & inside, _FLUID)]
    tissues += [(labels == label, means) for label, means in _TUMOUR.items()]
    images = {}
    for number, name in enumerate(SEQUENCES):
        values = np.zeros(inside.shape, np.float32)
        for where, means in tissues:
            values[where] = means[number] * rng.uniform(0.93, 1.07)
        values = ndimage.gaussian_filter(values, 0.5, truncate=2)
        values *= rng.uniform(0.7, 1.6) * (1 + 0.08 * _smooth(rng, values.shape))  # gain and bias
        values += rng.uniform(0.03, 0.05) * values.max() * rng.standard_normal(values.shape)
        images[name] = np.where(inside, np.rint(values).clip(1, 32767), 0).astype(np.int16)
    return images, labels


def _tumour(rng: np.random.Generator, grid: Sequence[np.ndarray], inside: np.ndarray) -> np.ndarray:
    """Labels of one tumour: oedema around an enhancing rim around a core."""
    middle = np.array(_inside(rng, inside))
    size = rng.uniform(0.22, 0.42) * np.array((1, 1, 1.2))
    labels = np.zeros(inside.shape, np.uint8)
    for label, share, uneven in ((2, 1, 0.7), (4, 0.65, 0.3), (3, 0.5, 0.3), (1, 0.38, 0.2)):
        labels[_blob(rng, grid, middle, share * size, uneven)] = label
    return labels


def _grid(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y, z of every voxel, -1 to 1 across the scan, shaped to broadcast to [Z, Y, X]."""
    x, y, z = (((np.arange(n) + 0.5) / n * 2 - 1).astype(np.float32) for n in shape)
    return x[None, None, :], y[None, :, None], z[:, None, None]


def _blob(
    rng: np.random.Generator,
    grid: Sequence[np.ndarray],
    middle: Iterable[float],
    sides: Iterable[float],
    uneven: float,
) -> np.ndarray:
    """Where an ellipsoid with an uneven border is."""
    x, y, z = (((g - m) / s) ** 2 for g, m, s in zip(grid, middle, sides, strict=True))
    distance = x + y + z
    return np.less(distance + uneven * _smooth(rng, distance.shape) if uneven else distance, 1)


def _smooth(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Noise of about unit size that varies over a quarter of the scan."""
    coarse = rng.standard_normal((5, 5, 5)).astype(np.float32)
    zoom = np.array(shape) / coarse.shape
    return ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode='nearest')


def _inside(rng: np.random.Generator, region: np.ndarray) -> tuple[float, ...]:
    """One of the region's voxels: x, y, z from -1 to 1."""
    index = np.unravel_index(rng.choice(np.flatnonzero(region)), region.shape)
    places = [(n + 0.5) / side * 2 - 1 for n, side in zip(index, region.shape, strict=True)]
    return tuple(places[::-1])
