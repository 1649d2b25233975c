"""The driver of all preparations: scans to a dataset of patches, with or without labels.

A preparation lists its scans and says how one is read (`work`); the rest is here: processes, order,
records, metadata, the closing summary. Whole scans, for the evaluation, go to a second dataset
`NAME_cases` in the same pass. Both appear complete or not at all.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_prep.build.duplicates import Duplicates
from data_prep.build.pool import KILLED, in_order, reason_of, stop_on_signal
from data_prep.build.records import (
    SplitsWriter,
    check_absent,
    check_ids,
    check_name,
    dataset_folder,
    features,
    scan_features,
    staged,
)
from data_prep.build.summary import Summary
from data_prep.splits.draws import digest
from data_prep.types import SPLITS, Declaration, Job, Patch, Result
from genesis_jax.errors import PrepareError, ScanError, collected_remarks
from genesis_jax.interruption import Interruption

_RECORD_LIMIT = (1 << 31) - (1 << 20)  # bytes; a record is one protocol buffer


def prepare(
    jobs: Sequence[Job],
    work: Callable[..., Result],
    *,
    name: str,
    data_dir: Path,
    declaration: Declaration,
    size: Sequence[int],
    recipe: Mapping[str, Any],
    config: str | None = None,
    notes: Sequence[str] = (),
    parts: str = 'patches',
    sources: str = 'scans',
    per_scan: int = 1,
    valid: bool = False,
    volumes: bool = False,
    skip_duplicates: bool = False,
    table: str = '',
    workers: int | None = None,
) -> Summary:
    """Prepares the dataset `data_dir/name`; unusable scans are skipped and listed in the summary.

    The dataset depends on the scans and `work`, not on the order of the jobs or the number of
    workers. Labelled records of a patient are neighbours. If a split has none, nothing is written.

    Args:
      jobs: the scans of every split.
      work: picklable; raises ScanError to skip its scan, PrepareError to refuse the whole source.
        Takes a job, and with `volumes` also the folder to store its scan in.
      size: voxels of a patch along x, y, z; pixels of an image along x, y.
      recipe: how it was made, without any path; goes into the metadata. Without labels, its `seed`
        is of the order of the scans.
      config: of configs/, for the closing hint (default: the one named as the dataset).
      notes: lines for the summary on what was skipped beforehand.
      parts, sources, per_scan: see `Summary`.
      valid: patches say which voxels are valid.
      volumes: scans are stored whole, beside the records.
      skip_duplicates, table: see `Duplicates`.
      workers: processes (default: one per core; 1 works in this process, more need a main module
        that Python can import again).

    Raises:
      PrepareError: the dataset exists, a split is empty, ids or patients are not kept apart, two
        patients have the same image, or the source contradicts itself; nothing was written.
      KeyboardInterrupt: the process was told to stop (SIGTERM, Ctrl-C); nothing was written.
    """
    splits = _check_start(jobs, name, data_dir, declaration.task)
    ordered = sorted(jobs, key=partial(_order, splits=splits, task=declaration.task, recipe=recipe))
    summary = Summary(
        config or name, splits, declaration.task, list(declaration.classes), parts, sources,
        per_scan, volumes, list(notes),
    )  # fmt: skip
    interruption = Interruption()
    skip_duplicates |= declaration.task is None
    duplicates = Duplicates(skip_duplicates, table, declaration.classes)
    names = (name, f'{name}_cases')
    kinds = (len(declaration.channels), declaration.task, len(declaration.classes), valid)
    with ExitStack() as stack:
        stage = stack.enter_context(staged(data_dir, names))
        stack.enter_context(interruption)
        folder = dataset_folder(stage, name)
        guarded = partial(_guarded, partial(work, folder=folder) if volumes else work)
        results = in_order(guarded, ordered, workers or os.cpu_count() or 1)
        stack.enter_context(closing(results))
        bar = tqdm(results, desc=sources, total=len(ordered), unit=sources[:-1], disable=None)
        stack.enter_context(bar)
        schemas = [features(sides, *kinds) for sides in (tuple(size), (None,) * 3)]
        if volumes:
            schemas[0] = scan_features(len(declaration.channels))
        writers = [
            SplitsWriter(stage, own, schema) for own, schema in zip(names, schemas, strict=True)
        ]
        for job, result in stop_on_signal(zip(ordered, bar, strict=True), interruption):
            result = result or Result(reason=KILLED)
            if not result.reason:
                result = duplicates.add(job, result)
            if result.reason and result.stored:  # by its worker, before anyone knew it as a copy
                shutil.rmtree(dataset_folder(stage, name) / result.stored['volume'])
            if job.split not in splits:
                continue
            if result.reason:
                summary.skip(job.shown, result.reason)
                continue
            summary.count(job, result)
            if result.stored is not None and result.count:
                writers[0].add(job.split, [dict(result.stored) | _of_scan(job, result)])
            whole = [] if result.whole is None else [result.whole]
            for writer, patches in zip(writers, (result.patches, whole), strict=True):
                writer.add(job.split, [_record(job, result, patch) for patch in patches])
        duplicates.check()
        for split, rows in writers[0].records.items():
            summary.patients[split] = len({patient for patient, _ in rows})
        about = {**asdict(declaration), 'recipe': dict(recipe), 'summary': asdict(summary)}
        for writer in writers:
            writer.close(None if summary.missing_splits else about)
    return summary


def _order(
    job: Job, splits: Sequence[str], task: str | None, recipe: Mapping[str, Any]
) -> tuple[Any, ...]:
    if task is not None:
        return digest(0, job.patient), job.scan_id
    # Those that only keep copies out come first.
    return job.split in splits, digest(recipe['seed'], job.scan_id)


def _record(job: Job, result: Result, patch: Patch) -> dict[str, Any]:
    labels = {'label': patch.label, 'mask': patch.mask, 'valid': patch.valid}
    return {name: value for name, value in labels.items() if value is not None} | {
        'cube': patch.cube,
        'origin': np.asarray(patch.origin, np.int32),
        **_of_scan(job, result),
    }


def _of_scan(job: Job, result: Result) -> dict[str, Any]:
    return {
        'window': np.asarray(result.window, np.float32),
        'scan_id': job.scan_id,
        'patient': job.patient,
        'spacing': np.asarray(result.spacing, np.float32),
        'fold': job.fold,
    }


def _guarded(work: Callable[[Job], Result], job: Job) -> Result:
    """What a worker does with a scan; only a source that contradicts itself stops everything."""
    try:
        with collected_remarks() as told:
            result = work(job)
        if result.whole is not None:
            _check_size(result.whole)
        return replace(result, told=told)
    except PrepareError:
        raise
    except Exception as error:  # whatever one scan does to a library, the others are prepared
        return Result(reason=reason_of(error))


def _check_size(whole: Patch) -> None:
    if whole.cube.nbytes + (0 if whole.mask is None else whole.mask.nbytes) > _RECORD_LIMIT:
        shape = ' x '.join(map(str, whole.cube.shape))
        raise ScanError(
            f'has {shape} voxels, more than the 2 GiB that a record holds; give a coarser --spacing'
        )


def _check_start(jobs: Sequence[Job], name: str, data_dir: Path, task: str | None) -> list[str]:
    """The splits of the dataset, in the order in which a reader wants to see them."""
    check_name(name)
    check_absent(data_dir, name)
    if task == 'segmentation':
        check_absent(data_dir, f'{name}_cases')
    check_ids(job.scan_id for job in jobs)
    homes: dict[str, Job] = {}
    for job in jobs:
        first = homes.setdefault(job.patient, job)
        if first.split != job.split:
            raise PrepareError(
                f'patient {job.patient} is in two splits: {first.shown} in {first.split} and '
                f'{job.shown} in {job.split}; put all scans of a patient in one'
            )
    present = {job.split for job in jobs}
    splits = list(SPLITS if task else SPLITS[:2])
    if any(split.startswith('fold_') for split in present):
        count = 1 + max(int(split.rpartition('_')[2]) for split in present)
        splits = [f'fold_{fold}' for fold in range(max(2, count))]
    for split in splits:
        if split not in present:
            raise PrepareError(f'no scan is left for the {split} split; add scans')
    return splits
