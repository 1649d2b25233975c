"""The driver of labelled preparations: cases to a dataset of cubes that know their answer.

A preparation lists its cases and says how one is read (`work`); the rest is here: processes, order,
records, metadata, the closing summary. Whole scans, for the evaluation, go to a second dataset
`NAME_cases` in the same pass. Both appear complete or not at all.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_prep.build.duplicates import Labels, Owners, same_image
from data_prep.build.pool import KILLED, in_order, reason_of, stop_on_signal
from data_prep.build.records import (
    SplitsWriter,
    check_absent,
    check_ids,
    check_name,
    labelled_features,
    staged,
)
from data_prep.build.summary import LabelledSummary, remark
from data_prep.splits.draws import digest
from data_prep.types import FIXED_SPLITS, Case, Declaration, Item, Prepared
from genesis_jax.errors import PrepareError, ScanError
from genesis_jax.interruption import Interruption

_RECORD_LIMIT = (1 << 31) - (1 << 20)  # bytes; a record is one protocol buffer


def prepare_labelled(
    cases: Sequence[Case],
    work: Callable[[Case], Prepared],
    *,
    name: str,
    data_dir: Path,
    declaration: Declaration,
    cube_size: Sequence[int],
    recipe: Mapping[str, Any],
    config: str | None = None,
    notes: Sequence[str] = (),
    skip_duplicates: bool = False,
    table: str = '',
    workers: int | None = None,
) -> LabelledSummary:
    """Prepares the dataset `data_dir/name`; unusable cases are skipped and listed in the summary.

    The dataset depends on the cases and `work`, not on the order of the cases or the number of
    workers. Records of a patient are neighbours. If a split has none, nothing is written.

    Args:
      cases: of every split.
      work: picklable; raises ScanError to skip its case, PrepareError to refuse the whole source.
      recipe: how it was made, without any path; goes into the metadata.
      config: of configs/, for the closing hint (default: the one named as the dataset).
      notes: lines for the summary on what was left out beforehand.
      skip_duplicates: an image that two patients have is kept once, instead of refused.
      table: that labels every image; one that it labels in two ways is refused.
      workers: processes (default: one per core; 1 works in this process).

    Raises:
      PrepareError: the dataset exists, a split is empty, ids or patients are not kept apart, two
        patients have the same image, or the source contradicts itself; nothing was written.
      KeyboardInterrupt: the process was told to stop (SIGTERM, Ctrl-C); nothing was written.
    """
    _check_start(cases, name, data_dir, declaration)
    ordered = sorted(cases, key=lambda case: (digest(0, case.patient), case.case_id))
    summary = LabelledSummary(
        config or name, declaration.task, list(declaration.classes), _splits(cases), list(notes)
    )
    results = in_order(partial(_guarded, work), ordered, workers or os.cpu_count() or 1)
    interruption = Interruption()
    common = {**asdict(declaration), 'recipe': dict(recipe)}
    sizes = {name: tuple(cube_size), f'{name}_cases': (None, None, None)}
    owners, labels = Owners(), Labels()
    bar = tqdm(results, desc='cases', total=len(ordered), unit='case', disable=None)
    with staged(data_dir, list(sizes)) as stage, interruption, closing(results), bar:
        books = {key: _Book(stage, key, size, declaration) for key, size in sizes.items()}
        for case, prepared in stop_on_signal(zip(ordered, bar, strict=True), interruption):
            prepared = prepared or Prepared(reason=KILLED)
            if prepared.reason:
                summary.skip(case.shown, prepared.reason)
                continue
            held = [_held(item) for item in prepared.items]
            if table:
                names = [declaration.classes[index] for index in sum(held, [])]
                labels.note(prepared.identity, '|'.join(names) or 'nothing', case.shown)
            if not skip_duplicates:
                owners.check(prepared.identity, case.patient, case.shown)
            elif other := owners.find_other(prepared.identity, case.patient, case.shown):
                summary.skip(case.shown, same_image(*other))
                continue
            summary.count(case.split, case.case_id, held)
            remark(summary.remarks, prepared.remark)
            books[name].add(case, prepared, prepared.items)
            if prepared.whole is not None:
                books[f'{name}_cases'].add(case, prepared, [prepared.whole])
        labels.check(table)
        for split, patients in books[name].records.items():
            summary.patients[split] = len(patients)
        for book in books.values():
            book.close(None if summary.missing_splits else {**common, 'summary': asdict(summary)})
    return summary


class _Book:
    """A dataset being written, and whose records it holds so far."""

    def __init__(self, data_dir, name, cube_size, declaration):
        channels, classes = len(declaration.channels), len(declaration.classes)
        features = labelled_features(cube_size, channels, declaration.task, classes)
        self._writer = SplitsWriter(data_dir, name, features)
        self.records: dict[str, list[list]] = {}

    def add(self, case: Case, prepared: Prepared, items: Sequence[Item]) -> None:
        if not items:
            return
        self._writer.add(case.split, [_example(case, prepared, item) for item in items])
        rows = self.records.setdefault(case.split, [])
        if not rows or rows[-1][0] != case.patient:
            rows.append([case.patient, 0])
        rows[-1][1] += len(items)

    def close(self, metadata: dict[str, Any] | None) -> None:
        if metadata is None:
            self._writer.discard()
        else:
            self._writer.close({**metadata, 'records': self.records})


def _example(case: Case, prepared: Prepared, item: Item) -> dict[str, Any]:
    answer = {'label': item.label} if item.mask is None else {'mask': item.mask}
    return answer | {
        'cube': item.cube,
        'window': np.asarray(prepared.window, np.float32),
        'scan_id': case.case_id,
        'patient': case.patient,
        'origin': np.asarray(item.origin, np.int32),
        'spacing': np.asarray(prepared.spacing, np.float32),
        'fold': case.fold,
    }


def _held(item: Item) -> list[int]:
    """The class indices that a record is of or holds."""
    if item.mask is None:
        is_class = isinstance(item.label, int)
        return [item.label] if is_class else np.flatnonzero(item.label).tolist()
    return np.flatnonzero(np.bincount(item.mask.ravel())).tolist()


def _guarded(work: Callable[[Case], Prepared], case: Case) -> Prepared:
    """What a worker does with a case; only a source that contradicts itself stops everything."""
    try:
        prepared = work(case)
        if prepared.whole is not None:
            _check_record(prepared.whole)
        return prepared
    except PrepareError:
        raise
    except Exception as error:  # whatever one scan does to a library, the others are prepared
        return Prepared(reason=reason_of(error))


def _check_record(whole: Item) -> None:
    if whole.cube.nbytes + (0 if whole.mask is None else whole.mask.nbytes) > _RECORD_LIMIT:
        shape = ' x '.join(map(str, whole.cube.shape))
        raise ScanError(
            f'has {shape} voxels, more than the 2 GiB that a record holds; give a coarser --spacing'
        )


def _splits(cases: Sequence[Case]) -> list[str]:
    """The splits of these cases, in the order in which a reader wants to see them."""
    splits = {case.split for case in cases}
    fixed = [split for split in FIXED_SPLITS if split in splits]
    return fixed + sorted(splits - set(fixed), key=lambda split: int(split.rpartition('_')[2]))


def _check_start(
    cases: Sequence[Case], name: str, data_dir: Path, declaration: Declaration
) -> None:
    check_name(name)
    check_absent(data_dir, name)
    if declaration.task == 'segmentation':
        check_absent(data_dir, f'{name}_cases')
    check_ids(case.case_id for case in cases)
    homes: dict[str, Case] = {}
    for case in cases:
        first = homes.setdefault(case.patient, case)
        if first.split != case.split:
            raise PrepareError(
                f'patient {case.patient} is in two splits: {first.shown} in {first.split} and '
                f'{case.shown} in {case.split}; put all scans of a patient in one'
            )
    splits = _splits(cases)
    folds = any(split.startswith('fold_') for split in splits)
    count = max(int(split.rpartition('_')[2]) for split in splits) + 1 if folds else 0
    wanted = [f'fold_{fold}' for fold in range(max(2, count))] if folds else FIXED_SPLITS
    for split in wanted:
        if split not in splits:
            raise PrepareError(f'no case is left for the split {split}; add cases')
