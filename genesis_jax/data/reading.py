"""From prepared patches on disk to host batches, the same whatever the number of processes.

A batch is a dict of arrays: `cube` int16 `[B, X, Y, Z, C]` (2D: `[B, X, Y, C]`) in the scan's unit,
`window` float32 `[B, C, 2]` (the values that become 0 and 1; of older datasets one for all
channels, `[B, 1, 2]`), `position` int32 `[B]` (which draws of randomness an example gets), in
validation `weight` float32 `[B]` (0 for padding), and what is labelled: `label` int64 `[B]` (of
several findings `[B, n]`, 0 or 1) or `mask` uint8 `[B, X, Y, Z]`. Where parts of scans were left
out, `valid` uint8 `[B, X, Y, Z, 1]` (2D: `[B, X, Y, C]`) is 0 there.
"""

import bisect
import itertools
import os
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from genesis_jax.data import volumes
from genesis_jax.errors import UserError
from genesis_jax.paths import as_path

_BUFFERED = 8  # batches read ahead
_EPOCHS = 1_000_000  # as good as endless, where Grain's endless datasets overflow when sliced


def open_splits(config: ConfigDict) -> tuple[Any, Any, tuple[int, ...]]:
    """Opens the dataset that `config.data` (`dir`, `name`) names.

    Returns:
      `(train, validation, shape)`: random-access sources, and the shape of a record's `cube`. With
      `data.sampling` 'volumes' the first is a `volumes.DrawnPatches`.

    Raises:
      UserError: there is no such dataset, naming the command that prepares it, it is labelled for a
        target task, or it does not serve `data.sampling`.
    """
    data = config.data
    builder = open_dataset(data, *_of_others(config))
    folder = builder.data_path
    if task := (builder.info.metadata or {}).get('task'):
        raise UserError(
            f'the dataset {data.name!r} in {data.dir!r} is for {task} and config.task is '
            'restoration; choose another --config.data.name or --config'
        )
    missing = {'train', 'validation'} - set(builder.info.splits)
    if missing:
        raise UserError(
            f'{folder} has no split {sorted(missing)[0]!r}; expected train and validation: '
            'delete it and prepare it again, with another --seed or without scans that it skips'
        )
    features = builder.info.features
    if {'volume', 'window'} <= set(features):
        return volumes.open_splits(builder, data)
    if data.sampling == 'volumes':
        raise UserError(
            f"config.data.sampling='volumes' draws patches of whole scans and the dataset "
            f'{data.name!r} in {data.dir!r} holds fixed ones; prepare another with --volumes, or '
            "set 'patches'"
        )
    if not {'cube', 'window'} <= set(features):
        raise UserError(
            f'{folder} has records of {sorted(features)}; expected at least cube and '
            'window, as data_prep writes them: prepare it again'
        )
    sources = [builder.as_data_source(split) for split in ('train', 'validation')]
    return *sources, features['cube'].shape


def provenance(data: ConfigDict) -> dict[str, Any]:
    """What the dataset that `data` names says of its scans; what it does not say is left out."""
    builder = open_dataset(data, 'scans')
    about = builder.info.metadata or {}
    recipe, summary = about.get('recipe') or {}, about.get('summary') or {}
    known = {name: recipe[name] for name in ('modality', 'spacing') if name in recipe}
    return known | {name: summary[name] for name in ('scans', 'folds') if name in summary}


def open_dataset(data: ConfigDict, *commands: str, name: str | None = None) -> Any:
    """The TFDS builder of `data.name` (or `name`) in `data.dir`.

    Raises:
      UserError: there is no such dataset; names the command of data_prep that `data.prepare` says
        makes it, or else these.
    """
    import tensorflow_datasets as tfds

    name = name or data.name
    folder = find_dataset(data.dir, name)
    if folder is None:
        made, command = data.get('prepare') or ('', '')
        commands = (command,) if made == name else commands
        place = shlex.quote(f'--data_dir={data.dir}')
        raise UserError(
            f'there is no dataset {name!r} in {data.dir!r}; prepare it with: '
            + ', or '.join(f'python -m data_prep.{command} {place}' for command in commands)
        )
    return tfds.builder_from_directory(folder)


