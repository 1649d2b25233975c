"""Fine-tuning: a network learns a target task, from scratch or from what it restored before."""

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import jax
import ml_collections
import numpy as np

from genesis_jax import evaluate, parallel
from genesis_jax.card import Card
from genesis_jax.config import check_length, config_hash, resolve, to_json
from genesis_jax.data import labelled, views
from genesis_jax.inference import ensemble
from genesis_jax.models import name_of
from genesis_jax.paths import as_path
from genesis_jax.run import Job, run
from genesis_jax.runs import pictures, report, results
from genesis_jax.runs.summary import summarise
from genesis_jax.runs.workdir import open_group, open_workdir, what_was_raised
from genesis_jax.tasks import TASKS
from genesis_jax.training.layer_rates import make_scales
from genesis_jax.training.steps import Steps, make_network, make_steps
from genesis_jax.transfer import check_init, open_start, shapes_of


def finetune(
    config: ml_collections.ConfigDict, workdir: str | Path, recipe: str = ''
) -> list[dict]:
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
    # --- What is cheap to check comes first: a dataset may take hours to prepare.
    config = resolve(config, jax.device_count())
    check_init(config)
    open_group(workdir, config, write=False)
    programs: dict[int, Steps] = {}  # compiled once for runs that differ in nothing but the seed
    seeds = range(config.seed, config.seed + config.runs)
    members = [_member(config, *one) for one in itertools.product(seeds, labelled.folds(config))]
    all_results = [_run(member, workdir, programs, recipe) for member in members]
    if parallel.is_main_process():
        summarise(as_path(workdir), config)
    return all_results


def _member(config, seed, fold):
    """The config of one run."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        del config.runs
        config.seed, config.data.fold = seed, fold
    return config


def _run(config, group, programs, recipe):
    # --- What the config asks for, checked before anything is compiled.
    dataset = labelled.open_labelled(config)
    examples = len(dataset.train)
    steps_per_epoch = config.steps_per_epoch or max(1, examples // config.batch_size)
    check_length(config, steps_per_epoch)
    network = make_network(config, TASKS[config.task].out_channels(dataset.about['classes']))
    expected = shapes_of(network, dataset.shape[-1])
    start = open_start(config, expected)
    name = f'seed_{config.seed}' + ('' if config.data.fold is None else f'_fold_{config.data.fold}')
    group = open_group(group, config, write=parallel.is_main_process())
    goes_on = what_was_raised(group / name, config)
    workdir = open_workdir(group / name, config, write=parallel.is_main_process())
    result = None if goes_on else results.read(workdir)
    if result is not None:
        return result

    # --- Training, from what was loaded or from where it stopped.
    if steps_per_epoch not in programs:
        scales = make_scales(config, expected['params'], start.parts, steps_per_epoch)
        programs[steps_per_epoch] = make_steps(
            config, network, dataset.shape[-1], steps_per_epoch, scales
        )
    about = (config, workdir, dataset, start, steps_per_epoch)
    job = Job(
        steps=programs[steps_per_epoch],
        steps_per_epoch=steps_per_epoch,
        train=dataset.train,
        validation=dataset.validation,
        loaded=start.variables,
        opening=partial(report.opening_finetune, *about, recipe=recipe, goes_on=goes_on),
        picture=partial(_Segmentations, dataset, config) if TASKS[config.task].dense else None,
        cards=lambda progress: {'model': _card(config, dataset, progress, start)},
    )
    progress, variables = run(config, workdir, job)

    # --- The best state is tested.
    card = _card(config, dataset, progress, start)
    predict = ensemble.predictor(jax.device_get(variables), card)
    rows, metrics = evaluate.evaluate(predict, card, dataset)
    result = results.describe(config, dataset, start, progress, metrics, rows, recipe)
    if parallel.is_main_process():
        results.write(workdir, result, rows)
    return result


class _Segmentations:
    """A `run.Picture` of some validation patients."""

    name = 'segmentation'

    def __init__(self, dataset, config):
        self._examples = pictures.Examples(dataset.validation.patients, config.pictures)
        self._classes = dataset.about['classes']
        self._own = views.own_channel(dataset.shape[-1], config.data.view, config.dimensions)

    def offer(self, batch: Mapping[str, np.ndarray], outputs: tuple[jax.Array, ...]) -> None:
        self._examples.offer(batch, partial(self._on_host, outputs))

    def draw(self) -> np.ndarray:
        return pictures.segmentations(self._examples.chosen, self._classes)

    def _on_host(self, outputs):
        """Patches and probabilities of all devices of this process, as batches."""
        patches, answers = (np.concatenate(part) for part in jax.device_get(outputs))
        return patches[..., self._own :], answers


def _card(config, dataset, progress, start) -> Card:
    """What an export tells of itself: enough to predict with it."""
    about, classes = dataset.about, list(dataset.about['classes'])
    between = 'decoder' if config.task == 'segmentation' else config.model.hidden and 'hidden'
    return Card(
        network=name_of(config.task, config.dimensions),
        parts=[part for part in ('encoder', between, 'head') if part],
        task=config.task,
        classes=classes,
        out_channels=TASKS[config.task].out_channels(classes),
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
