"""What the numbers of several methods on one task say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genesis_jax.compare import origins, pairing, published, recipes, statistics
from genesis_jax.compare.runs import Tested, Workdir, read_tests
from genesis_jax.compare.savings import Saving, savings
from genesis_jax.errors import UserError
from genesis_jax.metrics import AUC_INTERVAL
from genesis_jax.provenance import short_name


@dataclass(frozen=True)
class Entry:
    """A workdir under the name of its method."""

    method: str
    workdir: Workdir

    def __str__(self):
        return f'{self.method} with {100 * self.workdir.label_fraction:g} % of the labels'


@dataclass(frozen=True)
class Row:
    """A metric of a method at a share of the labels."""

    metric: str
    method: str
    label_fraction: float
    values: np.ndarray  # of each run
    planned: int  # runs
    folds: int  # of each run; 0: none
    mean: float
    sd: float
    difference: float = float('nan')  # of the mean from the baseline's
    p: float = float('nan')
    p_note: str = ''  # why there is no p

    @property
    def runs(self) -> int:
        """How many the mean rests on."""
        return len(self.values)


@dataclass(frozen=True)
class PatientRow:
    """A method against the baseline on the same patients."""

    method: str
    label_fraction: float
    paired: statistics.Paired


@dataclass(frozen=True)
class Comparison:
    """All that tables and plots show."""

    task: str
    dataset: str
    baseline: str
    test: str
    rows: list[Row]  # by metric, label fraction, method as given
    patients: list[PatientRow]
    savings: list[Saving]  # of labels, where there are several shares of them
    notes: list[str]
    recipes: list[str]  # in what else the configs differ
    published: published.Task | None

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(row.metric for row in self.rows))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def fractions(self) -> list[float]:
        return sorted({row.label_fraction for row in self.rows})


def name_workdirs(workdirs: Sequence[Workdir], names: Sequence[str] | None = None) -> list[Entry]:
    """Entries under the given names, or those of their starts.

    Raises:
      UserError: workdirs of different data, or two workdirs that would be one.
    """
    _check_alike(workdirs)
    entries = [Entry(*pair) for pair in zip(names or _names(workdirs), workdirs, strict=True)]
    places: dict[tuple[str, float], Workdir] = {}
    for entry in entries:
        place = (entry.method, entry.workdir.label_fraction)
        if place in places:
            raise UserError(
                f'{places[place].path} and {entry.workdir.path} are both called {place[0]!r} and '
                f'have label fraction {place[1]:g}; tell them apart with --names=A,B,…'
            )
        places[place] = entry.workdir
    return entries


def analyse(
    entries: Sequence[Entry],
    baseline: str | None = None,
    *,
    test: str = 'welch',
    draws: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compares entries with the method `baseline` (None: the first).

    Raises:
      UserError: no such baseline, or files that are not as they should be.
    """
    baseline = baseline or entries[0].method
    bases = {e.workdir.label_fraction: e.workdir for e in entries if e.method == baseline}
    if not bases:
        methods = ', '.join(dict.fromkeys(entry.method for entry in entries))
        raise UserError(f'--baseline={baseline} is none of the methods: {methods}')
    entries = sorted(entries, key=lambda entry: entry.workdir.label_fraction)
    first = entries[0].workdir
    tests = {entry.workdir.path: read_tests(entry.workdir) for entry in entries}
    hidden = AUC_INTERVAL + ((f'dice_{first.classes[1]}',) if len(first.classes) == 2 else ())
    names = [name for name in first.parts[0].metrics if name not in hidden]
    rows = [
        _against(row_of(name, entry), bases.get(entry.workdir.label_fraction), baseline, test)
        for name in names
        for entry in entries
    ]
    patients, notes = [], list(_notes(entries, tests))
    notes += origins.scratch_lines(first.task_name, entries)
    for entry in entries:
        base = bases.get(entry.workdir.label_fraction)
        if entry.method == baseline or base is None:
            continue
        ours, theirs = (tests[side.path] for side in (entry.workdir, base))
        paired, note = pairing.pair(ours, theirs, base.path, draws, seed)
        notes += [f'{entry}: {note}'] * bool(note)
        if paired:
            patients.append(PatientRow(entry.method, entry.workdir.label_fraction, paired))
    curves: dict[str, dict[float, tuple[Workdir, list[Tested]]]] = {}
    for entry in entries:
        point = (entry.workdir, tests[entry.workdir.path])
        curves.setdefault(entry.method, {})[entry.workdir.label_fraction] = point
    return Comparison(
        task=first.task,
        dataset=first.dataset,
        baseline=baseline,
        test=statistics.TESTS[test],
        rows=rows,
        patients=patients,
        savings=savings(curves, baseline, draws, seed),
        notes=notes,
        recipes=recipes.differences(entries),
        published=published.TASKS.get(first.task_name.lower()),
    )


