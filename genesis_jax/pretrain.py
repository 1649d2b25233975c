"""Pre-training: a U-Net learns to restore corrupted cubes."""

import math
from functools import partial

import jax
import numpy as np

from genesis_jax import parallel
from genesis_jax.card import Card
from genesis_jax.checkpoints import Checkpoints, Progress, export
from genesis_jax.config import check_cubes, config_hash, resolve, to_json
from genesis_jax.data import reading, views
from genesis_jax.data.fit import check_shape
from genesis_jax.models import NETWORKS, name_of
from genesis_jax.runs import pictures, report
from genesis_jax.runs.logs import Log
from genesis_jax.runs.workdir import open_workdir
from genesis_jax.training import optim
from genesis_jax.training.loop import Task, train
from genesis_jax.training.restoration import Steps

EXPORTS = {'encoder': ('encoder',), 'encoder_decoder': ('encoder', 'decoder', 'head')}


def pretrain(config, workdir):
    """Runs, or resumes, the pre-training that `config` describes in the folder `workdir`.

    Returns:
      the `checkpoints.Progress` of the finished run.

    Raises:
      UserError: something is wrong that the user can mend.
    """
    # --- What is asked for, checked before anything is compiled.
    config = resolve(config, jax.device_count())
    *sources, features = reading.open_splits(config)
    stored = features['cube'].shape
    cube_shape = check_shape(config, stored)
    train_source, validation_source = (
        views.viewed(source, config.data.view, stored, every=True) for source in sources
    )
    check_cubes(config, cube_shape, len(train_source))
    workdir = open_workdir(workdir, config, write=parallel.is_main_process())
    steps_per_epoch = len(train_source) // config.batch_size

    # --- The network, its optimiser, the steps.
    steps = make_steps(config, cube_shape, steps_per_epoch)
    state, progress = parallel.create(steps.init), Progress()
    batches = reading.train_batches(train_source, config.batch_size, config.seed)

    with (
        Log(workdir, parallel.is_main_process()) as log,
        Checkpoints(workdir / 'checkpoints') as ckpt,
    ):
        # --- Where an earlier run stopped, or the start.
        resumed = ckpt.latest_step
        if resumed is not None:
            state, position, progress = ckpt.load(resumed, like=state)
            batches.set_state(position)
        counts = {'train': len(train_source), 'validation': len(validation_source)}
        for line in report.opening_pretraining(config, workdir, cube_shape, counts, state, resumed):
            log.say(line)
        log.start(resumed or 0, config.epochs * steps_per_epoch)

        # --- Training.
        evaluate = partial(_evaluate, steps, validation_source, config, log)
        task = Task(steps.train, evaluate, steps.end_epoch)
        state = train(task, state, progress, batches, ckpt, log, config, steps_per_epoch)

        # --- The best state leaves the run.
        best, _, _ = ckpt.load(progress.best_step, like=state)
        for name, parts in EXPORTS.items():
            card = _card(config, cube_shape, counts, progress, parts)
            export(workdir / 'export' / name, best.variables, parts, card)
    if parallel.is_main_process():
        report.write(workdir, config, cube_shape, counts, progress)
    return progress


def make_steps(config, cube_shape, steps_per_epoch):
    """The `restoration.Steps` that `config` describes, for examples `[X, Y(, Z), C]`."""
    network = NETWORKS[name_of(config.task, config.dimensions)]
    return Steps(
        network(out_channels=cube_shape[-1], axis_name=parallel.AXIS, **config.model.to_dict()),
        optim.Optimisation(config, steps_per_epoch),
        config.transforms.to_dict(),
        cube_shape,
        window=config.data.window,
        seed=config.seed,
    )


def _evaluate(steps, source, config, log, state, epoch, step):
    """Means over the validation split: of the restoration, and of two that learn nothing.

    `unchanged` returns the corrupted cube as it is; `cube_mean` fills each with its target's mean.
    """
    sums, taken, shown = [], [], _pictured(source, config, epoch)
    for batch in reading.validation_batches(source, config.batch_size):
        batch_sums, images = steps.evaluate(state, parallel.shard(batch))
        sums.append(batch_sums)
        rows = [row for row, position in enumerate(batch['position']) if position in shown]
        if rows:
            taken.append([np.concatenate(part)[rows] for part in jax.device_get(images)])
    totals = {name: math.fsum(float(s[name]) for s in sums) for name in sums[0]}
    examples = totals.pop('examples')
    if taken:
        host = [np.concatenate(part) for part in zip(*taken, strict=True)]
        own = views.own_channel(host[0].shape[-1], config.data.view, config.dimensions)
        log.picture(step, pictures.restorations(*(i[..., own:] for i in host)), 'restoration')
    return {name: total / examples for name, total in totals.items()}


def _pictured(source, config, epoch):
    """The places in the validation split that this epoch's picture shows, if it has one."""
    wanted = epoch == 1 or epoch % config.picture_epochs == 0 or epoch == config.epochs
    drawn = config.pictures and wanted and parallel.is_main_process() and pictures.available()
    if not drawn:
        return set()
    places = reading.of_different_scans(source, config.pictures)
    # Of several processes, the first, which draws, reads every so-many-th example.
    return {place - place % jax.process_count() for place in places}


def _card(config, cube_shape, counts, progress, parts) -> Card:
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
        **reading.provenance(config.data),
        **view_and_window(config.data),
        **progress.card(config.batch_size),
        baselines={
            name: progress.last[f'validation/{name}'] for name in ('unchanged', 'cube_mean')
        },
    )


def view_and_window(wanted):
    """What the examples show and their window, where `data.provenance` does not tell.

    `view` is of slices, also of those that were prepared as slices; `full_range` of images.

    Args:
      wanted: `config.data`.
    """
    about = reading.open_dataset(wanted, 'scans').info.metadata or {}
    recipe = about.get('recipe') or {}
    prepared = {1: 'slices', 3: 'adjacent'}.get(recipe.get('channels'))
    images = {'full_range': recipe['window'] == 'depth'} if 'window' in recipe else {}
    return {'view': wanted.view or prepared, **images}
