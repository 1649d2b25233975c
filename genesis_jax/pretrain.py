"""Pre-training: a U-Net learns to restore corrupted patches."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from genesis_jax import parallel
from genesis_jax.card import Card
from genesis_jax.checkpoints import Progress
from genesis_jax.config import check_cubes, config_hash, resolve, to_json
from genesis_jax.data import reading, views
from genesis_jax.data.fit import check_shape
from genesis_jax.models import name_of
from genesis_jax.run import Job, run
from genesis_jax.runs import pictures, report
from genesis_jax.runs.workdir import open_workdir, what_was_raised
from genesis_jax.training import steps as training_steps
from genesis_jax.training.steps import make_network
from genesis_jax.transfer import check_init, open_start, shapes_of

EXPORTS = {'encoder': ('encoder',), 'encoder_decoder': ('encoder', 'decoder', 'head')}


def pretrain(config: ml_collections.ConfigDict, workdir: str | Path, recipe: str = '') -> Progress:
    """Runs, or resumes, the pre-training that `config` describes in the folder `workdir`.

    Args:
      recipe: the config's file and what differs from it, in words (`report.describe_recipe`).

    Returns:
      the `checkpoints.Progress` of the finished run.

    Raises:
      UserError: something is wrong that the user can mend.
    """
    # --- What the config asks for, checked before anything is compiled.
    config = resolve(config, jax.device_count())
    check_init(config)  # cheap, as is the next, where a dataset may take hours to prepare
    open_workdir(workdir, config, write=False)
    *sources, stored = reading.open_splits(config)
    cube_shape = check_shape(config, stored)
    train, validation = (
        views.viewed(source, config.data.view, stored, every=True) for source in sources
    )
    check_cubes(config, cube_shape, len(train))
    channels = cube_shape[-1]
    start = open_start(config, shapes_of(make_network(config, channels), channels))
    goes_on = what_was_raised(workdir, config)
    workdir = open_workdir(workdir, config, write=parallel.is_main_process())
    counts = {'train': len(train), 'validation': len(validation)}
    steps_per_epoch = len(train) // config.batch_size

    # --- Training, from what was loaded or from where it stopped.
    job = Job(
        steps=make_steps(config, cube_shape, steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        train=train,
        validation=validation,
        loaded=start.variables,
        opening=partial(
            report.opening_pretraining,
            config,
            workdir,
            cube_shape,
            counts,
            start,
            recipe=recipe,
            goes_on=goes_on,
        ),
        picture=partial(_Restorations, validation, config),
        cards=lambda progress: {
            name: _card(config, cube_shape, counts, progress, start, parts)
            for name, parts in EXPORTS.items()
        },
    )
    progress, _ = run(config, workdir, job)

    # --- The report.
    if parallel.is_main_process():
        report.write(workdir, config, cube_shape, counts, progress, start, recipe)
    return progress


def make_steps(
    config: ml_collections.ConfigDict, cube_shape: tuple[int, ...], steps_per_epoch: int
) -> training_steps.Steps:
    """The steps that `config` describes, for examples `[X, Y(, Z), C]`."""
    channels = cube_shape[-1]
    network = make_network(config, channels)
    return training_steps.make_steps(config, network, channels, steps_per_epoch)


@dataclasses.dataclass
class _Restorations:
    """A `run.Picture` of some validation examples, of different scans."""

    source: Any
    config: ml_collections.ConfigDict

    name = 'restoration'

    def __post_init__(self):
        places = reading.of_different_scans(self.source, self.config.pictures)
        # Of several processes, the first, which draws, reads every so-many-th example.
        self._places = {place - place % jax.process_count() for place in places}
        self._images = []

    def offer(self, batch: Mapping[str, np.ndarray], outputs: tuple[jax.Array, ...]) -> None:
        rows = [row for row, position in enumerate(batch['position']) if position in self._places]
        if rows:
            self._images.append([np.concatenate(part)[rows] for part in jax.device_get(outputs)])

    def draw(self) -> np.ndarray | None:
        if not self._images:
            return None
        images = [np.concatenate(part) for part in zip(*self._images, strict=True)]
        own = views.own_channel(images[0].shape[-1], self.config.data.view, self.config.dimensions)
        return pictures.restorations(*(image[..., own:] for image in images))


def _card(config, cube_shape, counts, progress, start, parts) -> Card:
    """What an export tells of itself."""
    return Card(
        network=name_of(config.task, config.dimensions),
        parts=list(parts),
        in_channels=cube_shape[-1],
        out_channels=cube_shape[-1],
        cube_shape=list(cube_shape),
        config=to_json(config),
        config_hash=config_hash(config),
        cubes=counts,
        provenance=start.provenance,
        **reading.provenance(config.data),
        **view_and_window(config.data),
        **progress.card(config.batch_size),
        baselines={
            name: progress.last[f'validation/{name}'] for name in ('unchanged', 'cube_mean')
        },
    )


def view_and_window(data: ml_collections.ConfigDict) -> dict[str, Any]:
    """What the examples show and their window, where `data.provenance` does not tell.

    `view` is of slices, also of those that were prepared as slices; `full_range` of images.

    Args:
      data: `config.data`.
    """
    about = reading.open_dataset(data, 'scans').info.metadata or {}
    recipe = about.get('recipe') or {}
    prepared = {1: 'slices', 3: 'adjacent'}.get(recipe.get('channels', 0))
    images = {'full_range': recipe['window'] == 'depth'} if 'window' in recipe else {}
    return {'view': data.view or prepared, **images}
