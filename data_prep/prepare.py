"""Scans to a dataset: sample every scan's cubes in parallel, write them, sum up."""

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_prep.cubes import CubeRule, Cubes, sample_cubes
from data_prep.integrity import ScanError
from data_prep.pool import in_order
from data_prep.records import (
    SHARD_BYTES,
    SPLITS,
    NoExamplesError,
    dataset_folder,
    write_dataset,
)
from data_prep.summary import Summary
from data_prep.volumes import Modality, Scan, read_volume
from genesis_jax.interruption import Interruption

_SHARD_BYTES = SHARD_BYTES  # TFDS holds one shard in memory while it writes
KILLED = 'killed its worker process (out of memory?); use fewer --workers'


class PrepareError(ValueError):
    """The preparation cannot start; the message is one sentence for the user."""


@dataclass(frozen=True)
class Entry:
    """A scan and where its cubes go."""

    scan: Scan
    split: str
    fold: int


@dataclass(frozen=True)
class Recipe:
    """How every scan is turned into cubes.

    Attributes:
      modality: decides unit, window and padding.
      rule: which cubes to take.
      spacing: mm along x, y, z to resample to; None keeps every scan's own.
      seed: of all draws.
    """

    modality: Modality
    rule: CubeRule
    spacing: tuple[float, float, float] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Sampled:
    """One scan's cubes with what their records need, or the reason why there are none."""

    cubes: Cubes | None = None
    spacing: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    reason: str = ''


def prepare(
    entries: Sequence[Entry],
    *,
    name: str,
    data_dir: Path,
    recipe: Recipe,
    workers: int | None = None,
) -> Summary:
    """Prepares the dataset `data_dir/name`; unusable scans are skipped and listed in the summary.

    The dataset depends on the scans, their ids and the recipe, not on the order of the entries
    or the number of workers (default: one per core; 1 works in this process, more need a main
    module that Python can import again).

    Raises:
      PrepareError: the dataset exists, a split has no scans, or two scans share an id.
      KeyboardInterrupt: the process was told to stop (SIGTERM, Ctrl-C); nothing was written.
    """
    _check_start(entries, name, data_dir)
    entries = sorted(entries, key=lambda entry: digest(recipe.seed, entry.scan.scan_id))
    by_split = {split: [e for e in entries if e.split == split] for split in SPLITS}
    ordered = [entry for split in SPLITS for entry in by_split[split]]
    summary = Summary(recipe.rule.per_scan)
    work = partial(sample_scan, recipe=recipe)
    results = in_order(work, [e.scan for e in ordered], workers or os.cpu_count() or 1)
    bar = tqdm(results, desc='scans', total=len(ordered), unit='scan', disable=None)
    interruption = Interruption()
    pairs = until_told(zip(ordered, bar, strict=True), interruption)
    per_shard = max(1, _SHARD_BYTES // (2 * recipe.rule.per_scan * math.prod(recipe.rule.size)))
    shards = {
        split: [
            partial(_examples, pairs, min(per_shard, len(scans) - first), summary)
            for first in range(0, len(scans), per_shard)
        ]
        for split, scans in by_split.items()
    }
    try:
        with interruption:
            write_dataset(
                name=name,
                data_dir=data_dir,
                cube_size=recipe.rule.size,
                shards=shards,
                metadata=lambda: {'recipe': asdict(recipe), 'summary': asdict(summary)},
            )
    except NoExamplesError:
        pass  # the empty summary says so
    finally:
        bar.close()
        results.close()
    return summary


def until_told(pairs: Iterator[tuple], interruption: Interruption) -> Iterator[tuple]:
    """The pairs until the process is told to stop: between scans, where nothing swallows it."""
    for pair in pairs:
        if interruption.signal is not None:
            raise KeyboardInterrupt
        yield pair


def sample_scan(scan: Scan, recipe: Recipe) -> Sampled:
    """Reads one scan and cuts its cubes: what a worker does."""
    rng = generator(recipe.seed, scan.scan_id)
    try:
        volume = read_volume(scan, recipe.modality, recipe.spacing)
        cubes = sample_cubes(rng, volume.voxels, recipe.rule.at_window(volume.window))
    except Exception as error:  # whatever one scan does to a library, the others are prepared
        return Sampled(reason=reason_of(error))
    cleaned = Cubes(**{**vars(cubes), 'voxels': volume.clean(cubes.voxels)})
    return Sampled(cleaned, volume.spacing, volume.window)


def reason_of(error: Exception) -> str:
    """Why a scan was skipped: a clause that continues its name."""
    if isinstance(error, ScanError):
        return str(error)
    if isinstance(error, MemoryError):
        return 'needs more memory than there is; use fewer --workers'
    words = ' '.join(str(error).split())
    return f'failed unexpectedly ({type(error).__name__}: {words})'


def digest(seed: int, text: str) -> bytes:
    """A hash that is the same on every machine, for draws and orders that depend on an id."""
    return hashlib.sha256(f'{seed} {text}'.encode()).digest()


def generator(seed: int, text: str) -> np.random.Generator:
    """Random draws that depend on the seed and an id only."""
    return np.random.default_rng(int.from_bytes(digest(seed, text)))


def _examples(
    pairs: Iterator[tuple[Entry, Sampled | None]], count: int, summary: Summary
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of the next `count` scans."""
    for entry, sampled in islice(pairs, count):
        scan_id = entry.scan.scan_id
        if sampled is None:
            summary.skip(entry.scan, KILLED)
            continue
        if sampled.cubes is None:
            summary.skip(entry.scan, sampled.reason)
            continue
        summary.count(entry.split, scan_id, sampled.cubes)
        for number, voxels in enumerate(sampled.cubes.voxels):
            yield (
                f'{scan_id} {number}',
                {
                    'cube': voxels[..., None],
                    'scan_id': scan_id,
                    'origin': sampled.cubes.origins[number],
                    'spacing': np.array(sampled.spacing, np.float32),
                    'fold': entry.fold,
                    'window': np.array(sampled.window, np.float32),
                },
            )


def _check_start(entries: Sequence[Entry], name: str, data_dir: Path) -> None:
    check_name(name)
    check_absent(data_dir, name)
    check_ids(entry.scan.scan_id for entry in entries)
    for split in SPLITS:
        if not any(entry.split == split for entry in entries):
            raise PrepareError(f'no scan is left for the {split} split; add scans')


def check_name(name: str) -> None:
    """Refuses a dataset name that would mean something else to TFDS."""
    if not re.fullmatch('[a-zA-Z][a-zA-Z0-9_]*', name):
        raise PrepareError(
            f'the dataset name {name!r} must start with a letter and hold only letters, digits, _'
        )


def check_absent(data_dir: Path, name: str) -> None:
    """Refuses to write where a dataset already is."""
    folder = dataset_folder(data_dir, name)
    if folder.exists():
        raise PrepareError(
            f'the dataset {folder} already exists; delete that folder or choose another --name or '
            '--data_dir'
        )


def check_ids(scan_ids: Iterable[str]) -> None:
    """Refuses ids that are not unique."""
    for scan_id, count in Counter(scan_ids).items():
        if count > 1:
            raise PrepareError(f'{count} scans have the id {scan_id!r}; keep one of them')
