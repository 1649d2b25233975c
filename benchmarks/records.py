"""A dataset of cubes on disk, in the project's own format, for benchmarks.data."""

import tensorflow_datasets as tfds

from data_prep.records import SplitsWriter, dataset_folder, features
from genesis_jax import data

_NAME = 'benchmark'


def batches(folder, cubes, batch_size):
    """Writes cubes, int16 `[N, X, Y, Z, 1]`, and returns the iterator that a training reads."""
    writer = SplitsWriter(folder, _NAME, features(cubes.shape[1:-1]))
    about = {'origin': [0, 0, 0], 'spacing': [1.0, 1.0, 1.0], 'fold': 0, 'window': [-1000, 1000]}
    examples = [{'cube': cube, 'scan_id': str(i), **about} for i, cube in enumerate(cubes)]
    writer.add('train', examples)
    writer.close({})
    source = tfds.builder_from_directory(dataset_folder(folder, _NAME)).as_data_source('train')
    return data.train_batches(source, batch_size, seed=0)
