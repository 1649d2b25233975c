"""The papers' table of 2D against 3D: a row for each task, a column for each method."""

from collections.abc import Sequence

from genesis_jax.compare import published, recipes, statistics
from genesis_jax.compare.analysis import Entry, Row, row_of
from genesis_jax.compare.runs import Workdir
from genesis_jax.compare.tables import runs, spread_of, title
from genesis_jax.compare.writers import Report, Section, Table, p_value, percent, spread_text, tex
from genesis_jax.errors import UserError
from genesis_jax.provenance import short_name

_PER_DIMENSIONS = {'model.width'}  # each has its own, as a matter of course
_OF_DIMENSIONS = {'dimensions', 'data.view', *_PER_DIMENSIONS}  # (views are told as readings)
_READINGS = {  # of `data.view`, other than single slices
    'adjacent': 'slices with their neighbours',
    'orthogonal': 'three orthogonal planes',
}
_COLUMNS = ('task', 'metric', 'method', 'source', 'runs', 'mean', 'sd', 'p_of_dimensions')


def lay_out(
    workdirs: Sequence[Workdir], names: Sequence[str] | None = None, *, welch: bool = False
) -> Report:
    """The table of workdirs of one or several tasks, named as given or by their starts.

    Raises:
      UserError: workdirs that do not belong in one table.
    """
    names = names or [_start(workdir) for workdir in workdirs]
    entries = [Entry(_column(*pair), pair[1]) for pair in zip(names, workdirs, strict=True)]
    fractions = {workdir.label_fraction for workdir in workdirs}
    if len(fractions) > 1:
        shares = ', '.join(map(percent, sorted(fractions)))
        raise UserError(f'the workdirs have {shares} of the labels; give those of one share')
    by_task: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_task.setdefault((entry.workdir.task_name, entry.workdir.dataset), []).append(entry)
    methods = dict.fromkeys(entry.method for entry in entries)
    columns = sorted(methods, key=lambda name: not name.startswith('2D'))
    tasks = [_task(name, members, columns, welch) for (name, _), members in by_task.items()]
    test = "Welch's t-test" if welch else 'independent two-sample t-test'
    best = 'between the best method in 2D and the best in 3D.'
    caption = rf'2D against 3D: mean $\pm$ sd (runs); p of the {tex(test)} {best}'
    readings, recipe_lines = (
        [f'{name}: {line}' for (name, _), members in by_task.items() for line in lines_on(members)]
        for lines_on in (_readings, _differences)
    )
    return Report(
        title='2D against 3D',
        about='Mean ± sd (runs) in per cent. A run is one seed; where the task has folds, the mean '
        f'over its folds. p of the {test} {best}',
        tables=[
            Table(
                ('task', *columns, 'p'),
                [Section([row for rows, _ in tasks for row in rows])],
                caption,
            )
        ],
        lists=[
            (
                'These are read in 2D otherwise than as single slices, and published figures stand '
                'by the name of the column alone:',
                'reading',
                readings,
            ),
            (
                'The configs differ in more than start and dimensions:',
                'configs differ',
                recipe_lines,
            ),
        ],
        columns=_COLUMNS,
        records=[record for _, records in tasks for record in records],
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


def _column(name, workdir):
    dimensions = f'{workdir.config["dimensions"]}D'
    return name if name.startswith(dimensions) else f'{dimensions} {name}'


def _task(name, entries, columns, welch):
    """`(rows, records)` of a task: what was measured, and what was published."""
    known = published.TASKS.get(name.lower(), published.Task({}))
    metric = _metric(known, entries[0].workdir)
    measured = _measured(name, metric, entries)
    best = _best_by_dimensions(measured)
    p = float('nan')
    if len(best) == 2:
        p = statistics.t_test(*(measured[column].values for column in best), welch)
    rows = [measured.get(column) for column in columns]
    cells = [f'{spread_of(row)} ({runs(row)})' if row else '' for row in rows]
    lines = [[f'{name}, {title(metric)}', *cells, p_value(p)]]
    from_papers = {column: number for column in measured if (number := known.of(metric, column))}
    if from_papers:
        numbers = [from_papers.get(column) for column in columns]
        cells = [spread_text(n.mean, n.sd) if n else '' for n in numbers]
        # Its p says nothing where a method that it compares is not shown.
        known_p = known.p_of_dimensions if from_papers.keys() >= {*published.OF_DIMENSIONS} else ''
        lines.append(['published', *cells, known_p])
    about: dict[str, object] = {'task': name, 'metric': metric}
    records = []
    for column, row in measured.items():
        values = {'mean': row.mean, 'sd': row.sd, 'p_of_dimensions': p if column in best else None}
        records.append(about | {'method': column, 'source': 'measured', 'runs': row.runs} | values)
    for column, number in from_papers.items():
        records.append(about | {'method': column, 'source': number.source} | number.fractions)
    return lines, records


def _measured(name, metric, entries):
    """The metric of each method, by column."""
    measured: dict[str, Row] = {}
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
    return measured


def _best_by_dimensions(measured):
    """The columns of the best method in 3D and of that in 2D, where there is one."""
    sides = [
        {column: row.mean for column, row in measured.items() if column[0] == side and row.runs}
        for side in '32'
    ]
    return [max(means, key=means.__getitem__) for means in sides if means]


def _metric(known, workdir):
    for metric, numbers in known.numbers.items():
        if any(number.method in ('2D scratch', 'scratch') for number in numbers):
            return metric
    return 'mean_iou_paper' if workdir.task == 'segmentation' else 'auc'