def find_dataset(folder: str | Path, name: str) -> Path | None:
    """The folder of a dataset's newest version, or None."""
    versions = as_path(folder).glob(f'{name}/*/dataset_info.json')
    return max((info.parent for info in versions), default=None)


def train_batches(
    source: Any,
    batch_size: int,
    seed: int,
    process: int | None = None,
    processes: int | None = None,
) -> Any:
    """An endless, resumable Grain iterator, shuffled anew every epoch.

    Over several processes it gives each the part of the global batch that is its own: `position`
    counts within the global batch, so examples draw the same randomness on any number of them. What
    a source draws anew in every epoch depends on the seed and on how many examples came before.
    """
    process, processes = _processes(process, processes)
    drawn = volumes.draws(source)
    places = grain.MapDataset.source(range(len(source)) if drawn else source)
    records = places.seed(seed).shuffle().repeat(_EPOCHS)
    if drawn:
        records = records.random_map(source.draw)
    dataset = records.map_with_index(lambda i, record: _example(record, i % batch_size))
    return iter(_read_ahead(dataset[process::processes].batch(batch_size // processes)))


def validation_batches(
    source: Any, batch_size: int, process: int | None = None, processes: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """All examples once, in order; `position` is the place in the split.

    The last batch is padded with the first examples at weight 0 (they still enter the statistics of
    a network with `batch_statistics='official'`).
    """
    process, processes = _processes(process, processes)
    padded = -(-len(source) // batch_size) * batch_size
    dataset = (
        grain.MapDataset.source(source)
        .repeat(_EPOCHS)
        .map_with_index(
            lambda i, record: _example(record, i) | {'weight': np.float32(i < len(source))}
        )[process:padded:processes]
    )
    return iter(_read_ahead(dataset.batch(batch_size // processes)))


def _of_others(config):
    """The preparations that make a dataset of any name for such a pre-training."""
    scans = f'--name={config.data.name} --modality=ct --source=SCANS'
    if config.dimensions == 3 or config.data.view is not None:
        return [f'scans {scans}']
    return [f'slices {scans}', f'images --name={config.data.name} --source=IMAGES']


def of_different_scans(source: Sequence[Any], count: int) -> list[int]:
    """Places of `count` records, or fewer, of as many different scans as the source has.

    Of the first scans, the middle records; several of each, evenly spread, if there are too few.
    Records of a scan are taken to be neighbours, so few are read; without `scan_id` in the records
    all count as of one scan.
    """
    starts = [0]  # of scans, and the end of the last
    while len(starts) <= count and starts[-1] < len(source):
        scan = _scan_of(source, starts[-1])
        rest = range(starts[-1], len(source))
        starts.append(starts[-1] + bisect.bisect(rest, False, key=partial(_differs, source, scan)))
    scans = list(itertools.pairwise(starts))
    shares = [len(part) for part in np.array_split(range(min(count, len(source))), len(scans))]
    places = {
        first + (2 * index + 1) * (end - first) // (2 * share)
        for (first, end), share in zip(scans, shares, strict=True)
        for index in range(share)
    }
    return sorted(places)


def _differs(source, scan, place):
    return _scan_of(source, place) != scan


def _scan_of(source, place):
    return source[place].get('scan_id')


def _example(record, position):
    labels = {name: record[name] for name in ('label', 'mask', 'valid') if name in record}
    return {
        'cube': record['cube'],
        'window': np.asarray(record['window'], np.float32).reshape(-1, 2),
        'position': np.int32(position),
        **labels,
    }


def _read_ahead(dataset):
    threads = min(_BUFFERED, os.cpu_count() or 1)
    return dataset.to_iter_dataset(grain.ReadOptions(threads, _BUFFERED))


def _processes(process, processes):
    if process is None:
        return jax.process_index(), jax.process_count()
    return process, processes
