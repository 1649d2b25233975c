"""The papers' tables over tasks: a row for each task, a column for each method, p between two."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from genesis_jax.compare import origins, published, recipes, statistics
from genesis_jax.compare.analysis import Row
from genesis_jax.compare.methods import group, measure, metric_of, start_of
from genesis_jax.compare.runs import Workdir
from genesis_jax.compare.tables import runs, spread_of, title
from genesis_jax.compare.writers import Report, Section, Table, p_value, percent, spread_text, tex

_PER_DIMENSIONS = {'model.width'}  # each has its own, as a matter of course
_OF_DIMENSIONS = {'dimensions', 'data.view', *_PER_DIMENSIONS}  # (views are told as readings)
_READINGS = {  # of `data.view`, other than single slices
    'adjacent': 'slices with their neighbours',
    'orthogonal': 'three orthogonal planes',
}
_COLUMNS = (
    *('task', 'metric', 'method', 'source', 'label_fraction', 'runs'),
    *('mean', 'sd', 'p', 'p_holm'),
)


@dataclass(frozen=True)
class Layout:
    """A table of the papers.

    Attributes:
      pick: the two methods between which p is, of `{method: row}` in the order of the columns, the
        better first; fewer where there are no two.
      tested: these two in words.
      published_p: of a task, as written.
      published_pair: methods that the published p compares.
      called: other names of methods in this table.
      apart: whether it tells how far the tasks are from their pre-training.
    """

    title: str
    pick: Callable[[Mapping[str, Row]], list[str]]
    tested: str
    published_p: Callable[[published.Task], str]
    published_pair: Sequence[str] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False


def _ranked(measured):
    """The methods from best to worst, of those that have a mean."""
    with_mean = [column for column, row in measured.items() if row.runs]
    return sorted(with_mean, key=lambda column: -measured[column].mean)


def _against_scratch(measured):
    """The best method that has a scratch of its dimensions, and that."""
    ranked = _ranked(measured)
    scratch = {column.removesuffix('scratch'): column for column in ranked if _is_scratch(column)}
    for column in ranked:
        prefix = column[:3] if column[:3] in ('2D ', '3D ') else ''
        if not _is_scratch(column) and prefix in scratch:
            return [column, scratch[prefix]]
    return []


def _is_scratch(column):
    return column in ('scratch', '2D scratch', '3D scratch')


def _of_dimensions(measured):
    """The best method in 3D and the best in 2D."""
    ranked = _ranked(measured)
    sides = ([column for column in ranked if column.startswith(side)][:1] for side in ('3D', '2D'))
    return [column for side in sides for column in side]


LAYOUTS = {
    'table2': Layout(
        'Against scratch',
        _against_scratch,
        'between the best method and scratch',
        lambda task: task.p,
        ('scratch', 'Genesis'),
        apart=True,
    ),
    'table3': Layout(
        'Approaches',
        lambda measured: _ranked(measured)[:2],
        'between the two best methods',
        lambda task: task.p_of_approaches,
        ('Distortion', 'Painting', 'Unified'),
        {'Genesis': 'Unified'},
    ),
    'table4': Layout(
        '2D against 3D',
        _of_dimensions,
        'between the best method in 2D and the best in 3D',
        lambda task: task.p_of_dimensions,
        published.OF_DIMENSIONS,
    ),
}


def lay_out(
    name: str,
    workdirs: Sequence[Workdir],
    names: Sequence[str] | None = None,
    *,
    test: str = 'welch',
    edition: str = 'miccai',
) -> Report:
    """The table `name` of LAYOUTS of workdirs of one or several tasks.

    Args:
      names: of the methods; None: by their starts.
      test: one of `statistics.TESTS`.
      edition: whose published numbers are shown.

    Raises:
      UserError: workdirs that do not belong in one table.
    """
    layout = LAYOUTS[name]
    names = [layout.called.get(method, method) for method in names or map(start_of, workdirs)]
    by_task, columns = group(workdirs, names)
    tasks = [_task(*task, columns, layout, test, edition) for task in by_task.items()]
    adjusted = statistics.holm([task.p for task in tasks])
    rows, records = [], []
    for (task, entries), of_task, p in zip(by_task.items(), tasks, adjusted, strict=True):
        marks = _marks(layout, task, entries)
        rows.append([of_task.name, *marks, *of_task.measured, p_value(of_task.p), p_value(p)])
        marks = origins.published_apart(task) if layout.apart else []
        rows += [['published', *marks, *cells] for cells in of_task.published]
        records += [
            r | ({'p_holm': p} if r['source'] == 'measured' and r['p'] is not None else {})
            for r in of_task.records
        ]
    about_p = f', where p is of {published.PUBLISHED_TEST}' * (edition == 'miccai')
    tested = statistics.in_words(test)
    by_holm = '; beside it corrected by Holm over the tasks' if len(tasks) > 1 else ''
    crossed = layout.apart and any('×' in row for row in rows)
    cross = ' ×: the task differs in this from LUNA16, of Genesis Chest CT.' * crossed
    share, all_labels = workdirs[0].label_fraction, ''
    if share < 1:
        all_labels = f' Measured with {percent(share)} of the labels, published with all.'
    head = ('task', *(origins.APART if layout.apart else ()), *columns, 'p', 'p (Holm)')
    caption = rf'{layout.title}: mean $\pm$ sd (runs); p of {tex(tested)}, {layout.tested}.'
    caption += tex(f'{all_labels} Published: {published.EDITIONS[edition]}{about_p}.')
    return Report(
        title=layout.title,
        about='Mean ± sd (runs) in per cent. A run is one seed; where the task has folds, the mean '
        f'over its folds. p of {tested}, {layout.tested}{by_holm}.{cross}{all_labels} '
        f'Published: {published.EDITIONS[edition]}{about_p}.',
        tables=[Table(head, [Section(rows)], caption)],
        lists=list(_lists(name, by_task, tasks)),
        columns=_COLUMNS,
        records=records,
    )


def _marks(layout, task, entries):
    """What a table of tasks says of their distance from the pre-training."""
    return origins.apart(task, [e.workdir for e in entries]) if layout.apart else []


def _lists(name, by_task, tasks):
    """What is to be known beside the table."""
    unexplained = [
        f'{task}: p {rows.published[0][-2]}'
        for task, rows in zip(by_task, tasks, strict=True)
        if name in rows.unexplained and rows.published and rows.published[0][-2]
    ]
    yield 'Published, but no t-test of the published means gives it back:', '', unexplained
    for heading, mark, lines_of in (
        ('Which published scratch these are:', 'scratch', origins.scratch_lines),
        ('Not the published Genesis:', 'start', origins.other_lines),
        (
            'These are read in 2D otherwise than as single slices, and published figures stand by '
            'the name of the column alone:',
            'reading',
            lambda _, entries: _readings(entries),
        ),
        (
            'The configs differ in more than start and dimensions:',
            'configs differ',
            lambda _, entries: _differences(entries),
        ),
    ):
        found = [f'{task}: {line}' for task, own in by_task.items() for line in lines_of(task, own)]
        yield heading, mark, found


def _differences(entries):
    """Lines on what else differs: of widths, between methods of equal dimensions."""
    yield from recipes.differences(entries, _OF_DIMENSIONS)
    for dimensions in (2, 3):
        own = [entry for entry in entries if entry.workdir.config['dimensions'] == dimensions]
        if own:
            yield from recipes.differences(own, only=_PER_DIMENSIONS)


def _readings(entries):
    """Lines on methods that are in 2D, but not of single slices."""
    views = [(entry.workdir.config.get('data.view'), entry.method) for entry in entries]
    for view in dict.fromkeys(view for view, _ in views if view in _READINGS):
        methods = ', '.join(method for other, method in views if other == view)
        yield f'{methods}: {_READINGS[view]} (`data.view`: {view})'


@dataclass(frozen=True)
class _Task:
    """The rows of a task, without the measured p, and its records."""

    name: str  # with the metric
    measured: list[str]
    published: list[list[str]]
    p: float
    records: list[dict[str, object]]
    unexplained: Sequence[str]  # layouts whose published p no t-test gives back


def _task(name, entries, columns, layout, test, edition):
    """What was measured of a task, and what was published."""
    known = published.TASKS.get(name.lower(), published.Task({}))
    metric = metric_of(known, entries[0].workdir)
    measured = measure(name, metric, entries, columns)
    pair = layout.pick(measured)
    p = float('nan')
    if len(pair) == 2:
        p = statistics.t_test(*(measured[column].values for column in pair), test)
    rows = [measured.get(column) for column in columns]
    cells = [f'{spread_of(row)} ({runs(row)})' if row else '' for row in rows]
    from_papers = {
        column: number for column in measured if (number := known.of(metric, column, edition))
    }
    share = entries[0].workdir.label_fraction
    about: dict[str, object] = {'task': name, 'metric': metric}
    records = []
    for column, row in measured.items():
        values = {'mean': row.mean, 'sd': row.sd, 'p': p if column in pair else None}
        measured_by = {'source': 'measured', 'label_fraction': share, 'runs': row.runs}
        records.append(about | {'method': column} | measured_by | values)
    written = _published_p(known, from_papers, layout, edition)
    for column, number in from_papers.items():
        source = {'method': column, 'source': number.source, 'p': written}
        records.append(about | source | number.fractions)
    paper = list(_published(from_papers, columns, written))
    return _Task(f'{name}, {title(metric)}', cells, paper, p, records, known.unexplained)


def _published(numbers, columns, p):
    """The row of published numbers, if there is one."""
    if not numbers:
        return
    cells = [
        spread_text(numbers[column].mean, numbers[column].sd) if column in numbers else ''
        for column in columns
    ]
    yield [*cells, p, '']


def _published_p(known, numbers, layout, edition):
    """As written: of a table of MICCAI 2019, whose methods are all shown; else ''."""
    compared = {column.removeprefix('3D ') for column in numbers} | set(numbers)
    whole = edition == 'miccai' and compared >= {*layout.published_pair}
    return layout.published_p(known) if whole and numbers else ''
