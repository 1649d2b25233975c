"""The papers' table of 2D against 3D: a row for each task, a column for each method."""

from dataclasses import dataclass

from genesis_jax.compare import published, recipes, statistics, writers
from genesis_jax.compare.analysis import Entry, Row, row_of
from genesis_jax.compare.tables import factor, runs, title
from genesis_jax.compare.writers import p_value, spread_text, tex
from genesis_jax.errors import UserError
from genesis_jax.provenance import short_name

_PER_DIMENSIONS = {'model.width'}  # each has its own, as a matter of course
_OF_DIMENSIONS = {'dimensions', 'data.view', *_PER_DIMENSIONS}  # (views are told as readings)
_READINGS = {  # of `data.view`, other than single slices
    'adjacent': 'slices with their neighbours',
    'orthogonal': 'three orthogonal planes',
}


@dataclass(frozen=True)
class Task:
    """A row: of each method the mean over runs, and the published one.

    Attributes:
      name: of the task.
      metric: the one that was published.
      measured: by column.
      best: the column of the best method in 2D and in 3D, where there is one.
      p: of the t-test between these.
      published: by column.
      published_p: in words.
    """

    name: str
    metric: str
    measured: dict[str, Row]
    best: dict[int, str]
    p: float
    published: dict[str, published.Published]
    published_p: str


@dataclass(frozen=True)
class Table:
    """All tasks; `columns` are methods, those in 2D first."""

    columns: list[str]
    tasks: list[Task]
    test: str
    recipes: list[str]  # in what else the configs of a task differ
    readings: list[str]  # which methods in 2D are not of single slices


def lay_out(workdirs, names=None, *, welch: bool = False) -> Table:
    """The table of workdirs of one or several tasks, named as given or by their starts.

    Raises:
      UserError: another number of names than workdirs, or workdirs that do not belong in one table.
    """
    if names is not None and len(names) != len(workdirs):
        raise UserError(
            f'--names has {len(names)} names for {len(workdirs)} workdirs; give one for each, '
            'such as scratch, ImageNet, Genesis'
        )
    names = names or [_start(workdir) for workdir in workdirs]
    entries = [Entry(_column(*pair), pair[1]) for pair in zip(names, workdirs, strict=True)]
    fractions = {workdir.label_fraction for workdir in workdirs}
    if len(fractions) > 1:
        shown = ', '.join(f'{100 * fraction:g} %' for fraction in sorted(fractions))
        raise UserError(f'the workdirs have {shown} of the labels; give those of one share')
    by_task: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_task.setdefault((entry.workdir.task_name, entry.workdir.dataset), []).append(entry)
    columns = dict.fromkeys(entry.method for entry in entries)
    return Table(
        columns=sorted(columns, key=lambda name: not name.startswith('2D')),
        tasks=[_task(name, found, welch) for (name, _), found in by_task.items()],
        test="Welch's t-test" if welch else 'independent two-sample t-test',
        recipes=[
            f'{name}: {line}'
            for (name, _), found in by_task.items()
            for line in _differences(found)
        ],
        readings=[
            f'{name}: {line}' for (name, _), found in by_task.items() for line in _readings(found)
        ],
    )


def _start(workdir):
    """What a method is called in the papers, by what it started from."""
    if workdir.init == 'scratch':
        return 'scratch'
    began = workdir.provenance
    decodes = 'decoder' in (*began.loaded, *began.unused)
    # The file of another program is in 2D a ResNet-18, as a rule of ImageNet.
    if workdir.config['dimensions'] == 2 and began.source and not decodes:
        return 'ImageNet'
    if began.task not in (None, 'restoration'):
        return short_name(workdir.init)
    if began.dataset == 'chestxray':
        return 'Genesis X-ray'
    known = published.TASKS.get(workdir.task_name.lower())
    if known and known.of('auc', '2D Genesis CT') and began.modality == 'ct':
        return 'Genesis CT'  # of these tasks, those of CT and of X-ray were both published
    return 'Genesis'


def _differences(entries):
    """Lines on what else differs: of widths, between methods of equal dimensions."""
    lines = recipes.differences(entries, _OF_DIMENSIONS)
    for dimensions in (2, 3):
        own = [entry for entry in entries if entry.workdir.config['dimensions'] == dimensions]
        if own:
            lines += recipes.differences(own, only=_PER_DIMENSIONS)
    return lines


