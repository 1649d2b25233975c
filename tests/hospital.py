"""A small CT series, what labels it, and where it lies."""

import numpy as np
from dicoms import AXES, patient_tags, save, single

from genesis_jax.errors import collected_remarks
from genesis_jax.imaging.geometry import Grid
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_image

COUNT, ROWS, COLUMNS = 9, 23, 19  # frames that end within a byte of a SEG
SPACING = (0.75, 0.5)  # between rows, then columns
GAP = 2.0


def write_series(folder, *, axes=AXES, series='1.2.3', flipped=False, normal=None, **tags):
    """A CT of noise; returns its only scan."""
    x, y = np.reshape(axes, (2, 3))
    step = GAP * (np.cross(x, y) if normal is None else np.array(normal))
    rng = np.random.default_rng(int(series[-1]))
    for k in range(COUNT):
        pixels = rng.integers(0, 2000, (ROWS, COLUMNS)).astype(np.uint16)
        where = np.array([-10.0, 5, 30]) + step * (-k if flipped else k)
        tags = patient_tags() | tags
        made = single(
            pixels, where, k, axes=axes, spacing=SPACING, series=series, intercept=-1024, **tags
        )
        save(folder / f'{k}.dcm', made)
    (scan,) = find_scans(folder)
    return scan


def some_labels(shape=(COLUMNS, ROWS, COUNT)):
    """Class indices without any symmetry, and with an empty slice between others."""
    labels = np.zeros(shape, np.uint8)
    labels[3:9, 2:7, 1:4] = 1
    labels[5:7, 4:20, 5:8] = 2
    labels[14, 20, 7] = 1
    return labels


def placed(scan):
    """The grid on which a scan is read, and the remarks on it."""
    with collected_remarks() as told:
        image = read_image(scan, 'ct')
    return Grid.of(image), told


def drawn(grid, corners, place):
    """A contour in mm, of corners in columns and rows of a slice."""
    indices = np.column_stack([corners, np.full(len(corners), float(place))])
    return indices @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def box(x0, x1, y0, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
