"""The papers' figure 2: starts on tasks in 2D, and the p-value of each pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from genesis_jax.compare import published, recipes, statistics
from genesis_jax.compare.analysis import Row
from genesis_jax.compare.methods import group, measure, metric_of, start_of
from genesis_jax.compare.runs import Workdir
from genesis_jax.compare.tables import runs, spread_of, title
from genesis_jax.compare.writers import Report, Section, Table, p_value, signed, spread_text, tex
from genesis_jax.errors import UserError

_COLUMNS = ('task', 'metric', 'method', 'source', 'runs', 'mean', 'sd', 'other', 'p', 'p_holm')
PANELS = ('slices of scans', 'whole images')


@dataclass(frozen=True)
class Task:
    """A task of the figure.

    Attributes:
      panel: index in PANELS: read from slices of scans (as Genesis CT was), or from images.
      rows: by method.
      published: by method, of an edition.
      pairs: `(method, other, p, p by Holm)` over all pairs of the task.
    """

    name: str
    metric: str
    panel: int
    rows: dict[str, Row]
    published: dict[str, published.Published]
    pairs: list[tuple[str, str, float, float]]


def lay_out(
    workdirs: Sequence[Workdir],
    names: Sequence[str] | None = None,
    *,
    test: str = 'welch',
    edition: str = 'miccai',
) -> tuple[Report, list[Task]]:
    """The tables, and what `figure2_chart` draws; arguments as of `layouts.lay_out`.

    Raises:
      UserError: workdirs that do not belong in one figure.
    """
    if any(workdir.config['dimensions'] == 3 for workdir in workdirs):
        first = next(w for w in workdirs if w.config['dimensions'] == 3)
        raise UserError(f'{first.path} is in 3D, and figure 2 is of 2D; leave it out')
    names = names or [start_of(workdir, ct='Genesis CT') for workdir in workdirs]
    by_task, columns = group(workdirs, names)
    tasks = [_task(*task, columns, test, edition) for task in by_task.items()]

    tested = statistics.in_words(test)
    differences = [
        f'{task}: {line}'
        for task, members in by_task.items()
        for line in recipes.differences(members, ('data.view',))
    ]
    caption = rf'mean $\pm$ sd (runs); p of {tex(tested)} between all pairs.'
    report = Report(
        title='Starts in 2D',
        about='Mean ± sd (runs) in per cent. A run is one seed; where the task has folds, the mean '
        f'over its folds. p of {tested}, between all pairs of a task, and corrected by Holm for '
        f'their number. Published: {published.EDITIONS[edition]}.',
        tables=[
            Table(
                ('task', *columns), [Section([*_means(tasks, columns)])], f'Starts in 2D: {caption}'
            ),
            Table(
                ('task', 'method', 'against', 'difference', 'p', 'p (Holm)'),
                [Section([*_pairs(tasks)])],
                f'All pairs: p of {tex(tested)}.',
                left=3,
                heading='All pairs',
                about='Difference of the means in percentage points.',
            ),
        ],
        lists=[('The configs differ in more than the start:', 'configs differ', differences)],
        columns=_COLUMNS,
        records=[record for task in tasks for record in _records(task)],
    )
    return report, tasks


def _task(name, entries, columns, test, edition):
    known = published.TASKS.get(name.lower(), published.Task({}))
    metric = metric_of(known, entries[0].workdir)
    rows = measure(name, metric, entries, columns)
    couples = list(combinations(rows, 2))
    values = [
        statistics.t_test(*(rows[method].values for method in _better_first(rows, couple)), test)
        for couple in couples
    ]
    corrected = statistics.holm(values)
    numbers = {column: known.of(metric, column, edition) for column in rows}
    return Task(
        name,
        metric,
        panel=int(entries[0].workdir.config.get('data.view') is None),
        rows=rows,
        published={column: number for column, number in numbers.items() if number},
        pairs=[(*c, p, q) for c, p, q in zip(couples, values, corrected, strict=True)],
    )


def _better_first(rows, couple):
    return sorted(couple, key=lambda method: -rows[method].mean)


def _means(tasks, columns):
    for task in tasks:
        measured = (task.rows.get(column) for column in columns)
        cells = [f'{spread_of(row)} ({runs(row)})' if row else '' for row in measured]
        yield [f'{task.name}, {title(task.metric)}', *cells]
        if task.published:
            numbers = (task.published.get(column) for column in columns)
            yield ['published', *(spread_text(n.mean, n.sd) if n else '' for n in numbers)]


def _pairs(tasks):
    for task in tasks:
        for method, other, p, corrected in task.pairs:
            difference = 100 * (task.rows[method].mean - task.rows[other].mean)
            yield [task.name, method, other, signed(difference), p_value(p), p_value(corrected)]


def _records(task):
    about = {'task': task.name, 'metric': task.metric}
    for method, row in task.rows.items():
        values = {'runs': row.runs, 'mean': row.mean, 'sd': row.sd}
        yield about | {'method': method, 'source': 'measured'} | values
    for method, number in task.published.items():
        yield about | {'method': method, 'source': number.source} | number.fractions
    for method, other, p, corrected in task.pairs:
        about_pair = {'method': method, 'other': other, 'source': 'measured'}
        yield about | about_pair | {'p': p, 'p_holm': corrected}
