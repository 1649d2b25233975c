"""What runs say of themselves in words: recipe, opening lines; of a pre-training `report.md`."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from genesis_jax import parallel
from genesis_jax.card import EXAMPLES
from genesis_jax.checkpoints import Progress
from genesis_jax.config import config_hash
from genesis_jax.config_json import flatten
from genesis_jax.errors import missing
from genesis_jax.models import class_of, name_of
from genesis_jax.runs import pictures
from genesis_jax.runs.files import write_atomically
from genesis_jax.runs.workdir import describe
from genesis_jax.tasks import restoration_loss
from genesis_jax.transfer import Start
from genesis_jax.transforms import registry

# Which runs, where the data lie, what is measured of them.
_NO_RECIPE = ('seed', 'runs', 'data.dir', 'data.fold', 'profile_steps')


def describe_recipe(config: ConfigDict, file: str, defaults: ConfigDict) -> str:
    """The config's file and what differs from it (`defaults`): `configs/ncc.py, but epochs=2`."""
    before = flatten(defaults)
    changed = [
        f'{name}={value}'
        for name, value in flatten(config).items()
        if name not in _NO_RECIPE and (name not in before or value != before[name])
    ]
    return f'{file}, but {", ".join(changed)}' if changed else f'{file}, as it is'


def opening_pretraining(
    config, workdir, cube_shape, counts, start, state, resumed, recipe, goes_on
) -> Iterator[str]:
    """Lines that say what is about to run, on what, from which weights, and where."""
    about = {
        **_recipe(recipe),
        'data': f'{config.data.name}{_seen(config)}: {counts["train"]} '
        f'{EXAMPLES[config.dimensions][1]} of {_size(cube_shape)} for training, '
        f'{counts["validation"]} for validation{_drawn(config)}',
        'corruption': registry.describe(config.transforms),
        'loss': restoration_loss(**config.loss),
        'network': _network(config, state),
        'start': _start(start),
    }
    steps_per_epoch = counts['train'] // config.batch_size
    yield from _opening(config, 'pre-training', about, steps_per_epoch, workdir, resumed, goes_on)


def opening_finetune(
    config, workdir, dataset, start, steps_per_epoch, state, resumed, recipe, goes_on
) -> Iterator[str]:
    """Lines that say what is about to run, on what, from which weights, and where."""
    fold, split = '', 'split as prepared'
    if config.data.fold is not None:
        fold = f', tested on fold {config.data.fold}'
        split = f'{100 * config.data.validation_share:g} % of those outside the fold validate'
    patients = ', '.join(str(len(names)) for names in dataset.patients.values())
    spared = '' if config.freeze == 'none' else f', {config.freeze.replace("_", " and ")} frozen'
    title = f'fine-tuning for {config.task}, seed {config.seed}{fold},'
    about = {
        **_recipe(recipe),
        'data': f'{config.data.name}{_seen(config)}: {_examples(dataset)} '
        f'({patients} patients, {split}; label fraction {config.label_fraction:g})',
        'classes': ', '.join(dataset.about['classes']),
        'network': f'{_network(config, state)}{spared}',
        'start': _start(start),
    }
    yield from _opening(config, title, about, steps_per_epoch, workdir, resumed, goes_on)


def _opening(config, title, about, steps_per_epoch, workdir, resumed, goes_on):
    devices, processes = jax.device_count(), jax.process_count()
    hosts = f' of {processes} processes' if processes > 1 else ''
    rows = about | {
        'batch': f'{config.batch_size} in all, {config.batch_size // devices} on each device; '
        f'{steps_per_epoch} steps an epoch, at most {config.epochs} epochs',
        'optimiser': f'{config.optimizer.name}, learning rate {config.optimizer.learning_rate} '
        f'(as configured, not scaled by the batch), schedule {config.schedule.name}',
        'workdir': f'{workdir}' + (f', resumed after step {resumed}' if resumed else ''),
    }
    if goes_on:
        rows['goes on'] = goes_on
    if config.pictures and not pictures.available() and parallel.is_main_process():
        rows['pictures'] = f'none: {missing("plot", "drawing")}'
    yield f'{title} on {devices} x {jax.devices()[0].device_kind}{hosts}'
    yield from (f'  {name:10s} {text}' for name, text in rows.items())


def _examples(dataset):
    counts, size = dict(dataset.counts), _size(dataset.shape)
    scans = ''
    if dataset.tested('test') is not dataset.test:
        what = 'whole scans' if dataset.cases is not None else 'whole patches'
        scans = f', {counts.pop("test")} {what} to test'
    return ', '.join(f'{count} {split}' for split, count in counts.items()) + f' of {size}{scans}'


def _network(config, state):
    form = name_of(config.task, config.dimensions)
    network = config.model.module or class_of(form, config.model).__name__
    network += f', {config.model.norm} normalisation' if config.model.norm else ''
    count = sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(state.params))
    return f'{network}, width {config.model.width}, {count:,} parameters'


def _recipe(recipe):
    return {'recipe': recipe} if recipe else {}


def _start(start):
    return '; '.join(start.lines)


def _seen(config):
    return f' as {config.data.view}' if config.data.view else ''


def _drawn(config):
    drawn = config.data.sampling == 'volumes'
    return '; those for training are drawn anew from whole scans in every epoch' * drawn


def _size(shape):
    return 'x'.join(map(str, shape))


def write(
    workdir: Path, config: ConfigDict, cube_shape, counts, progress: Progress, start: Start, recipe
) -> None:
    """Writes and prints the closing report."""
    about, last = describe(config), progress.last
    example, examples = EXAMPLES[config.dimensions]
    samples = sorted((workdir / 'samples').glob('step_*.png'))
    rows = {
        'restoration, best': progress.best_loss,
        'restoration, last': last['validation/loss'],
        f'corrupted {example} left unchanged': last['validation/unchanged'],
        f'mean of each {example}': last['validation/cube_mean'],
    }
    fails = progress.best_loss >= last['validation/cube_mean']
    verdict = f'The restoration is no better than the mean of each {example}: look at samples/.'
    lines = [
        f'# Pre-training on {config.data.name}',
        '',
        f'| {restoration_loss(**config.loss)} on the validation {examples} | |',
        '| --- | --- |',
        *(f'| {name} | {value:.5f} |' for name, value in rows.items()),
        '',
        *([verdict, ''] if fails else []),
        *(f'- {name}: {text}' for name, text in _recipe(recipe).items()),
        f'- corruption: {registry.describe(config.transforms)}',
        f'- start: {_start(start)}',
        f'- epochs: {last["epoch"]}, best after step {progress.best_step}',
        f'- {counts["train"]} training and {counts["validation"]} validation {example}s of '
        f'{_size(cube_shape)}{_drawn(config)}',
        f'- {about["devices"]} x {about["device"]}, batch {config.batch_size}: '
        f'{progress.speed(config.batch_size):.3g} {example}s a second, {progress.seconds:.0f} s of '
        'steps without compilation',
        f'- config {config_hash(config)} (`config.json`), '
        + ', '.join(f'{package} {version}' for package, version in about['versions'].items()),
        '- weights: `export/encoder` (classification), `export/encoder_decoder` (segmentation)',
        '- curves: `metrics.jsonl`, `tensorboard/`',
    ]
    if samples:
        lines += ['', f'![restorations](samples/{samples[-1].name})']
    write_atomically(workdir / 'report.md', '\n'.join(lines) + '\n')
    print('\n'.join(f'{name:30s} {value:.5f}' for name, value in rows.items()))
    print(*([verdict] if fails else []), f'report: {workdir / "report.md"}', sep='\n')
