"""The methods of a table over tasks: what they are called, and their runs on each task."""

from collections.abc import Sequence

from genesis_jax.compare import published
from genesis_jax.compare.analysis import Entry, Row, row_of
from genesis_jax.compare.runs import Workdir
from genesis_jax.compare.writers import percent
from genesis_jax.errors import UserError
from genesis_jax.provenance import short_name

APPROACHES = {  # of table 3, by their corruptions
    ('shuffling', 'non-linear'): 'Distortion',
    ('out-painting', 'in-painting'): 'Painting',
}
UNIFIED = tuple(kind for kinds in APPROACHES for kind in kinds)


def group(
    workdirs: Sequence[Workdir], names: Sequence[str]
) -> tuple[dict[str, list[Entry]], list[str]]:
    """Entries by task, and all methods, those in 2D first; dimensions are named where they differ.

    Raises:
      UserError: shares of the labels differ.
    """
    dimensions = {workdir.config['dimensions'] for workdir in workdirs}
    if dimensions != {3}:
        names = [_column(*pair) for pair in zip(names, workdirs, strict=True)]
    fractions = {workdir.label_fraction for workdir in workdirs}
    if len(fractions) > 1:
        shares = ', '.join(map(percent, sorted(fractions)))
        raise UserError(f'the workdirs have {shares} of the labels; give those of one share')
    by_task: dict[str, list[Entry]] = {}
    for name, workdir in zip(names, workdirs, strict=True):
        by_task.setdefault(workdir.task_name, []).append(Entry(name, workdir))
    methods = dict.fromkeys(names)
    return by_task, sorted(methods, key=lambda name: not name.startswith('2D'))


def start_of(workdir: Workdir, ct: str = 'Genesis') -> str:
    """What a method is called in the papers, by what it started from.

    Args:
      ct: Genesis Chest CT, where the task has no start of X-ray beside it.
    """
    if workdir.init == 'scratch':
        return 'scratch'
    began = workdir.provenance
    decodes = 'decoder' in (*began.loaded, *began.unused)
    # The file of another program is in 2D a ResNet-18, as a rule of ImageNet.
    if workdir.config['dimensions'] == 2 and began.source and not decodes:
        return 'ImageNet'
    if began.task not in (None, 'restoration'):
        return short_name(workdir.init)
    if approach := _approach(began.corruptions):
        return approach
    if began.dataset == 'chestxray':
        return 'Genesis X-ray'
    known = published.TASKS.get(workdir.task_name.lower(), published.Task({}))
    if any(number.method == 'Genesis CT 2D' for number in known.numbers.get('auc', ())):
        ct = 'Genesis CT'  # of these tasks, those of CT and of X-ray were both published
    return ct if began.modality == 'ct' else 'Genesis'


def _approach(corruptions):
    """What a pre-training with some of the published corruptions is called; '' with all."""
    known = {(): '', ('none',): 'Autoencoder', UNIFIED: '', **APPROACHES}
    return known.get(tuple(corruptions), ' + '.join(corruptions).capitalize())


def _column(name, workdir):
    dimensions = f'{workdir.config["dimensions"]}D'
    return name if name.startswith(dimensions) else f'{dimensions} {name}'


def measure(
    name: str, metric: str, entries: Sequence[Entry], columns: Sequence[str]
) -> dict[str, Row]:
    """The metric of each method, in the order of the columns."""
    measured: dict[str, Row] = {}
    for entry in entries:
        if entry.method in measured:
            raise UserError(
                f'{entry.workdir.path} and another workdir of {name} are both {entry.method!r}; '
                'tell them apart with --names=A,B,…'
            )
        for what in ('dataset', 'classes'):
            if getattr(entry.workdir, what) != getattr(entries[0].workdir, what):
                raise UserError(
                    f'{entry.workdir.path} has other {what} than {entries[0].workdir.path}; only '
                    f'runs on the same data can be compared as {name}'
                )
        measured[entry.method] = row_of(metric, entry)
    return {column: measured[column] for column in columns if column in measured}


def metric_of(known: published.Task, workdir: Workdir) -> str:
    """What the papers measure of a task."""
    for metric, numbers in known.numbers.items():
        if any(number.method in ('2D scratch', 'scratch') for number in numbers):
            return metric
    return 'mean_iou_paper' if workdir.task == 'segmentation' else 'auc'
