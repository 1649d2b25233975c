"""Changes of grey values and of sharpness: by hand, against SciPy, as often as asked."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from genesis_jax.transforms import contrast, resolution
from genesis_jax.transforms.augment import augment, augment_batch
from genesis_jax.transforms.augment import distort as plain_distort

NAMES = ('blur', 'brightness', 'contrast', 'low_resolution', 'gamma_inverted', 'gamma')
RANDOM = {
    'brightness': contrast.random_brightness,
    'contrast': contrast.random_contrast,
    'gamma': contrast.random_gamma,
    'blur': resolution.random_blur,
    'low_resolution': resolution.random_low_resolution,
}


def distort(key, volume, **options):
    return jax.jit(partial(plain_distort, **options))(key, volume)


@pytest.fixture
def volume(rng):
    return rng.uniform(0.1, 0.9, (8, 10, 6, 2)).astype(np.float32)


def test_brightness_multiplies_each_channel(volume):
    bright = jax.jit(contrast.brightness)(volume, np.float32([2, 0.5]))
    np.testing.assert_allclose(bright, volume * np.float32([[[[2, 0.5]]]]), rtol=1e-6)


def test_contrast_stretches_about_the_mean_within_the_range(volume):
    stretched = jax.jit(contrast.contrast)(volume, np.float32([0.5, 2.0]))
    for channel, factor in ((0, 0.5), (1, 2.0)):
        before = volume[..., channel]
        told = (before - before.mean()) * factor + before.mean()
        told = told.clip(before.min(), before.max())
        np.testing.assert_allclose(stretched[..., channel], told, atol=1e-5)


@pytest.mark.parametrize('inverted', [False, True])
def test_gamma_bends_and_keeps_mean_and_sd(volume, inverted):
    bent = np.asarray(
        jax.jit(partial(contrast.gamma, inverted=inverted))(volume, np.float32([1.5, 1.0]))
    )
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
    blurred = np.asarray(jax.jit(resolution.blur)(volume, sigmas))[4:-4, 4:-4, 4:-4, 0]
    told = ndimage.gaussian_filter(volume[..., 0], sigmas, truncate=6)[4:-4, 4:-4, 4:-4]
    np.testing.assert_allclose(blurred, told, atol=1e-4)
    flat = np.ones((6, 5, 2), np.float32)
    np.testing.assert_allclose(jax.jit(resolution.blur)(flat, sigmas[:2]), flat, atol=1e-5)


def test_low_resolution_by_hand():
    ramp = np.tile(np.arange(8, dtype=np.float32)[:, None, None], (1, 4, 1))
    low_resolution = jax.jit(resolution.low_resolution)
    coarse = low_resolution(ramp, np.float32([0.5, 1.0]))
    # Of eight voxels 1, 3, 5, 7 are kept; between them the line, beyond them the last.
    told = [1, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7]
    np.testing.assert_allclose(coarse, np.tile(np.float32(told)[:, None, None], (1, 4, 1)))
    same = low_resolution(ramp, np.float32([1.0, 1.0]))
    np.testing.assert_allclose(same, ramp, atol=1e-6)


def test_a_volume_that_is_all_alike_stays_finite():
    flat = jnp.full((4, 4, 4, 1), 0.5)
    always = {f'{name}_probability': 1.0 for name in NAMES}
    assert np.isfinite(distort(jax.random.key(0), flat, **always)).all()


def test_each_happens_as_often_as_asked(rng):
    image = rng.uniform(size=(6, 6, 1)).astype(np.float32)
    keys = jax.random.split(jax.random.key(4), 400)

    def changes(key):
        alone = [plain_distort(key, image, **{f'{name}_probability': 0.3}) for name in NAMES]
        return jnp.stack([abs(one - image).max() > 1e-5 for one in alone])

    happened = jax.jit(jax.vmap(changes))(keys)
    np.testing.assert_allclose(happened.mean(axis=0), 0.3, atol=0.08)
    # Independently of each other: their draws come from keys of their own.
    assert abs(np.corrcoef(happened.T) - np.eye(6)).max() < 0.2


def test_ranges_reach_the_transforms(volume):
    image = volume[:, :, 0]
    ranges = {'blur': 0.05, 'brightness': 1.0, 'contrast': 1.0, 'low_resolution': 1.0, 'gamma': 1.0}
    options = {f'{name}_range': (value, value) for name, value in ranges.items()}
    options |= {f'{name}_probability': 1.0 for name in NAMES}
    np.testing.assert_allclose(distort(jax.random.key(1), image, **options), image, atol=1e-4)


@pytest.mark.parametrize('axes', [3, 2])
def test_jit_and_vmap_agree(axes, volume):
    volume, keys = volume if axes == 3 else volume[:, :, 0], jax.random.split(jax.random.key(2), 2)

    def all_of(key, volume):
        return jnp.stack([op(key, volume) for op in RANDOM.values()])

    mapped = jax.jit(jax.vmap(all_of))(keys, np.stack([volume, volume]))
    jitted = jax.jit(all_of)(keys[0], volume)
    np.testing.assert_allclose(jitted, mapped[0], atol=1e-5)
    assert jitted.dtype == volume.dtype
    assert (abs(jitted - volume[None]).reshape(len(RANDOM), -1).max(axis=1) > 1e-3).all()


@pytest.mark.slow  # operation by operation, each compiled
@pytest.mark.parametrize('name', RANDOM)
def test_plain_and_jit_agree(name, volume):
    key, op = jax.random.key(2), RANDOM[name]
    np.testing.assert_allclose(op(key, volume), jax.jit(op)(key, volume), atol=1e-5)


def test_a_batch_is_its_images_one_by_one(volume, rng):
    names = ('rotation', 'gamma', 'brightness')
    options = {f'{name}_probability': 0.5 for name in names}
    image = volume[:, :, 0]
    volumes = np.stack([image, image[::-1], image * 0.5])
    masks = rng.integers(0, 3, volumes.shape[:-1]).astype(np.uint8)
    keys = jax.random.split(jax.random.key(6), 3)
    batch = jax.jit(partial(augment_batch, **options))(keys, volumes, masks)
    alone = jax.jit(partial(augment, **options))
    for index in range(3):
        one = alone(keys[index], volumes[index], masks[index])
        for part, told in zip(batch, one, strict=True):
            np.testing.assert_allclose(part[index], told, atol=1e-4)


def test_what_has_no_probability_is_not_compiled(volume):
    def program(**options):
        batch = (jax.random.split(jax.random.key(0), 2), np.stack([volume] * 2))
        return jax.jit(partial(augment_batch, **options)).lower(*batch).as_text()

    plain = program()
    assert plain == program(**{f'{name}_probability': 0.0 for name in (*NAMES, 'scale')})
    more = program(blur_probability=0.1, scale_probability=0.1)
    for operation in ('stablehlo.dot_general', 'stablehlo.gather'):
        assert operation in more and operation not in plain
