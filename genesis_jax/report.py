"""What a run says of itself in words: the opening lines and the closing `report.md`."""

import jax
import numpy as np

from genesis_jax import parallel, pictures
from genesis_jax.config import config_hash
from genesis_jax.workdir import describe, write_atomically


def opening(config, workdir, cube_shape, counts, state, resumed):
    """Lines that say what is about to run, on what, and where."""
    devices, processes = jax.device_count(), jax.process_count()
    hosts = f' of {processes} processes' if processes > 1 else ''
    size = 'x'.join(map(str, cube_shape))
    parameters = sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(state.params))
    yield f'pre-training on {devices} x {jax.devices()[0].device_kind}{hosts}'
    yield (
        f'  data       {config.data.name}: {counts["train"]} cubes of {size} for training, '
        f'{counts["validation"]} for validation'
    )
    yield f'  corruption {corruption(config.transforms)}'
    yield f'  network    UNet3D, width {config.model.width}, {parameters:,} parameters'
    yield (
        f'  batch      {config.batch_size} in all, {config.batch_size // devices} on each device; '
        f'{counts["train"] // config.batch_size} steps an epoch, at most {config.epochs} epochs'
    )
    yield (
        f'  optimiser  {config.optimizer.name}, learning rate {config.optimizer.learning_rate} '
        f'(as configured, not scaled by the batch), schedule {config.schedule.name}'
    )
    yield f'  workdir    {workdir}' + (f', resumed after step {resumed}' if resumed else '')
    if config.pictures and not pictures.available() and parallel.is_main_process():
        yield "  pictures   none: matplotlib is missing (pip install 'genesis-jax[plot]')"


def write(workdir, config, cube_shape, counts, progress):
    """Writes and prints the closing report."""
    about = describe(config)
    last = progress.last
    speed = progress.timed_steps * config.batch_size / max(progress.seconds, 1e-9)
    samples = sorted((workdir / 'samples').glob('step_*.png'))
    rows = {
        'restoration, best': progress.best_loss,
        'restoration, last': last['validation/loss'],
        'corrupted cube left unchanged': last['validation/unchanged'],
        'mean of each cube': last['validation/cube_mean'],
    }
    verdict = []
    if progress.best_loss >= last['validation/cube_mean']:
        verdict = ['The restoration is no better than the mean of each cube: look at samples/.', '']
    lines = [
        f'# Pre-training on {config.data.name}',
        '',
        '| mean squared error on the validation cubes | |',
        '| --- | --- |',
        *(f'| {name} | {value:.5f} |' for name, value in rows.items()),
        '',
        *verdict,
        f'- corruption: {corruption(config.transforms)}',
        f'- epochs: {last["epoch"]}, best after step {progress.best_step}',
        f'- {counts["train"]} training and {counts["validation"]} validation cubes of '
        + 'x'.join(map(str, cube_shape)),
        f'- {about["devices"]} x {about["device"]}, batch {config.batch_size}: '
        f'{speed:.3g} cubes a second, {progress.seconds:.0f} s of steps without compilation',
        f'- config {config_hash(config)} (`config.json`), '
        + ', '.join(f'{package} {version}' for package, version in about['versions'].items()),
        '- weights: `export/encoder` (classification), `export/encoder_decoder` (segmentation)',
        '- curves: `metrics.jsonl`, `tensorboard/`',
    ]
    if samples:
        lines += ['', f'![restorations](samples/{samples[-1].name})']
    write_atomically(workdir / 'report.md', '\n'.join(lines) + '\n')
    print('\n'.join(f'{name:30s} {value:.5f}' for name, value in rows.items()))
    print(*verdict[:1], f'report: {workdir / "report.md"}', sep='\n')


def corruption(transforms):
    """The transforms that happen and how often, in words."""
    out = transforms.outpaint_probability
    shares = {
        'shuffling': transforms.shuffle_probability,
        'non-linear': transforms.nonlinear_probability,
        'out-painting': transforms.paint_probability * out,
        'in-painting': transforms.paint_probability * (1 - out),
    }
    words = [f'{name} {share:.3g}' for name, share in shares.items() if share > 0]
    return ', '.join(words) or 'none (autoencoder)'
