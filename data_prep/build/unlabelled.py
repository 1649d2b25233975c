"""Scans to a dataset: sample every scan's cubes in parallel, write them, sum up."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from data_prep.build.duplicates import Owners, same_image
from data_prep.build.pool import KILLED, in_order, reason_of, stop_on_signal
from data_prep.build.records import (
    SplitsWriter,
    check_absent,
    check_ids,
    check_name,
    features,
    staged,
)
from data_prep.build.summary import Summary, remark
from data_prep.sampling.cubes import CubeRule, sample_cubes
from data_prep.splits.draws import digest, generator
from data_prep.types import SPLITS, Entry, Sampled
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.volumes import Modality, Scan, read_volume
from genesis_jax.interruption import Interruption


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
        for entry, sampled in stop_on_signal(zip(entries, bar, strict=True), interruption):
            sampled = _unless_copy(entry, sampled or Sampled(reason=KILLED), owners)
            if entry.split in SPLITS:
                writer.add(entry.split, _examples(entry, sampled, summary))
        if summary.missing_splits:
            writer.discard()
        else:
            writer.close({'recipe': asdict(recipe), 'summary': asdict(summary)})
    return summary


def sample_scan(scan: Scan, recipe: Rule) -> Sampled:
    """Reads one scan and cuts its cubes: what a worker does."""
    try:
        return recipe.sample(scan)
    except Exception as error:  # whatever one scan does to a library, the others are prepared
        return Sampled(reason=reason_of(error))


def _unless_copy(entry: Entry, sampled: Sampled, owners: Owners) -> Sampled:
    """What was sampled, or why not if an image of another patient, read before, is the same."""
    patient = entry.patient or entry.scan.scan_id
    other = owners.find_other(sampled.identity, patient, entry.scan.shown)
    return Sampled(reason=same_image(*other)) if other else sampled


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
