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
SHARD_BYTES = 128 << 20  # of patches in a file


def features(
    sides: Sequence[int | None],
    channels: int = 1,
    task: str | None = None,
    classes: int = 0,
    valid: bool = False,
) -> tfds.features.FeaturesDict:
    """One record: a patch [X, Y, Z, C], or [X, Y, C] in 2D, and where it comes from.

    A labelled one has its class, 0 or 1 for each of several labels, or a mask of classes.

    Args:
      sides: of a patch; None: any.
      valid: records say which voxels a loss is to look at.
    """
    tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
    labels = {
        'classification': {'label': scalar(dtype=np.int64)},
        'multilabel': {'label': tensor(shape=(classes,), dtype=np.int64)},
        'segmentation': {'mask': tensor(shape=tuple(sides), dtype=np.uint8, encoding='bytes')},
    }
    shown = {'valid': tensor(shape=(*sides, 1), dtype=np.uint8, encoding='bytes')}
    return tfds.features.FeaturesDict(
        labels.get(task or '', {})
        | (shown if valid else {})
        | {
            # 'bytes': TFDS would store integers as varints, ten bytes for every negative HU
            'cube': tensor(shape=(*sides, channels), dtype=np.int16, encoding='bytes'),
            'origin': tensor(shape=(3,), dtype=np.int32),  # voxels, scan as prepared
        }
        | _of_scan(channels)
    )


def scan_features(channels: int = 1) -> tfds.features.FeaturesDict:
    """One record of a scan that is stored whole, in the folder `volume` beside the records."""
    tensor = tfds.features.Tensor
    return tfds.features.FeaturesDict(
        {
            'volume': tfds.features.Text(),
            'origins': tensor(shape=(None, 3), dtype=np.int32),  # of the patches that are fixed
            'starts': tensor(shape=(None,), dtype=np.int64),  # along z, where a patch may start
        }
        | _of_scan(channels)
    )


def _of_scan(channels: int) -> dict[str, Any]:
    """What every record says of its scan."""
    tensor, text = tfds.features.Tensor, tfds.features.Text()
    return {
        'window': tensor(shape=(channels, 2), dtype=np.float32),  # become 0 and 1
        'scan_id': text,
        'patient': text,
        'spacing': tensor(shape=(3,), dtype=np.float32),  # mm
        'fold': tfds.features.Scalar(dtype=np.int32),
    }


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

    Attributes:
      records: by split, each patient and how many records of it follow each other.
    """

    def __init__(self, data_dir: Path, name: str, features: tfds.features.FeaturesDict) -> None:
        self._folder = dataset_folder(data_dir, name)
        self._name = name
        self._features = features
        self._info: Any = None
        self._writer: Any = None
        self.records: dict[str, list[list]] = {}

    def add(self, split: str, records: Sequence[dict[str, Any]]) -> None:
        """Appends records to a split."""
        if not records:
            return
        if self._writer is None:
            self._open()
        if split not in self.records:
            self._writer.initialize_splits([split])
            self.records[split] = []
        self._writer.add_examples({split: records})
        rows = self.records[split]
        for record in records:
            patient = record.get('patient')
            if not rows or rows[-1][0] != patient:
                rows.append([patient, 0])
            rows[-1][1] += 1

    def close(self, metadata: Mapping[str, Any] | None) -> None:
        """Completes the dataset with this in its metadata.json; None leaves no dataset."""
        if metadata is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        elif self._writer is not None:
            self._info.metadata.update(metadata, records=self.records)
            self._writer.close_all()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)  # scans may be stored in it
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
        sides = self._features['cube'].shape if 'cube' in self._features else ()
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
