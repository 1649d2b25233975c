"""Augmentation of labelled examples."""

import jax
import numpy as np
import pytest

from genesis_jax.transforms.augment import augment, pairs

STILL = {'flip_probability': 0.0, 'transpose_probability': 0.0, 'noise_probability': 0.0}


@pytest.fixture
def labelled(rng):
    mask = rng.integers(0, 5, (6, 6, 4)).astype(np.uint8)
    return mask[..., None] / np.float32(5), mask


def test_nothing_happens_without_probabilities(labelled):
    volume, mask = augment(jax.random.key(0), *labelled, **STILL)
    np.testing.assert_array_equal(volume, labelled[0])
    np.testing.assert_array_equal(mask, labelled[1])


def test_masks_turn_with_their_volumes(labelled):
    keys = jax.random.split(jax.random.key(1), 64)
    volumes, masks = jax.vmap(lambda key: augment(key, *labelled, noise_probability=0.0))(keys)
    np.testing.assert_allclose(volumes[..., 0] * 5, masks, atol=1e-6)
    assert masks.dtype == np.uint8
    seen = {np.asarray(mask).tobytes() for mask in masks}
    # Three flips and, as only two sides are equal, one transposition: sixteen ways to turn.
    assert 12 <= len(seen) <= 16


def test_only_some_axes_are_mirrored(labelled):
    always = STILL | {'flip_probability': 1.0}
    for axes, expected in (((0,), (0,)), ((0, 2), (0, 2)), (None, (0, 1, 2))):
        volume, mask = augment(jax.random.key(0), *labelled, **always, flip_axes=axes)
        np.testing.assert_array_equal(volume, np.flip(labelled[0], expected))
        np.testing.assert_array_equal(mask, np.flip(labelled[1], expected))


def test_only_equal_sides_are_swapped():
    assert pairs((4, 4, 2)) == [(0, 1)] and pairs((4, 2, 3)) == []
    assert pairs((2, 2, 2)) == [(0, 1), (0, 2), (1, 2)] and pairs((5, 5)) == [(0, 1)]


def test_noise_is_as_strong_as_drawn():
    still = STILL | {'noise_probability': 0.5}
    zeros = np.zeros((16, 16, 16, 1), np.float32)
    keys = jax.random.split(jax.random.key(2), 400)
    noisy = jax.vmap(lambda key: augment(key, zeros, noise_sd=0.1, **still)[0])(keys)
    sds = np.asarray(noisy).std(axis=(1, 2, 3, 4))
    assert abs((sds > 0).mean() - 0.5) < 0.08
    assert sds.max() < 0.105 and abs(sds[sds > 0].mean() - 0.05) < 0.008


def test_plain_jit_and_vmap_agree(labelled):
    key = jax.random.key(3)
    plain = augment(key, *labelled)
    jitted = jax.jit(augment)(key, *labelled)
    mapped = jax.vmap(augment)(key[None], *(part[None] for part in labelled))
    for a, b, c in zip(plain, jitted, mapped, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(a, c[0], atol=1e-6)


def test_images_of_two_axes_and_no_mask():
    image = np.zeros((8, 8, 3), np.float32)
    augmented, mask = augment(jax.random.key(4), image)
    assert augmented.shape == image.shape and mask is None
