"""Scans whose geometry has no symmetry, and the card of a network that segments them."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import SimpleITK as sitk

from genesis_jax import checkpoints
from genesis_jax.card import Card
from genesis_jax.models import from_card

WINDOW = (16, 16, 16)
CARD = {
    'network': 'unet3d',
    'parts': ['encoder', 'decoder', 'head'],
    'task': 'segmentation',
    'classes': ['background', 'bone'],
    'outputs': 1,
    'in_channels': 1,
    'channels': ['CT'],
    'cube_shape': [*WINDOW, 1],
    'modality': 'ct',
    'spacing': None,
    'window': None,
    'config': {'model': {'width': 2}, 'overlap': 0.25},
}


def rotation():
    """An oblique direction: the axes turned by 25, 17 and 40 degrees one after the other."""
    turned = np.eye(3)
    for axis, degrees in enumerate((25, 17, 40)):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        step = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
        turned = turned @ step
    return turned


DIRECTIONS = {
    'oblique': rotation(),
    'permuted': np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], float),
    'permuted and oblique': rotation() @ np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]], float),
    'straight': np.eye(3),
}


def make_image(direction='oblique', size=(19, 23, 13), spacing=(0.7, 0.9, 2.3), blobs=False):
    """HU without any symmetry; `blobs`: smooth, else noise."""
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, size[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    if blobs:
        image = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), 3.0)
        image = sitk.Cast((image - 7) * 60, sitk.sitkInt16)
    image.SetOrigin((-31.5, 12.25, 107.0))
    image.SetDirection(DIRECTIONS[direction].ravel().tolist())
    return image


def write(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def read_table(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def assert_same_geometry(found, expected):
    assert found.GetSize() == expected.GetSize()
    np.testing.assert_allclose(found.GetSpacing(), expected.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(found.GetOrigin(), expected.GetOrigin(), rtol=1e-5)
    np.testing.assert_allclose(found.GetDirection(), expected.GetDirection(), atol=1e-5)


def export_untrained(run, seed=0, **fields):
    """Makes the run of a network of width 2 that was never trained; returns its folder."""
    card = Card.from_dict(CARD | fields)
    network = from_card(card)
    x = jnp.zeros((1, *WINDOW, card['in_channels']))
    variables = jax.jit(lambda key: network.init(key, x, train=True))(jax.random.key(seed))
    checkpoints.export(run / 'export' / 'model', variables, list(variables['params']), card)
    return run
