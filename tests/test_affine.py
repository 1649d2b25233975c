"""Rotation and scaling: against SciPy and by hand, mask with image, plain = jit = vmap."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from genesis_jax.transforms import affine as module
from genesis_jax.transforms.affine import planes, random_affine

affine, rotation = jax.jit(module.affine), jax.jit(module.rotation, static_argnums=1)
ALWAYS = {'rotation_probability': 1.0, 'scale_probability': 1.0}


def blob(rng, sides=(12, 10, 8)):
    """A smooth volume, and as its mask where it is bright."""
    volume = ndimage.gaussian_filter(rng.normal(size=sides), 2).astype(np.float32)
    return volume[..., None], (volume > 0).astype(np.uint8)


def none(rank):
    return np.zeros(len(planes(rank)), np.float32), np.ones(rank, np.float32)


@pytest.mark.parametrize('sides', [(12, 10, 8), (12, 10)])
def test_nothing_turned_nothing_scaled_is_the_same(rng, sides):
    volume, mask = blob(rng, sides)
    same, same_mask = affine(volume, mask, *none(len(sides)))
    np.testing.assert_allclose(same, volume, atol=1e-6)
    np.testing.assert_array_equal(same_mask, mask)
    assert same_mask.dtype == np.uint8 and same.dtype == np.float32


def test_right_angles_are_turns_without_interpolation(rng):
    for sides, axes in (((9, 9, 5), (0, 1)), ((9, 5, 9), (0, 2)), ((7, 7), (0, 1))):
        volume, mask = blob(rng, sides)
        angles, scales = none(len(sides))
        angles[planes(len(sides)).index(axes)] = np.pi / 2
        turned, turned_mask = affine(volume, mask, angles, scales)
        np.testing.assert_allclose(turned, np.rot90(volume, 1, axes), atol=1e-5)
        np.testing.assert_array_equal(turned_mask, np.rot90(mask, 1, axes))


def test_any_angle_and_scale_is_what_scipy_says(rng):
    volume, mask = blob(rng)
    angles, scales = np.float32([0.4, -0.3, 0.2]), np.float32([0.8, 1.3, 1.1])
    matrix = np.asarray(rotation(angles, 3)) @ np.diag(scales)
    np.testing.assert_allclose(np.linalg.inv(rotation(angles, 3)), rotation(angles, 3).T, atol=1e-6)
    inverse, centre = np.linalg.inv(matrix), (np.array(mask.shape) - 1) / 2
    offset = centre - inverse @ centre
    moved, moved_mask = affine(volume, mask, angles, scales)
    told = ndimage.affine_transform(volume[..., 0], inverse, offset, order=1, mode='reflect')
    np.testing.assert_allclose(moved[..., 0], told, atol=1e-4)
    told = ndimage.affine_transform(mask, inverse, offset, order=0, mode='reflect')
    assert (moved_mask == told).mean() > 0.99  # (a place between two voxels may round either way)


def test_scaling_by_two_is_twice_as_long():
    mask = np.zeros((16, 16, 16), np.uint8)
    mask[6:10, 6:10, 6:10] = 1
    angles, _ = none(3)
    _, larger = affine(mask[..., None].astype(np.float32), mask, angles, np.float32([2, 1, 1]))
    assert larger.any(axis=(1, 2)).sum() == 8 and larger.any(axis=(0, 2)).sum() == 4


def test_masks_move_with_their_volumes(rng):
    volume, mask = blob(rng)
    keys = jax.random.split(jax.random.key(0), 8)
    one = jax.jit(lambda key: random_affine(key, volume, mask, **ALWAYS))
    volumes, masks = (np.stack(part) for part in zip(*map(one, keys), strict=True))
    assert len({np.asarray(one).tobytes() for one in masks}) == 8
    assert ((volumes[..., 0] > 0) == masks).mean() > 0.9


def test_each_happens_as_often_as_asked_and_within_its_range(monkeypatch):
    drawn = []

    def recorded(happens, moved, still, volume, mask, angles, scales):
        assert moved is module.affine
        drawn.append((happens, angles, scales))
        return volume, mask

    monkeypatch.setattr('jax.lax.cond', recorded)
    options = {'rotation_probability': 0.3, 'scale_probability': 0.6, 'degrees': 10.0}

    def one(key):
        drawn.clear()
        random_affine(key, np.zeros((4, 4, 4, 1), np.float32), None, **options)
        return drawn[0]

    keys = jax.random.split(jax.random.key(1), 2000)
    happens, angles, scales = map(np.asarray, jax.jit(jax.vmap(one))(keys))
    turns, scaled = (angles != 0).any(axis=1), (scales != 1).any(axis=1)
    assert abs(turns.mean() - 0.3) < 0.04 and abs(scaled.mean() - 0.6) < 0.04
    assert abs((turns & scaled).mean() - 0.18) < 0.03  # independent of each other
    np.testing.assert_array_equal(happens, turns | scaled)
    limit = np.radians(10)
    assert 0.9 * limit < abs(angles).max() <= limit and angles.min() < -0.9 * limit
    assert 0.7 <= scales.min() < 0.72 and 1.38 < scales.max() <= 1.4


@pytest.mark.parametrize('sides', [(8, 6, 8), (8, 8)])
def test_jit_and_vmap_agree(rng, sides):
    volume, mask = blob(rng, sides)
    key = jax.random.key(3)

    def one(key, volume, mask):
        return random_affine(key, volume, mask, **ALWAYS)

    jitted = jax.jit(one)(key, volume, mask)
    mapped = jax.jit(jax.vmap(one))(key[None], volume[None], mask[None])
    for a, b in zip(jitted, mapped, strict=True):
        np.testing.assert_allclose(a, b[0], atol=1e-5)
    assert not np.allclose(jitted[0], volume, atol=1e-3)


@pytest.mark.slow  # operation by operation, each compiled
def test_plain_and_jit_agree(rng):
    volume, mask = blob(rng, (8, 6, 8))
    plain = random_affine(jax.random.key(3), volume, mask, **ALWAYS)
    jitted = jax.jit(lambda *a: random_affine(*a, **ALWAYS))(jax.random.key(3), volume, mask)
    for a, b in zip(plain, jitted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
