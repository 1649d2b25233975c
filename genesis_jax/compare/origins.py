"""What the starts of published tables were: how far a task is from one, which scratch is meant."""

from collections.abc import Iterator, Sequence

from genesis_jax.compare import published
from genesis_jax.compare.runs import Workdir

APART = ('disease', 'organ', 'dataset', 'modality')  # in what a task may differ from its start
_SCRATCH = {  # of `model.init`, in 3D
    'glorot': "drawn as the tables' scratch (Glorot)",
    'he': "drawn as He's (MSRA), where the tables' scratch is Glorot's: MedIA 2021 has AUC 96.03 % "
    'with the first and 94.25 % with the second in NCC',
    'torch': "drawn as the published PyTorch network (its default), where the tables' scratch is "
    "Glorot's",
}


def apart(task: str, workdirs: Sequence[Workdir]) -> list[str]:
    """As `published_apart`, where these workdirs start from a pre-training on LUNA16.

    Otherwise dashes: the names of data sets do not tell.
    """
    origins = [workdir.provenance for workdir in workdirs]
    datasets = {origin.dataset or '' for origin in origins if origin.task == 'restoration'}
    return published_apart(task) if any(map(_is_ct, datasets)) else ['–'] * len(APART)


def published_apart(task: str) -> list[str]:
    """`×` or nothing for each of APART, as in the papers' table 2: what differs from LUNA16."""
    known = published.TASKS.get(task.lower())
    if known is None or known.apart is None:
        return ['–'] * len(APART)
    return ['×' if what in known.apart else '' for what in APART]


def _is_ct(dataset):
    return dataset.startswith('luna16')  # what Genesis Chest CT restored


def other_lines(task: str, entries) -> Iterator[str]:
    """Starts of a published task whose pre-training is not that of the published numbers."""
    if task.lower() not in published.TASKS:
        return
    for entry in entries:
        origin = entry.workdir.provenance
        known = origin.dataset and not _is_ct(origin.dataset) and origin.dataset != 'chestxray'
        if origin.task == 'restoration' and known:
            yield (
                f'{entry.method} was pre-trained on {origin.dataset}; the published numbers in its '
                'column are of Genesis Chest CT (LUNA16)'
            )


def scratch_lines(task: str, entries) -> Iterator[str]:
    """Which published scratch a 3D scratch of a published task corresponds to."""
    if task.lower() not in published.TASKS:
        return
    for entry in entries:
        config = entry.workdir.config
        if entry.workdir.init == 'scratch' and config['dimensions'] == 3:
            yield f'{entry.method}: {_SCRATCH[str(config.get("model.init", "he"))]}'
