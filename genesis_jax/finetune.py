"""Fine-tuning: a network learns a target task, from scratch or from what it restored before."""

import functools
import itertools
from pathlib import Path

import jax
import numpy as np

from genesis_jax import evaluate, parallel
from genesis_jax.card import Card
from genesis_jax.checkpoints import Checkpoints, Progress, export
from genesis_jax.config import check_warmup, config_hash, resolve, to_json
from genesis_jax.data import labelled, reading, views
from genesis_jax.models import name_of
from genesis_jax.runs import pictures, report, results
from genesis_jax.runs.logs import Log
from genesis_jax.runs.summary import summarise
from genesis_jax.runs.workdir import RESULTS, open_group, open_workdir
from genesis_jax.training.layer_rates import make_scales
from genesis_jax.training.loop import Task, train
from genesis_jax.training.supervised import Steps, _outputs, make_network
from genesis_jax.transfer import open_start, shapes_of


def finetune(config, workdir, recipe=''):
    """Runs, or resumes, the runs that `config` describes: one folder each in `workdir`.

    A run is a seed, or a seed and the fold it is tested on. Runs that are complete are kept, so
    that a larger `config.runs` adds to them.

    Args:
      recipe: the config's file and what differs from it, in words (`report.describe_recipe`).

    Returns:
      the results of all runs (`results.json` of each).

    Raises:
      UserError: something is wrong that the user can mend.
    """
    config = resolve(config, jax.device_count())
    programs = {}  # compiled once for runs that differ in nothing but the seed
    seeds = range(config.seed, config.seed + config.runs)
    members = [_member(config, *one) for one in itertools.product(seeds, labelled.folds(config))]
    found = [_run(member, workdir, programs, recipe) for member in members]
    if parallel.is_main_process():
        summarise(Path(workdir).expanduser(), config)
    return found


def _member(config, seed, fold):
    """The config of one run."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        del config.runs
        config.seed, config.data.fold = seed, fold
    return config


def _run(config, group, programs, recipe):
    # --- What is asked for, checked before anything is compiled.
    dataset = labelled.open_labelled(config)
    examples = len(dataset.train)
    steps_per_epoch = config.steps_per_epoch or max(1, examples // config.batch_size)
    check_warmup(config, steps_per_epoch)
    network = make_network(config, dataset.about['classes'])
    expected = shapes_of(network, dataset.shape[-1])
    start = open_start(config, expected)
    name = f'seed_{config.seed}' + ('' if config.data.fold is None else f'_fold_{config.data.fold}')
    group = open_group(group, config, write=parallel.is_main_process())
    workdir = open_workdir(group / name, config, write=parallel.is_main_process())
    if (workdir / RESULTS).exists():
        return results.read(workdir)

    # --- The steps, and what the network starts with.
    if steps_per_epoch not in programs:
        scales = make_scales(config, expected['params'], start.parts, steps_per_epoch)
        programs[steps_per_epoch] = Steps(config, network, dataset.shape, steps_per_epoch, scales)
    steps = programs[steps_per_epoch]
    state = parallel.create(steps.init, np.int32(config.seed), start.variables)
    progress = Progress()
    batches = reading.train_batches(dataset.train, config.batch_size, config.seed)

    with (
        Log(workdir, parallel.is_main_process()) as log,
        Checkpoints(workdir / 'checkpoints') as ckpt,
    ):
        # --- Where an earlier run stopped, or the start.
        resumed = ckpt.latest_step
        if resumed is not None:
            state, position, progress = ckpt.load(resumed, like=state)
            batches.set_state(position)
        about = (dataset, start, steps_per_epoch, state, resumed, recipe)
        for line in report.opening_finetune(config, workdir, *about):
            log.say(line)
        log.start(resumed or 0, config.epochs * steps_per_epoch)

        # --- Training.
        validate = functools.partial(_validate, steps, dataset, config, log, progress)
        task = Task(steps.train, validate, steps.end_epoch)
        state = train(task, state, progress, batches, ckpt, log, config, steps_per_epoch)

        # --- The best state leaves the run, and is tested.
        best, _, _ = ckpt.load(progress.best_step, like=state)
        card = _card(config, dataset, progress, start)
        model = workdir / 'export' / 'model'
        export(model, best.variables, card['parts'], card)
    rows, metrics = evaluate.evaluate(jax.device_get(best.variables), card, dataset)
    found = results.describe(config, dataset, start, progress, metrics, rows, recipe)
    if parallel.is_main_process():
        results.write(workdir, found, rows)
    return found


def _validate(steps, dataset, config, log, progress, state, epoch, step):
    """Loss and metrics over the validation split; now and then a picture of a segmentation."""
    # the last epoch that there can be, or that there is if it brings no gain
    last = epoch == config.epochs or progress.epochs_without_gain + 1 >= config.patience
    wanted = epoch == 1 or epoch % config.picture_epochs == 0 or last
    pictured = wanted and config.task == 'segmentation' and config.pictures
    examples = None
    if pictured and parallel.is_main_process() and pictures.available():
        examples = pictures.Examples(dataset.validation.patients, config.pictures)
    totals = []
    for batch in reading.validation_batches(dataset.validation, config.batch_size):
        batch_totals, outputs = steps.evaluate(state, parallel.shard(batch))
        totals.append(batch_totals)
        if examples is not None:
            own = views.own_channel(dataset.shape[-1], config.data.view, config.dimensions)
            examples.offer(batch, functools.partial(_on_host, outputs, own))
    summed = jax.tree.map(lambda *parts: sum(np.float64(part) for part in parts), *totals)
    if examples is not None:
        shown = pictures.segmentations(examples.chosen, dataset.about['classes'])
        log.picture(step, shown, 'segmentation')
    return steps.conclude(jax.tree.map(np.float32, summed))


def _on_host(outputs, own_channel):
    """Cubes, from this channel on, and probabilities of all devices of this process, as batches."""
    cubes, answers = (np.concatenate(part) for part in jax.device_get(outputs))
    return cubes[..., own_channel:], answers


def _card(config, dataset, progress, start) -> Card:
    """What an export tells of itself: enough to predict with it."""
    about, classes = dataset.about, list(dataset.about['classes'])
    segments = config.task == 'segmentation'
    return Card(
        network=name_of(config.task, config.dimensions),
        parts=['encoder', 'decoder', 'head'] if segments else _classifier(config),
        task=config.task,
        classes=classes,
        out_channels=_outputs(config, classes),
        in_channels=dataset.shape[-1],
        channels=list(about['channels']),
        cube_shape=list(dataset.shape),
        record_shape=list(dataset.record_shape),
        view=config.data.view,
        modality=about['modality'],
        spacing=about['spacing'],
        full_range=about['full_range'],
        window=list(config.data.window) if config.data.window else None,
        seed=config.seed,
        fold=config.data.fold,
        provenance=start.provenance,
        examples=dataset.counts,
        patients={split: len(names) for split, names in dataset.patients.items()},
        trained_on=sorted(
            labelled.fingerprint(patient)
            for split in ('train', 'validation')
            for patient in dataset.patients[split]
        ),
        config=to_json(config),
        config_hash=config_hash(config),
        **progress.card(config.batch_size),
    )


def _classifier(config):
    return ['encoder', *(['hidden'] if config.model.hidden else []), 'head']
