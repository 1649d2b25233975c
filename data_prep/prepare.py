"""Scans to a dataset: sample every scan's cubes in parallel, write them, sum up."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from data_prep.cubes import CubeRule, Cubes, sample_cubes
from data_prep.errors import PrepareError
from data_prep.identity import Owners
from data_prep.integrity import ScanError
from data_prep.pool import in_order
from data_prep.records import SPLITS, SplitsWriter, dataset_folder, features, staged
from data_prep.summary import Summary, remark
from data_prep.volumes import Modality, Scan, read_volume
from genesis_jax.interruption import Interruption

KILLED = 'killed its worker process (out of memory?); use fewer --workers'


@dataclass(frozen=True)
class Entry:
    """A scan and where its cubes go.

    Attributes:
      split: train or validation; a scan of any other gives no cubes, and is read for nothing but to
        keep its copies out of those two.
      fold: what the records say.
      patient: whose it is; empty: every scan is a patient of its own.
    """

    scan: Scan
    split: str
    fold: int
    patient: str = ''


class Rule(Protocol):
    """How every scan is turned into records: a dataclass, which the metadata hold."""

    seed: int  # of all draws

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a record: X, Y, Z, C, or in 2D X, Y, C."""

    def new_summary(self) -> Summary:
        """An empty one, in the terms of these scans."""

    def sample(self, scan: Scan) -> 'Sampled':
        """Reads one scan and cuts its records; ScanError says why it cannot be used."""


