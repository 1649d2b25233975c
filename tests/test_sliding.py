"""The sliding window: exact where it can be, any size, constant memory on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax.inference import sliding
from genesis_jax.inference.sliding import on_devices, sliding_window

SIZES = [((17, 23, 19), (8, 8, 8)), ((5, 29, 7), (8, 12, 10)), ((3, 2, 1), (8, 8, 4)),
         ((31, 13), (8, 8)), ((64, 8), (16, 16))]  # fmt: skip


def volume_of(sides, channels=1):
    return np.random.default_rng(0).random((*sides, channels), np.float32)


@pytest.mark.parametrize('sides, window', SIZES)
@pytest.mark.parametrize('overlap', [0, 0.3, 0.5, 0.75])
def test_a_constant_network_gives_exactly_its_constant(sides, window, overlap):
    constant = np.float32([0.1, 0.7, 0.3])  # none is exact in binary

    def predict(batch):
        return np.broadcast_to(constant, (*batch.shape[:-1], 3))

    result = sliding_window(predict, volume_of(sides), window=window, overlap=overlap, batch_size=4)
    assert result.shape == (*sides, 3) and result.dtype == np.float32
    np.testing.assert_array_equal(result, np.broadcast_to(constant, result.shape))


@pytest.mark.parametrize('sides, window', SIZES)
def test_a_network_that_sees_one_voxel_gives_exactly_the_direct_answer(sides, window):
    def network(slope, x):
        return jnp.stack([slope * x[..., 0] + x[..., 1], jnp.tanh(x[..., 1])], axis=-1)

    volume = volume_of(sides, channels=2)
    result = sliding_window(on_devices([(network, jnp.float32(0.7))]), volume, window=window)
    np.testing.assert_array_equal(result, jax.jit(network)(jnp.float32(0.7), volume))


def test_values_are_normalised_per_channel_as_in_training():
    volume = np.random.default_rng(0).integers(-1500, 1500, (9, 11, 6, 2), np.int16)
    ranges = np.float32([[-1000, 1000], [0, 255]])
    result = sliding_window(lambda x: x, volume, window=(4, 8, 8), value_range=ranges)
    expected = (volume.astype(np.float32) - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0])
    np.testing.assert_array_equal(result, expected.clip(0, 1))


def test_padding_is_zero_after_normalisation_and_is_cropped():
    seen = []

    def predict(batch):
        seen.append(batch)
        return batch

    volume = np.full((2, 3, 1), 200, np.int16)
    result = sliding_window(predict, volume, window=(8, 8), value_range=[[-1000, 200]])
    assert result.shape == (2, 3, 1) and (result == 1).all()
    assert seen[0][0].sum() == 6


def test_windows_overlap_as_asked_and_the_last_ends_at_the_border():
    assert sliding._starts(20, 8, 0.5) == [0, 4, 8, 12]
    assert sliding._starts(21, 8, 0.5) == [0, 4, 8, 12, 13]
    assert sliding._starts(21, 8, 0) == [0, 8, 13]
    assert sliding._starts(8, 8, 0.5) == sliding._starts(3, 8, 0.5) == [0]


def test_the_middle_of_a_window_outweighs_its_border():
    """Windows that see the place in them: the blend follows the nearer centre."""
    ramp = np.abs(np.arange(8) - 3.5)[:, None, None] * np.ones((8, 8, 1))

    def predict(batch):
        return np.broadcast_to(ramp.astype(np.float32), batch.shape)

    result = sliding_window(predict, volume_of((40, 8)), window=(8, 8))
    starts = sliding._starts(40, 8, 0.5)
    bell = np.exp(-0.5 * (np.arange(8) - 3.5) ** 2)
    summed, weights = np.zeros(40), np.zeros(40)
    for start in starts:
        summed[start : start + 8] += bell * ramp[:, 0, 0]
        weights[start : start + 8] += bell
    np.testing.assert_allclose(result[:, 0, 0], summed / weights, rtol=1e-6)


def test_batches_have_one_shape_and_the_next_runs_before_the_last_is_read():
    events, shapes = [], set()

    class Running:
        def __init__(self, batch):
            self.batch = batch
            shapes.add((batch.shape, batch.dtype))
            events.append('run')

        def __array__(self, dtype=None, copy=None):
            events.append('read')
            return self.batch

    steps = []
    sliding_window(
        Running, volume_of((20, 30)), window=(8, 8), batch_size=8,
        progress=lambda done, of: steps.append((done, of)),
    )  # fmt: skip
    assert shapes == {((8, 8, 8, 1), np.dtype(np.float32))}
    assert events == ['run', *['run', 'read'] * 3, 'read']
    assert steps == [(8, 28), (16, 28), (24, 28), (28, 28)]


def test_a_batch_is_divided_among_the_devices():
    assert [sliding.whole_batch(size) for size in (1, 4, 5)] == [4, 4, 8]
    assert sliding.whole_batch() == 4  # one each of the CPU devices of these tests


def test_bad_options_are_refused():
    for overlap in (-0.1, 1):
        with pytest.raises(ValueError, match='overlap'):
            sliding_window(lambda x: x, volume_of((8, 8)), window=(8, 8), overlap=overlap)
    with pytest.raises(ValueError, match='2 spatial axes'):
        sliding_window(lambda x: x, volume_of((8, 8)), window=(8, 8, 8))
