"""Batches: the same examples with the same randomness, however they are shared out."""

import numpy as np
import pytest

from genesis_jax.data import reading
from genesis_jax.errors import UserError
from genesis_jax.transforms.window import normalise


@pytest.fixture
def splits(make_config):
    return reading.open_splits(make_config())


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def by_position(batches):
    """Patches of batches, by the place of an example in its global batch."""
    return {
        int(p): c.tobytes() for b in batches for p, c in zip(b['position'], b['cube'], strict=True)
    }


def test_splits_hold_what_was_prepared(splits):
    train, validation, shape = splits
    assert (len(train), len(validation)) == (12, 4)
    assert shape == (24, 24, 8, 1)
    scans = {record['scan_id'] for record in train}, {record['scan_id'] for record in validation}
    assert len(scans[0]) == 3 and len(scans[1]) == 1 and not scans[0] & scans[1]


def test_an_epoch_shows_every_cube_once_and_the_next_in_another_order(splits):
    first, second = (take(it, 3) for it in [reading.train_batches(splits[0], 4, seed=0)] * 2)
    patches = [[c.tobytes() for b in epoch for c in b['cube']] for epoch in (first, second)]
    assert set(patches[0]) == set(patches[1]) == {record['cube'].tobytes() for record in splits[0]}
    assert patches[0] != patches[1]
    assert (
        first[0]['cube'].dtype == np.int16 and first[0]['window'].tolist() == [[[-1000, 1000]]] * 4
    )


def test_processes_share_the_global_batch(splits):
    alone = take(reading.train_batches(splits[0], 4, seed=3, process=0, processes=1), 7)
    shared = [take(reading.train_batches(splits[0], 4, 3, process, 2), 7) for process in range(2)]
    for i, whole in enumerate(alone):
        parts = [batches[i] for batches in shared]
        assert [len(part['cube']) for part in parts] == [2, 2]
        assert by_position(parts) == by_position([whole])
        assert sorted(by_position(parts)) == [0, 1, 2, 3]


def test_an_iterator_resumes_where_it_was(splits):
    batches = reading.train_batches(splits[0], 4, seed=0)
    take(batches, 2)
    position = batches.get_state()
    expected = take(batches, 4)
    resumed = reading.train_batches(splits[0], 4, seed=0)
    resumed.set_state(position)
    for a, b in zip(expected, take(resumed, 4), strict=True):
        np.testing.assert_array_equal(a['cube'], b['cube'])


@pytest.mark.parametrize('processes', [1, 2])
def test_validation_shows_every_cube_once_in_order(splits, processes):
    train = splits[0]  # 12 patches in batches of 8: four of padding
    batches = [
        b for p in range(processes) for b in reading.validation_batches(train, 8, p, processes)
    ]
    assert sum(len(b['cube']) for b in batches) == 16
    counted = {}
    for batch in batches:
        for patch, position, weight in zip(
            batch['cube'], batch['position'], batch['weight'], strict=True
        ):
            if weight:
                counted[int(position)] = patch
    assert sorted(counted) == list(range(12))
    for position, patch in counted.items():
        np.testing.assert_array_equal(patch, train[position]['cube'])


def test_the_window_becomes_zero_to_one():
    batch = {
        'cube': np.array([[[-2000, -1000]], [[0, 500]]], np.int16)[..., None],
        'window': np.array([[-1000, 1000], [0, 1000]], np.float32),
    }
    np.testing.assert_allclose(normalise(batch)[..., 0], [[[0, 0]], [[0, 0.5]]])
    np.testing.assert_allclose(normalise(batch, (-2000, 0))[..., 0], [[[0, 0.5]], [[1, 1]]])


def test_a_dataset_without_validation_is_refused(make_config, tmp_path):
    import tensorflow_datasets as tfds

    from data_prep.build import records

    config = make_config()
    record = next(iter(reading.open_splits(config)[0]))
    record = {**record, 'scan_id': 'a', 'patient': 'a'}
    writer = records.SplitsWriter(tmp_path, 'half', records.features((24, 24, 8)))
    writer.add('train', [record])
    writer.close({})
    assert list(tfds.builder_from_directory(tmp_path / 'half' / '1.0.0').info.splits) == ['train']
    config.data.update({'dir': str(tmp_path), 'name': 'half'})
    with pytest.raises(UserError, match="no split 'validation'.*prepare it again"):
        reading.open_splits(config)


def test_a_dataset_of_the_first_schema_reads_as_one_of_today(make_config, splits, tmp_path):
    """Its window was `[2]` and its records named no patient."""
    import tensorflow_datasets as tfds

    from data_prep.build import records

    tensor = tfds.features.Tensor
    first = dict(records.features((24, 24, 8)).items()) | {
        'window': tensor(shape=(2,), dtype=np.float32)
    }
    del first['patient']
    writer = records.SplitsWriter(tmp_path, 'old', tfds.features.FeaturesDict(first))
    for split, source in zip(('train', 'validation'), splits, strict=False):
        old = [record | {'window': record['window'][0], 'scan_id': 'a'} for record in source]
        writer.add(split, [{name: record[name] for name in first} for record in old])
    writer.close({'recipe': {'modality': 'ct', 'spacing': None}})
    config = make_config(data__dir=str(tmp_path), data__name='old')
    train, validation, _ = reading.open_splits(config)
    assert 'patient' not in train[0] and train[0]['window'].shape == (2,)
    for old, new in ((train, splits[0]), (validation, splits[1])):
        assert len(old) == len(new)
        given, expected = (next(reading.validation_batches(source, 4)) for source in (old, new))
        for name, values in expected.items():
            np.testing.assert_array_equal(given[name], values)
    assert reading.provenance(config.data) == {'modality': 'ct', 'spacing': None}


def test_a_labelled_dataset_is_no_pretraining(make_config, balls):
    config = make_config(data__dir=str(balls), data__name='cls')
    with pytest.raises(
        UserError, match="'cls' in .* is for classification and config.task is rest"
    ):
        reading.open_splits(config)


@pytest.mark.parametrize(
    ('counts', 'count', 'places'),
    [
        ((5, 1, 9, 4), 4, [2, 5, 10, 17]),
        ((5, 1, 9, 4), 2, [2, 5]),
        ((8,), 4, [1, 3, 5, 7]),
        ((9, 3), 4, [2, 6, 9, 11]),
        ((1, 1), 4, [0, 1]),
        ((2,), 4, [0, 1]),
    ],
)
def test_pictures_are_of_different_scans(counts, count, places):
    source = [{'scan_id': b'%d' % scan} for scan, own in enumerate(counts) for _ in range(own)]
    assert reading.of_different_scans(source, count) == places
    nameless = [{} for _ in range(8)]
    assert reading.of_different_scans(nameless, 4) == [1, 3, 5, 7]


def test_few_records_are_read_to_find_different_scans():
    class Source(list):
        read = 0

        def __getitem__(self, place):
            Source.read += 1
            return super().__getitem__(place)

    records = [{'scan_id': b'%d' % (place // 1000)} for place in range(10_000)]
    assert reading.of_different_scans(Source(records), 4) == [500, 1500, 2500, 3500]
    assert Source.read < 80