@dataclass(frozen=True)
class Recipe:
    """Cubes of scans, by the paper's rule.

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

    @property
    def shape(self) -> tuple[int, ...]:
        """X, Y, Z, C."""
        return (*self.rule.size, 1)

    def new_summary(self) -> Summary:
        """Counts of cubes."""
        config = 'genesis_ct' if self.modality == 'ct' else 'genesis_mri'
        return Summary(self.rule.per_scan, config=config)

    def sample(self, scan: Scan) -> 'Sampled':
        """The cubes of one scan."""
        rng = generator(self.seed, scan.scan_id)
        volume = read_volume(scan, self.modality, self.spacing)
        cubes = sample_cubes(rng, volume.voxels, self.rule.at_window(volume.window))
        voxels = volume.clean(cubes.voxels)[..., None]
        return Sampled(replace(cubes, voxels=voxels), volume.spacing, volume.window)


@dataclass(frozen=True)
class Sampled:
    """One scan's cubes with what their records need, or the reason why there are none.

    The voxels of the cubes have channels: int16 [N, X, Y, Z, C], in 2D [N, X, Y, C].
    """

    cubes: Cubes | None = None
    spacing: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    reason: str = ''
    identity: bytes = b''  # the same for images of the same pixels, see data_prep/identity.py
    remark: str = ''  # on what is probably not meant; continues the name of several


def prepare(
    entries: Sequence[Entry],
    *,
    name: str,
    data_dir: Path,
    recipe: Rule,
    notes: Sequence[str] = (),
    workers: int | None = None,
) -> Summary:
    """Prepares the dataset `data_dir/name`; unusable scans are skipped and listed in the summary.

    Nothing is written if that leaves a split without records. The dataset depends on the scans,
    their ids and the recipe, not on the order of the entries or the number of workers (default: one
    per core; 1 works in this process, more need a main module that Python can import again). An
    image that two patients have is kept once. The `notes` go into the summary: lines on what was
    left out beforehand.

    Raises:
      PrepareError: the dataset exists, a split has no scans, or two scans share an id.
      KeyboardInterrupt: the process was told to stop (SIGTERM, Ctrl-C); nothing was written.
    """
    _check_start(entries, name, data_dir)
    entries = sorted(  # those that only keep copies out come first
        entries, key=lambda e: (e.split in SPLITS, digest(recipe.seed, e.scan.scan_id))
    )
    summary = recipe.new_summary()
    summary.notes += notes
    *size, channels = recipe.shape
    work = partial(sample_scan, recipe=recipe)
    results = in_order(work, [e.scan for e in entries], workers or os.cpu_count() or 1)
    interruption, owners = Interruption(), Owners()
    bar = tqdm(results, desc='scans', total=len(entries), unit='scan', disable=None)
    with staged(data_dir, [name]) as stage, interruption, closing(results), bar:
        writer = SplitsWriter(stage, name, features(size, channels))
        for entry, sampled in until_told(zip(entries, bar, strict=True), interruption):
            sampled = _unless_copy(entry, sampled or Sampled(reason=KILLED), owners)
            if entry.split in SPLITS:
                writer.add(entry.split, _examples(entry, sampled, summary))
        if summary.lacking:
            writer.discard()
        else:
            writer.close({'recipe': asdict(recipe), 'summary': asdict(summary)})
    return summary


def until_told(pairs: Iterator[tuple], interruption: Interruption) -> Iterator[tuple]:
    """The pairs until the process is told to stop: between scans, where nothing swallows it."""
    for pair in pairs:
        if interruption.signal is not None:
            raise KeyboardInterrupt
        yield pair


def sample_scan(scan: Scan, recipe: Rule) -> Sampled:
    """Reads one scan and cuts its cubes: what a worker does."""
    try:
        return recipe.sample(scan)
    except Exception as error:  # whatever one scan does to a library, the others are prepared
        return Sampled(reason=reason_of(error))


def reason_of(error: Exception) -> str:
    """Why a scan was skipped: a clause that continues its name."""
    if isinstance(error, ScanError):
        return str(error)
    if isinstance(error, MemoryError):
        return 'needs more memory than there is; use fewer --workers'
    words = ' '.join(str(error).split())
    return f'failed unexpectedly ({type(error).__name__}: {words})'


def validating(patients: Iterable[str], share: float, seed: int) -> set[str]:
    """The patients (or scans) that validate: this share of them, at least one and not all."""
    ranked = sorted(set(patients), key=lambda patient: digest(seed, f'split {patient}'))
    return set(ranked[: min(max(1, round(share * len(ranked))), len(ranked) - 1)])


def digest(seed: int, text: str) -> bytes:
    """A hash that is the same on every machine, for draws and orders that depend on an id."""
    return hashlib.sha256(f'{seed} {text}'.encode()).digest()


def generator(seed: int, text: str) -> np.random.Generator:
    """Random draws that depend on the seed and an id only."""
    return np.random.default_rng(int.from_bytes(digest(seed, text)))


def _unless_copy(entry: Entry, sampled: Sampled, owners: Owners) -> Sampled:
    """What was sampled, or why not if an image of another patient, read before, is the same."""
    patient = entry.patient or entry.scan.scan_id
    other = owners.find_other(sampled.identity, patient, entry.scan.shown)
    return Sampled(reason=same_image(*other)) if other else sampled


def same_image(patient: str, shown: str) -> str:
    """Why a copy of an image of another patient is skipped: a clause that continues its name."""
    return f'holds the same image as {shown}, of patient {patient}'


def _examples(entry: Entry, sampled: Sampled, summary: Summary) -> list[dict[str, Any]]:
    """The records of one scan, which the summary counts."""
    if sampled.cubes is None:
        summary.skip(entry.scan, sampled.reason)
        return []
    summary.count(entry.split, entry.fold, entry.scan.scan_id, sampled.cubes)
    remark(summary.remarks, sampled.remark)
    return [
        {
            'cube': voxels,
            'scan_id': entry.scan.scan_id,
            'origin': origin,
            'spacing': np.array(sampled.spacing, np.float32),
            'fold': entry.fold,
            'window': np.array(sampled.window, np.float32),
        }
        for voxels, origin in zip(sampled.cubes.voxels, sampled.cubes.origins, strict=True)
    ]


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
