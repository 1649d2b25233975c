"""Datasets on disk: TFDS features and the writers. Works without TensorFlow and network.

TFDS shuffles through TensorFlow as soon as a split passes 1 GB, so the records are written shard
by shard, in the order given; readers shuffle, which ArrayRecord's random access makes free.
"""

import contextlib
import io
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

VERSION = '1.0.0'
SPLITS = ('train', 'validation')
SHARD_BYTES = 128 << 20  # of cubes
Shard = Callable[[], Iterator[tuple[str, dict[str, Any]]]]


class NoExamplesError(ValueError):
    """No split received a single example, so no dataset was written."""


def features(cube_size: Sequence[int]) -> tfds.features.FeaturesDict:
    """One record: a cube [X, Y, Z, 1] in the scan's unit, and where it comes from."""
    # 'bytes': TFDS would store plain integers as varints, ten bytes for every negative HU
    cube = tfds.features.Tensor(shape=(*cube_size, 1), dtype=np.int16, encoding='bytes')
    return tfds.features.FeaturesDict(
        {
            'cube': cube,
            'scan_id': tfds.features.Text(),
            'origin': tfds.features.Tensor(shape=(3,), dtype=np.int32),  # voxels, LPS volume
            'spacing': tfds.features.Tensor(shape=(3,), dtype=np.float32),  # mm
            'fold': tfds.features.Scalar(dtype=np.int32),
            'window': tfds.features.Tensor(shape=(2,), dtype=np.float32),  # become 0 and 1
        }
    )


def labelled_features(
    cube_size: Sequence[int | None], channels: int, task: str
) -> tfds.features.FeaturesDict:
    """One labelled record: a cube [X, Y, Z, C] with a class or a mask; None: any side."""
    tensor, text = tfds.features.Tensor, tfds.features.Text()
    if task == 'classification':
        answer = {'label': tfds.features.Scalar(dtype=np.int64)}
    else:
        answer = {'mask': tensor(shape=tuple(cube_size), dtype=np.uint8, encoding='bytes')}
    return tfds.features.FeaturesDict(
        answer
        | {
            'cube': tensor(shape=(*cube_size, channels), dtype=np.int16, encoding='bytes'),
            'window': tensor(shape=(channels, 2), dtype=np.float32),  # become 0 and 1
            'scan_id': text,
            'patient': text,
            'origin': tensor(shape=(3,), dtype=np.int32),  # voxels, scan as prepared
            'spacing': tensor(shape=(3,), dtype=np.float32),  # mm
            'fold': tfds.features.Scalar(dtype=np.int32),
        }
    )


def dataset_folder(data_dir: Path, name: str) -> Path:
    """Where a dataset lies: what `tfds.builder_from_directory` takes."""
    return data_dir / name / VERSION


def write_dataset(
    *,
    name: str,
    data_dir: Path,
    cube_size: Sequence[int],
    shards: Mapping[str, Sequence[Shard]],
    metadata: Callable[[], dict[str, Any]],
) -> None:
    """Writes every split's shards, or nothing: the folder gets its name when all is written.

    Args:
      name: of the dataset.
      data_dir: holds all datasets.
      cube_size: voxels along x, y, z.
      shards: by split, functions that yield the (key, example) pairs of one file each.
      metadata: called when the last shard is written; goes into the dataset's metadata.json.

    Raises:
      NoExamplesError: no shard yielded anything.
    """
    builder = _CubeDataset(
        name=name, data_dir=data_dir, cube_size=cube_size, shards=shards, metadata=metadata
    )
    offline = tfds.download.DownloadConfig(try_download_gcs=False)
    # TFDS makes a folder for downloads and prints their size, though there are none
    with tempfile.TemporaryDirectory() as downloads, contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=downloads, download_config=offline)


class _CubeDataset(tfds.core.ShardBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version(VERSION)

    def __init__(self, *, name, data_dir, cube_size, shards, metadata):
        self.name = name
        self._cube_size = cube_size
        self._shards = shards
        self._metadata = metadata
        super().__init__(data_dir=data_dir, file_format='array_record')

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description='Cubes of 3D scans in their own unit, for self-supervised pre-training.',
            features=features(self._cube_size),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        raise NotImplementedError('shards are given ready-made')

    def _shard_iterators_per_split(self, dl_manager):
        return self._shards

    def _download_and_prepare(self, dl_manager, download_config=None):
        super()._download_and_prepare(dl_manager, download_config)
        filled = [split for split in self.info.splits.values() if split.num_examples]
        if not filled:
            raise NoExamplesError('no split has an example')
        # readers fail on a split of no examples with an error about paths
        self.info.set_splits(tfds.core.splits.SplitDict(filled))
        self.info.metadata.update(self._metadata())


class SplitsWriter:
    """Writes a dataset's splits side by side, whose lengths nobody knows beforehand.

    Records are read back in the order in which they were added to their split. What is written
    is a dataset only after `close`, and should be written elsewhere and moved into its place then.

    Args:
      data_dir: the dataset is written to `data_dir/name/1.0.0`.
      features: with sides of None, every record gets a file of its own.
    """

    def __init__(self, data_dir: Path, name: str, features: tfds.features.FeaturesDict):
        folder = dataset_folder(data_dir, name)
        folder.mkdir(parents=True)
        identity = tfds.core.DatasetIdentity(
            name=name,
            version=tfds.core.Version(VERSION),
            data_dir=str(folder),
            module_name=__name__,
        )
        self._info = tfds.core.DatasetInfo(
            builder=identity,
            features=features,
            description='Labelled parts of 3D scans in their own unit.',
            metadata=tfds.core.MetadataDict(),
        )
        sides = features['cube'].shape
        per_shard = 1 if None in sides else max(1, SHARD_BYTES // (2 * math.prod(sides)))
        self._writer = tfds.core.SequentialWriter(self._info, per_shard, file_format='array_record')
        self._splits = set()

    def add(self, split: str, examples: Sequence[dict[str, Any]]) -> None:
        """Appends examples to a split, which comes into being with its first one."""
        if split not in self._splits and examples:
            self._writer.initialize_splits([split])
            self._splits.add(split)
        if examples:
            self._writer.add_examples({split: examples})

    def close(self, metadata: Mapping[str, Any]) -> None:
        """Completes the dataset; the metadata goes into its metadata.json."""
        self._info.metadata.update(metadata)
        self._writer.close_all()
