"""The 3D convolution for CPUs, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax.models.cpu_conv3d import _blocks, convolve_planes


def native(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), 'SAME', dimension_numbers=('NXYZC', 'XYZIO', 'NXYZC')
    )


def draw(shape, kernel_sides, outputs):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], shape)
    kernel = jax.random.normal(keys[1], (*kernel_sides, shape[-1], outputs))
    return x, kernel, jax.random.normal(keys[2], (*shape[:-1], outputs))


@pytest.mark.parametrize('outputs', [1, 2, 4])  # fewer than channels, as many, more
@pytest.mark.parametrize(
    'shape, sides',
    [
        ((2, 8, 8, 8, 2), (3, 3, 3)),  # one block
        ((1, 12, 32, 32, 2), (3, 3, 3)),  # six blocks of two planes
        ((2, 7, 40, 40, 2), (3, 3, 3)),  # seven blocks of one
        ((1, 6, 40, 60, 2), (5, 3, 1)),  # more taps than planes in a block
    ],
)
def test_result_and_gradients_are_those_of_the_native_convolution(shape, sides, outputs):
    x, kernel, weights = draw(shape, sides, outputs)

    def both(convolve):
        def weighted(x, kernel):
            return jnp.sum(convolve(x, kernel) * weights)

        return convolve(x, kernel), *jax.grad(weighted, (0, 1))(x, kernel)

    for ours, theirs in zip(both(convolve_planes), both(native), strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=2e-6)


@pytest.mark.parametrize(
    'shape, blocks',
    [
        ((2, 8, 8, 8, 3), 1),
        ((1, 12, 32, 32, 2), 6),
        ((2, 7, 40, 40, 1), 7),
        ((1, 97, 32, 32, 1), 97),
    ],
)
def test_blocks_are_as_many_as_the_cache_wants(shape, blocks):
    assert len(_blocks(jnp.zeros(shape))) == blocks


def test_sums_are_wider_than_bfloat16():
    x, kernel, weights = (a.astype(jnp.bfloat16) for a in draw((1, 4, 8, 8, 64), (3, 3, 3), 8))
    result, gradients = jax.vjp(convolve_planes, x, kernel)
    found = result, *gradients(weights)
    wide, back = jax.vjp(native, *(a.astype(jnp.float32) for a in (x, kernel)))
    for ours, theirs in zip(found, (wide, *back(weights.astype(jnp.float32))), strict=True):
        assert ours.dtype == jnp.bfloat16
        # Rounded once, at the end: by less than one part in 256.
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(np.float32(ours) / scale, theirs / scale, atol=1e-5, rtol=2**-8)