def _readings(entries):
    """Lines on methods that are in 2D, but not of single slices."""
    views = [(entry.workdir.config.get('data.view'), entry.method) for entry in entries]
    for view in dict.fromkeys(view for view, _ in views if view in _READINGS):
        methods = ', '.join(method for other, method in views if other == view)
        yield f'{methods}: {_READINGS[view]} (`data.view`: {view})'


def _column(name, workdir):
    dimensions = f'{workdir.config["dimensions"]}D'
    return name if name.startswith(dimensions) else f'{dimensions} {name}'


def _task(name, entries, welch):
    measured = {}
    known = published.TASKS.get(name.lower(), published.Task({}))
    metric = _metric(known, entries[0].workdir)
    for entry in entries:
        if entry.method in measured:
            raise UserError(
                f'{entry.workdir.path} and another workdir of {name} are both {entry.method!r}; '
                'tell them apart with --names=A,B,…'
            )
        if entry.workdir.classes != entries[0].workdir.classes:
            raise UserError(
                f'{entry.workdir.path} has other classes than {entries[0].workdir.path}; only '
                'runs on the same data can be compared'
            )
        measured[entry.method] = row_of(metric, entry)
    best = {}
    for column, row in measured.items():
        rank, kind = row.mean, int(column[0])
        if rank == rank and (kind not in best or rank > measured[best[kind]].mean):
            best[kind] = column
    p = float('nan')
    if len(best) == 2:
        p = statistics.t_test(measured[best[3]].values, measured[best[2]].values, welch)
    shown = {column: number for column in measured if (number := known.of(metric, column))}
    return Task(
        name=name,
        metric=metric,
        measured=measured,
        best=best,
        p=p,
        published=shown,
        # (it says nothing where a method that it compares is not shown)
        published_p=known.p_of_dimensions if shown.keys() >= {*published.OF_DIMENSIONS} else '',
    )


def _metric(known, workdir):
    for metric, numbers in known.numbers.items():
        if any(number.method in ('2D scratch', 'scratch') for number in numbers):
            return metric
    return 'mean_iou_paper' if workdir.task == 'segmentation' else 'auc'


def markdown(table: Table) -> str:
    """The report."""
    lines = [
        '# 2D against 3D',
        '',
        'Mean ± sd (runs) in per cent. A run is one seed; where the task has folds, the mean over '
        f'its folds. p of the {table.test} between the best method in 2D and the best in 3D.',
        '',
        *writers.markdown(_head(table), _cells(table)),
        *writers.bullets(
            table.readings,
            'These are read in 2D otherwise than as single slices, and published figures stand by '
            'the name of the column alone:',
        ),
        *writers.bullets(table.recipes, 'The configs differ in more than start and dimensions:'),
    ]
    return '\n'.join(lines)


def latex(table: Table) -> str:
    """The table for a paper."""
    return '% \\usepackage{booktabs}\n' + writers.latex(
        rf'2D against 3D: mean $\pm$ sd (runs); p of the {tex(table.test)} between the best '
        'method in 2D and the best in 3D.',
        'l' + 'r' * (len(table.columns) + 1),
        _head(table),
        [writers.Section(list(_cells(table)))],
        [f'reading: {line}' for line in table.readings]
        + [f'configs differ: {line}' for line in table.recipes],
    )


def csv_text(table: Table) -> str:
    """One row for a method of a task, measured or published."""
    rows = []
    for task in table.tasks:
        about: dict[str, object] = {'task': task.name, 'metric': task.metric}
        for column, row in task.measured.items():
            p = task.p if column in task.best.values() else float('nan')
            values = {'mean': row.mean, 'sd': row.sd, 'p_of_dimensions': p}
            rows.append(about | {'method': column, 'source': 'measured', 'runs': row.runs} | values)
        for column, number in task.published.items():
            rows.append(about | {'method': column, 'source': number.source} | number.fractions)
    columns = ('task', 'metric', 'method', 'source', 'runs', 'mean', 'sd', 'p_of_dimensions')
    return writers.csv_text(columns, rows)


def _head(table):
    return ('task', *table.columns, 'p')


def _cells(table):
    for task in table.tasks:
        scale = factor(task.metric)
        shown = [task.measured.get(column) for column in table.columns]
        cells = [
            f'{spread_text(row.mean * scale, row.sd * scale)} ({runs(row)})' if row else ''
            for row in shown
        ]
        yield (f'{task.name}, {title(task.metric)}', *cells, p_value(task.p))
        if task.published:
            numbers = [task.published.get(column) for column in table.columns]
            cells = [spread_text(n.mean, n.sd) if n else '' for n in numbers]
            yield ('published', *cells, task.published_p)
