"""Pre-training: a U-Net learns to restore corrupted cubes."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from genesis_jax import data, optim, parallel, pictures, report
from genesis_jax.checkpoints import Checkpoints, Progress, export
from genesis_jax.config import check_cubes, config_hash, resolve, to_json
from genesis_jax.logs import Log
from genesis_jax.loop import Task, train
from genesis_jax.losses import squared_error
from genesis_jax.models import UNet3D
from genesis_jax.transforms import corrupt
from genesis_jax.workdir import claim

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
    train_source, validation_source, features = data.open_splits(config.data)
    cube_shape = features['cube'].shape
    check_cubes(config, cube_shape, len(train_source))
    workdir = claim(workdir, config, write=parallel.is_main_process())
    steps_per_epoch = len(train_source) // config.batch_size

    # --- The network, its optimiser, the steps.
    steps = Steps(config, cube_shape, steps_per_epoch)
    state, progress = parallel.create(steps.init), Progress()
    batches = data.train_batches(train_source, config.batch_size, config.seed)

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


class Steps:
    """The programs of one device, and those mapped over all devices.

    The key of example `position` at step `step` is `fold_in(fold_in(key, step), position)`: it
    depends on neither the number of devices nor on what was run before.
    """

    def __init__(self, config, cube_shape, steps_per_epoch):
        self._config, self._cube_shape = config, cube_shape
        self._model = UNet3D(
            out_channels=cube_shape[-1], axis_name=parallel.AXIS, **config.model.to_dict()
        )
        self._optimisation = optim.Optimisation(config, steps_per_epoch)
        self.train = parallel.spmd(self._train, donate=True)
        self.evaluate = parallel.spmd(self._evaluate, out_axes=(None, 0))
        self.end_epoch = self._optimisation.end_epoch

    def init(self):
        """A new train state."""
        # The parameters do not depend on the size of the input: the smallest compiles fastest.
        smallest = jnp.zeros((1, *[16] * (len(self._cube_shape) - 1), self._cube_shape[-1]))
        key = jax.random.fold_in(jax.random.key(self._config.seed), 0)
        variables = self._model.init(key, smallest, train=True)
        return self._optimisation.init(variables, self._config.seed)

    def _corrupt(self, key, batch):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch['position'])
        cubes = data.normalise(batch, self._config.data.window)
        return jax.vmap(partial(corrupt, **self._config.transforms.to_dict()))(keys, cubes)

    def _train(self, state, batch):
        key = jax.random.fold_in(jax.random.fold_in(state.root_key, 1), state.step)
        corrupted, target = self._corrupt(key, batch)

        def loss_of(params):
            variables = {'params': params, 'batch_stats': state.batch_stats}
            logits, updated = self._model.apply(
                variables, corrupted, train=True, mutable=['batch_stats']
            )
            return jnp.mean(squared_error(jax.nn.sigmoid(logits), target)), updated['batch_stats']

        return self._optimisation.update(state, loss_of)

    def _evaluate(self, state, batch):
        """Sums over the weighted examples of all devices, and this device's images."""
        corrupted, target = self._corrupt(jax.random.fold_in(state.root_key, 2), batch)
        restored = jax.nn.sigmoid(self._model.predict(state.variables, corrupted))
        mean = jnp.mean(target, axis=tuple(range(1, target.ndim)), keepdims=True)
        losses = {
            'loss': squared_error(restored, target),
            'unchanged': squared_error(corrupted, target),
            'cube_mean': squared_error(mean, target),
            'examples': jnp.ones_like(batch['weight']),
        }
        sums = {name: jnp.sum(values * batch['weight']) for name, values in losses.items()}
        return jax.lax.psum(sums, parallel.AXIS), (target, corrupted, restored)


def _evaluate(steps, source, config, log, state, epoch, step):
    """Means over the validation split: of the restoration, and of two that learn nothing.

    `unchanged` returns the corrupted cube as it is; `cube_mean` fills each with its target's mean.
    """
    sums, images = [], None
    for batch in data.validation_batches(source, config.batch_size):
        batch_sums, batch_images = steps.evaluate(state, parallel.shard(batch))
        sums.append(batch_sums)
        images = batch_images if images is None else images
    totals = {name: math.fsum(float(s[name]) for s in sums) for name in sums[0]}
    examples = totals.pop('examples')
    wanted = epoch == 1 or epoch % config.picture_epochs == 0 or epoch == config.epochs
    if config.pictures and wanted and parallel.is_main_process() and pictures.available():
        host = [np.concatenate(jax.device_get(i))[: config.pictures] for i in images]
        log.picture(step, pictures.restorations(*host), 'restoration')
    return {name: total / examples for name, total in totals.items()}


def _card(config, cube_shape, counts, progress, parts):
    """What an export tells of itself."""
    return {
        'network': 'unet3d',
        'parts': list(parts),
        'in_channels': cube_shape[-1],
        'outputs': cube_shape[-1],
        'cube_shape': list(cube_shape),
        'config': to_json(config),
        'config_hash': config_hash(config),
        'cubes': counts,
        **data.provenance(config.data),
        **progress.card(config.batch_size),
        'baselines': {
            name: progress.last[f'validation/{name}'] for name in ('unchanged', 'cube_mean')
        },
    }
