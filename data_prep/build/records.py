"""Datasets on disk: TFDS features and the writer. Works without TensorFlow and network.

TFDS shuffles through TensorFlow as soon as a split passes 1 GB, so the records are written in the
order given; readers shuffle, which ArrayRecord's random access makes free.
"""

import math
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from genesis_jax.errors import PrepareError

VERSION = '1.0.0'
SHARD_BYTES = 128 << 20  # of cubes in a file


def features(cube_size: Sequence[int], channels: int = 1) -> tfds.features.FeaturesDict:
    """One record: [X, Y, Z, C], or [X, Y, C] in 2D, in the scan's unit, and where it comes from."""
    # 'bytes': TFDS would store plain integers as varints, ten bytes for every negative HU
    cube = tfds.features.Tensor(shape=(*cube_size, channels), dtype=np.int16, encoding='bytes')
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
    cube_size: Sequence[int | None], channels: int, task: str, classes: int
) -> tfds.features.FeaturesDict:
    """One labelled record: [X, Y, Z, C], or [X, Y, C] in 2D, with its answer; None: any side.

    The answer is a class, a mask of classes, or of several labels 0 or 1 for each class.
    """
    tensor, text = tfds.features.Tensor, tfds.features.Text()
    if task == 'classification':
        answer = {'label': tfds.features.Scalar(dtype=np.int64)}
    elif task == 'multilabel':
        answer = {'label': tensor(shape=(classes,), dtype=np.int64)}
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


@contextmanager
def staged(data_dir: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to write these datasets in, which move to `data_dir` at the end; the first one last.

    Whatever stops the writing before, `data_dir` holds nothing that looks like a dataset.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.incomplete_', dir=data_dir) as stage:
        yield Path(stage)
        for name in reversed(names):
            made = dataset_folder(Path(stage), name)
            if made.exists():
                place = dataset_folder(data_dir, name)
                place.parent.mkdir(exist_ok=True)
                made.rename(place)


class SplitsWriter:
    """Writes a dataset's splits side by side, whose lengths nobody knows beforehand.

    Records are read back in the order in which they were added to their split. Without a record
    there is no dataset, and without one of a split no such split, on which readers would fail.

    Args:
      data_dir: the dataset is written to `data_dir/name/1.0.0`; see `staged`.
      features: of a record; where sides are None, every record gets a file of its own.
    """

    def __init__(self, data_dir: Path, name: str, features: tfds.features.FeaturesDict):
        self._folder = dataset_folder(data_dir, name)
        self._name = name
        self._features = features
        self._info = self._writer = None
        self._splits = set()

    def add(self, split: str, examples: Sequence[dict[str, Any]]) -> None:
        """Appends examples to a split."""
        if not examples:
            return
        if self._writer is None:
            self._open()
        if split not in self._splits:
            self._writer.initialize_splits([split])
            self._splits.add(split)
        self._writer.add_examples({split: examples})

    def close(self, metadata: Mapping[str, Any]) -> None:
        """Completes the dataset; the metadata goes into its metadata.json."""
        if self._writer is not None:
            self._info.metadata.update(metadata)
            self._writer.close_all()

    def discard(self) -> None:
        """Instead of `close`: leaves no dataset."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        self._folder.mkdir(parents=True)
        identity = tfds.core.DatasetIdentity(
            name=self._name,
            version=tfds.core.Version(VERSION),
            data_dir=str(self._folder),
            module_name=__name__,
        )
        self._info = tfds.core.DatasetInfo(
            builder=identity,
            features=self._features,
            description='Parts of scans, or images, in their own unit.',
            metadata=tfds.core.MetadataDict(),
        )
        sides = self._features['cube'].shape
        per_shard = 1 if None in sides else max(1, SHARD_BYTES // (2 * math.prod(sides)))
        self._writer = tfds.core.SequentialWriter(self._info, per_shard, file_format='array_record')


def check_name(name: str) -> None:
    """Refuses a dataset name that would mean something else to TFDS."""
    if not re.fullmatch('[a-zA-Z][a-zA-Z0-9_]*', name):
        raise PrepareError(
            f'the dataset name {name!r} must start with a letter and hold only letters, digits, _'
        )


def check_absent(
    data_dir: Path, name: str, way_out: str = 'choose another --name or --data_dir'
) -> None:
    """Refuses to write where a dataset already is."""
    folder = dataset_folder(data_dir, name)
    if folder.exists():
        raise PrepareError(f'the dataset {folder} already exists; delete that folder or {way_out}')


def check_ids(scan_ids: Iterable[str]) -> None:
    """Refuses ids that are not unique."""
    for scan_id, count in Counter(scan_ids).items():
        if count > 1:
            raise PrepareError(f'{count} scans have the id {scan_id!r}; keep one of them')
