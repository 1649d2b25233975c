"""A dataset of cubes on disk, in the project's own format, for benchmarks.data."""

import tensorflow_datasets as tfds

from data_prep.build.records import SplitsWriter, dataset_folder, features
from genesis_jax.data import reading

_NAME = 'benchmark'


def write(folder, cubes):
    """Writes cubes, int16 `[N, X, Y, Z, 1]`, and returns the source that a training reads."""
    writer = SplitsWriter(folder, _NAME, features(cubes.shape[1:-1]))
    about = {'origin': [0, 0, 0], 'spacing': [1.0, 1.0, 1.0], 'fold': 0, 'window': [(-1000, 1000)]}
    examples = [
        {'cube': cube, 'scan_id': str(i), 'patient': str(i), **about}
        for i, cube in enumerate(cubes)
    ]
    writer.add('train', examples)
    writer.close({})
    return tfds.builder_from_directory(dataset_folder(folder, _NAME)).as_data_source('train')


def batches(source, batch_size):
    """A new iterator over its batches, as a training has."""
    return reading.train_batches(source, batch_size, seed=0)
