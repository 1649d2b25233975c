"""Changes of grey values and of sharpness: by hand, against SciPy, as often as asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from genesis_jax.transforms import contrast, resolution
from genesis_jax.transforms.augment import augment, augment_batch, distort

NAMES = ('blur', 'brightness', 'contrast', 'low_resolution', 'gamma_inverted', 'gamma')
STILL = {'flip_probability': 0.0, 'transpose_probability': 0.0, 'noise_probability': 0.0}
RANDOM = {
    'brightness': contrast.random_brightness,
    'contrast': contrast.random_contrast,
    'gamma': contrast.random_gamma,
    'blur': resolution.random_blur,
    'low_resolution': resolution.random_low_resolution,
}


@pytest.fixture
def volume(rng):
    return rng.uniform(0.1, 0.9, (8, 10, 6, 2)).astype(np.float32)


def test_brightness_multiplies_each_channel(volume):
    bright = contrast.brightness(volume, np.float32([2, 0.5]))
    np.testing.assert_allclose(bright, volume * np.float32([[[[2, 0.5]]]]), rtol=1e-6)


def test_contrast_stretches_about_the_mean_within_the_range(volume):
    stretched = contrast.contrast(volume, np.float32([0.5, 2.0]))
    for channel, factor in ((0, 0.5), (1, 2.0)):
        before = volume[..., channel]
        told = (before - before.mean()) * factor + before.mean()
        told = told.clip(before.min(), before.max())
        np.testing.assert_allclose(stretched[..., channel], told, atol=1e-5)


@pytest.mark.parametrize('inverted', [False, True])
def test_gamma_bends_and_keeps_mean_and_sd(volume, inverted):
    bent = np.asarray(contrast.gamma(volume, np.float32([1.5, 1.0]), inverted=inverted))
    np.testing.assert_allclose(bent.mean((0, 1, 2)), volume.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(bent.std((0, 1, 2)), volume.std((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(bent[..., 1], volume[..., 1], atol=1e-4)
    # Order stays; an exponent above 1 tells bright values apart, and inverted dark ones.
    order = np.argsort(volume[..., 0].ravel())
    rising = bent[..., 0].ravel()[order]
    assert (np.diff(rising) >= -1e-6).all() and abs(bent[..., 0] - volume[..., 0]).max() > 0.03
    low, middle, high = rising[[0, len(rising) // 2, -1]]
    assert (high - middle > middle - low) == (not inverted)


def test_factors_lie_half_below_and_half_above_one():
    drawn = np.asarray(contrast.around_one(jax.random.key(0), (0.7, 1.5), 4000))
    assert abs((drawn < 1).mean() - 0.5) < 0.03
    assert 0.7 <= drawn.min() < 0.71 and 1.49 < drawn.max() <= 1.5
    assert abs(drawn[drawn > 1].mean() - 1.25) < 0.02


def test_blur_is_scipys_away_from_the_borders(rng):
    volume = rng.uniform(size=(16, 14, 12, 1)).astype(np.float32)
    sigmas = np.float32([0.5, 0.7, 1.0])
    blurred = np.asarray(resolution.blur(volume, sigmas))[4:-4, 4:-4, 4:-4, 0]
    told = ndimage.gaussian_filter(volume[..., 0], sigmas, truncate=6)[4:-4, 4:-4, 4:-4]
    np.testing.assert_allclose(blurred, told, atol=1e-4)
    flat = np.ones((6, 5, 2), np.float32)
    np.testing.assert_allclose(resolution.blur(flat, sigmas[:2]), flat, atol=1e-5)


def test_low_resolution_by_hand():
    ramp = np.tile(np.arange(8, dtype=np.float32)[:, None, None], (1, 4, 1))
    coarse = resolution.low_resolution(ramp, np.float32([0.5, 1.0]))
    # Of eight voxels 1, 3, 5, 7 are kept; between them the line, beyond them the last.
    told = [1, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7]
    np.testing.assert_allclose(coarse, np.tile(np.float32(told)[:, None, None], (1, 4, 1)))
    same = resolution.low_resolution(ramp, np.float32([1.0, 1.0]))
    np.testing.assert_allclose(same, ramp, atol=1e-6)


def test_a_volume_that_is_all_alike_stays_finite():
    flat = jnp.full((4, 4, 4, 1), 0.5)
    always = {f'{name}_probability': 1.0 for name in NAMES}
    assert np.isfinite(distort(jax.random.key(0), flat, **always)).all()


@pytest.mark.parametrize('name', NAMES)
def test_each_happens_as_often_as_asked(name, rng):
    image = rng.uniform(size=(6, 6, 1)).astype(np.float32)
    keys = jax.random.split(jax.random.key(4), 400)
    changed = jax.vmap(lambda key: distort(key, image, **{f'{name}_probability': 0.3}))(keys)
    happened = np.asarray(abs(changed - image[None]).max(axis=(1, 2, 3)) > 1e-5)
    assert abs(happened.mean() - 0.3) < 0.08


def test_ranges_reach_the_transforms(volume):
    image = volume[:, :, 0]
    for name, narrow in (('brightness', (1.0, 1.0)), ('blur', (0.05, 0.05))):
        options = {f'{name}_probability': 1.0, f'{name}_range': narrow}
        np.testing.assert_allclose(distort(jax.random.key(1), image, **options), image, atol=1e-5)
    for name, field in (('contrast', 'contrast'), ('gamma', 'gamma'), ('gamma_inverted', 'gamma')):
        options = {f'{name}_probability': 1.0, f'{field}_range': (1.0, 1.0)}
        np.testing.assert_allclose(distort(jax.random.key(1), image, **options), image, atol=1e-4)
    options = {'low_resolution_probability': 1.0, 'low_resolution_range': (1.0, 1.0)}
    np.testing.assert_allclose(distort(jax.random.key(1), image, **options), image, atol=1e-5)


@pytest.mark.parametrize('name', RANDOM)
@pytest.mark.parametrize('axes', [3, 2])
def test_plain_jit_and_vmap_agree(name, axes, volume):
    volume, key, op = volume if axes == 3 else volume[:, :, 0], jax.random.key(2), RANDOM[name]
    plain, jitted = op(key, volume), jax.jit(op)(key, volume)
    mapped = jax.vmap(op)(key[None], volume[None])[0]
    np.testing.assert_allclose(plain, jitted, atol=1e-5)
    np.testing.assert_allclose(plain, mapped, atol=1e-5)
    assert plain.shape == volume.shape and plain.dtype == volume.dtype
    assert abs(plain - volume).max() > 1e-3


def test_a_batch_is_its_volumes_one_by_one(volume, rng):
    options = {f'{name}_probability': 0.5 for name in (*NAMES, 'rotation', 'scale')}
    volumes = np.stack([volume, volume[::-1], volume * 0.5])
    masks = rng.integers(0, 3, volumes.shape[:-1]).astype(np.uint8)
    keys = jax.random.split(jax.random.key(6), 3)
    batch = jax.jit(lambda *examples: augment_batch(*examples, **options))(keys, volumes, masks)
    for index in range(3):
        one = augment(keys[index], volumes[index], masks[index], **options)
        for part, told in zip(batch, one, strict=True):
            np.testing.assert_allclose(part[index], told, atol=1e-4)


def test_what_has_no_probability_is_not_compiled(volume):
    def primitives(**options):
        batch = (jax.random.split(jax.random.key(0), 2), np.stack([volume] * 2))
        lowered = jax.jit(lambda *batch: augment_batch(*batch, **options)).lower(*batch)
        return lowered.as_text()

    plain = primitives()
    assert plain == primitives(**{f'{name}_probability': 0.0 for name in (*NAMES, 'scale')})
    for marker in ('stablehlo.dot_general', 'stablehlo.gather', 'stablehlo.while'):
        assert (marker in plain) < (marker in primitives(blur_probability=0.1, scale_probability=1))
