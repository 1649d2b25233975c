"""2D readings of 3D records: what is a slice, and that slices are put together again."""

import numpy as np
import pytest

from genesis_jax.data import views
from genesis_jax.inference.sliding import sliding_window


@pytest.fixture
def record(rng):
    """A record of two channels with a mask."""
    return {
        'cube': rng.integers(-1000, 1000, (8, 6, 5, 2)).astype(np.int16),
        'mask': rng.integers(0, 2, (8, 6, 5)).astype(np.uint8),
        'window': np.float32([[-1000, 1000], [0, 500]]),
        'patient': 'p',
    }


class Source(list):
    patients = ('p', 'q')


def test_every_slice_is_an_example(record):
    other = record | {'cube': record['cube'] + 1, 'patient': 'q'}
    source = views.viewed(Source([record, other]), 'slices', (8, 6, 5, 2), every=True)
    assert len(source) == 10 and source.patients == ['p'] * 5 + ['q'] * 5
    for index, whole, z in ((0, record, 0), (4, record, 4), (5, other, 0), (7, other, 2)):
        seen = source[index]
        np.testing.assert_array_equal(seen['cube'], whole['cube'][:, :, z])
        np.testing.assert_array_equal(seen['mask'], whole['mask'][:, :, z])
        assert seen['patient'] == whole['patient'] and seen['window'].shape == (2, 2)


@pytest.mark.parametrize('view', views.VIEWS)
def test_of_one_answer_the_example_is_central(view, record):
    (seen,) = views.viewed(Source([record]), view, (8, 6, 5, 2), every=False)
    assert seen['cube'].shape == views.shape_of((8, 6, 5, 2), view)
    assert seen['cube'].dtype == np.int16
    channels = seen['cube'].shape[-1] // 2
    np.testing.assert_array_equal(seen['window'], np.tile(record['window'], (channels, 1)))
    middle = slice(2, 4) if view == 'adjacent' else slice(0, 2)
    np.testing.assert_array_equal(seen['cube'][..., middle], record['cube'][:, :, 2])


def test_without_a_view_records_stay_as_they_are(record):
    source = Source([record])
    assert views.viewed(source, None, (8, 6, 5, 2), every=True) is source
    assert views.shape_of((8, 6, 5, 2), None) == (8, 6, 5, 2)
    assert views.ranges(record['window'], None) is record['window']


def test_neighbours_are_those_of_the_whole_volume(record):
    """A slice of a record, and of a whole volume, has the same channels; at the ends itself."""
    whole = views.channels(record['cube'], 'adjacent')
    for z in range(5):
        seen = views.take(record, 'adjacent', z)['cube']
        np.testing.assert_array_equal(seen, whole[:, :, z])
    np.testing.assert_array_equal(whole[:, :, 0, :2], record['cube'][:, :, 0])
    np.testing.assert_array_equal(whole[:, :, 4, 4:], record['cube'][:, :, 4])
    np.testing.assert_array_equal(whole[:, :, 1, :2], record['cube'][:, :, 0])
    assert views.channels(record['cube'], 'slices') is record['cube']
    own = views.own_channel(whole.shape[-1], 'adjacent', 2)
    np.testing.assert_array_equal(whole[..., own : own + 2], record['cube'])
    assert views.own_channel(2, 'slices', 2) == views.own_channel(3, None, 3) == 0
    assert views.own_channel(3, None, 2) == 1 and views.own_channel(1, None, 2) == 0


def test_orthogonal_planes_are_resampled_to_the_axial_one():
    """Linear ramps along each axis stay linear, with the values of the voxels' centres."""
    x, y, z = np.meshgrid(*map(np.arange, (64, 64, 32)), indexing='ij')
    patch = np.stack([x, y, z], axis=-1).astype(np.int16) * 10
    axial, coronal, sagittal = np.split(views.orthogonal(patch), 3, axis=-1)
    np.testing.assert_array_equal(axial, patch[:, :, 16])
    np.testing.assert_array_equal(coronal[..., 0], patch[:, 32, :1, 0].repeat(64, axis=1))
    assert (coronal[..., 1] == 320).all() and (sagittal[..., 0] == 320).all()
    np.testing.assert_array_equal(sagittal[..., 1], patch[32, :, :1, 1].repeat(64, axis=1))
    centres = np.clip((np.arange(64) + 0.5) / 2 - 0.5, 0, 31) * 10
    for plane in (coronal, sagittal):
        np.testing.assert_allclose(plane[5, :, 2], centres, atol=0.5)


@pytest.mark.parametrize('sides', [(40, 32, 5), (32, 24, 3)])
@pytest.mark.parametrize('view', ['slices', 'adjacent'])
def test_slices_of_a_volume_are_put_together(view, sides, rng):
    """A predict that tells of the place and the neighbours it saw gives each slice its own."""
    volume = rng.random((*sides, 1)).astype(np.float32)
    seen = []

    def predict(batch):
        seen.append(batch.shape)
        return batch  # all channels: slices and neighbours

    predict, window = views.over_slices(predict, (32, 32))
    seen_as = views.channels(volume, view)
    found = sliding_window(predict, seen_as, window=window, overlap=0.5, batch_size=4)
    np.testing.assert_allclose(found, seen_as, atol=1e-6)
    assert set(seen) == {(4, 32, 32, seen_as.shape[-1])}