def _names(workdirs):
    """The starts; with the dimensions of the networks, where these differ."""
    starts = [short_name(workdir.init) for workdir in workdirs]
    dimensions = [workdir.config['dimensions'] for workdir in workdirs]
    if len(set(dimensions)) == 1:
        return starts
    return [f'{count}D {start}' for count, start in zip(dimensions, starts, strict=True)]


def _check_alike(workdirs):
    first = workdirs[0]
    for other in workdirs[1:]:
        for name in ('task', 'dataset', 'classes'):
            a, b = getattr(first, name), getattr(other, name)
            if a != b:
                raise UserError(
                    f'{first.path} has {name} {_plain(a)} and {other.path} has {_plain(b)}; only '
                    'runs on the same data can be compared'
                )


def row_of(metric: str, entry: Entry) -> Row:
    """A metric of an entry, held against nothing."""
    workdir, values = entry.workdir, entry.workdir.values(metric)
    about = (metric, entry.method, workdir.label_fraction, values, workdir.planned, workdir.folds)
    return Row(*about, *statistics.spread(values))


def _against(row, base, baseline, test):
    """The row held against the workdir `base` of the method `baseline`."""
    if row.method == baseline:
        return replace(row, p_note='baseline')
    if base is None:
        return replace(row, p_note=f'no {baseline} with these labels')
    others = base.values(row.metric)
    return replace(
        row,
        difference=row.mean - statistics.spread(others)[0],
        p=statistics.t_test(row.values, others, test, falls=row.metric == 'hd95'),
        p_note='needs at least 2 runs' if min(row.runs, len(others)) < 2 else '',
    )


def _notes(entries: Sequence[Entry], tests: dict[Path, list[Tested]]) -> Iterator[str]:
    for entry in entries:
        workdir = entry.workdir
        if workdir.runs < workdir.planned:
            yield (
                f'{entry}: {workdir.runs} of {workdir.planned} runs are complete '
                f'({workdir.path}); the others are skipped'
            )
        if workdir.folds < workdir.planned_folds:
            yield (
                f'{entry}: {workdir.folds} of {workdir.planned_folds} folds are complete '
                f'({workdir.path}); the means are over these'
            )
        if workdir.task == 'segmentation':
            yield from _missing(entry, tests[workdir.path])


def _missing(entry, tests):
    """Notes on the test rows that Dice and HD95 leave out."""
    dice = np.concatenate([test.values for test in tests])
    distances = np.concatenate([test.distances for test in tests])
    absent, far = np.isnan(dice), np.isnan(distances)
    if absent.any():
        yield (
            f'{entry}: Dice is over {np.count_nonzero(~absent)} of {len(dice)} test rows; the '
            'class of the others is neither in the truth nor in the prediction'
        )
    if missed := np.count_nonzero(far & ~absent):
        yield (
            f'{entry}: HD95 is over {np.count_nonzero(~far)} of {len(far)} test rows; {missed} '
            'have none, for their class was missed, or found where there is none (their Dice is 0)'
        )


def _plain(value):
    return ', '.join(value) if isinstance(value, tuple) else repr(value)
