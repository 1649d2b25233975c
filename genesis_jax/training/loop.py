"""The training loop: steps, validation, best checkpoint, early stopping, interruption, resume."""

import math
import signal
import time
from collections.abc import Mapping

import jax

from genesis_jax import parallel
from genesis_jax.errors import UserError
from genesis_jax.training.state import TrainState


def train(
    steps, evaluate, state, progress, batches, checkpoints, log, config, steps_per_epoch, profile
) -> TrainState:
    """Trains until the last epoch or until `config.patience` epochs bring no gain.

    Args:
      steps: `steps.Steps`.
      evaluate: `(state, epoch, step) -> metrics` over the validation split; the lowest `loss` is
        the best.
      progress: `checkpoints.Progress`, changed in place.
      batches: a Grain iterator of host batches.
      checkpoints, log, profile: `Checkpoints`, `runs.logs.Log`, `Profile`.

    Returns:
      the last state.

    Raises:
      UserError: a metric is no longer finite; the last good checkpoint stays.
      SystemExit: the process was told to stop (SIGTERM, Ctrl-C); the state was saved.
    """
    step, total = int(state.step), config.epochs * steps_per_epoch
    reader = _Reader(batches)
    metrics = _Metrics(progress, log, config, steps_per_epoch)
    with parallel.interruption() as interruption, profile:
        while step < total and progress.epochs_without_gain < config.patience:
            step += 1
            with profile.step(step):
                state, current = steps.train(state, reader.batch)
            reader.read()
            profile.done(step, state)
            metrics.push(step, current)
            stop = parallel.should_stop(interruption.signal is not None, step)
            if step % steps_per_epoch == 0:
                metrics.flush()
                loss = _validate(evaluate, state, progress, step, log, steps_per_epoch)
                state = steps.end_epoch(state, loss)
                checkpoints.save(state, reader.position, progress, loss)
            elif stop:
                metrics.flush()
                checkpoints.save(state, reader.position, progress)
            if stop:
                log.say(f'stopped at step {step}; the same command resumes here')
                raise SystemExit(128 + (interruption.signal or signal.SIGTERM))
    return state


def _validate(evaluate, state, progress, step, log, steps_per_epoch):
    """Validates, keeps count of the best, tells; returns the validation loss."""
    epoch = step // steps_per_epoch
    validation = evaluate(state, epoch, step)
    loss = validation['loss']
    _check_finite('the validation loss', loss, step)
    gained = loss < progress.best_loss
    progress.epochs_without_gain = 0 if gained else progress.epochs_without_gain + 1
    if loss <= progress.best_loss:  # of equals Orbax keeps the last, so that is the best here, too
        progress.best_loss, progress.best_step = loss, step
    progress.last = {
        'epoch': epoch,
        'train/epoch_loss': progress.loss_sum / progress.loss_count,
        **{f'validation/{name}': value for name, value in validation.items()},
    }
    progress.loss_sum, progress.loss_count = 0.0, 0
    log.write(step, progress.last)
    figures = ', '.join(
        f'{name} {value:.5f}' for name, value in validation.items() if name != 'loss'
    )
    verdict = 'the best so far' if gained else f'best {progress.best_loss:.5f}'
    log.say(
        f'epoch {epoch}: training {progress.last["train/epoch_loss"]:.5f}, '
        f'validation {loss:.5f} ({verdict}; {figures})'
    )
    return loss


def _check_finite(name, value, step):
    if not math.isfinite(value):
        raise UserError(
            f'{name} became {value} at step {step}; what was saved before is kept: lower '
            'config.optimizer.learning_rate and start in a new --workdir'
        )


class _Metrics:
    """Reads the metrics of a step while the device is busy with the next: it never waits."""

    def __init__(self, progress, log, config, steps_per_epoch):
        self._progress, self._log, self._config = progress, log, config
        self._steps_per_epoch = steps_per_epoch
        self._waiting = self._clock = None

    def push(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes a step's metrics in hand and reads those of the step before."""
        if self._waiting is not None:
            self._read(*self._waiting)
        self._waiting = step, metrics

    def flush(self) -> None:
        """Reads what is left. What follows, until the next step, is not counted as its time."""
        self._read(*self._waiting)
        self._waiting = self._clock = None

    def _read(self, step, metrics):
        metrics = {name: float(value) for name, value in metrics.items()}
        for name, value in metrics.items():
            _check_finite(f'the training {name}', value, step)
        progress = self._progress
        progress.loss_sum += metrics['loss']
        progress.loss_count += 1
        now = time.perf_counter()
        if self._clock is not None:
            progress.seconds += now - self._clock
            progress.timed_steps += 1
        self._clock = now

        speed = progress.speed(self._config.batch_size)
        if step % self._config.log_every == 0:
            row = {f'train/{name}': value for name, value in metrics.items()}
            self._log.write(step, row | {'cubes_per_second': speed})
        self._log.advance(
            epoch=f'{(step - 1) // self._steps_per_epoch + 1}/{self._config.epochs}',
            loss=f'{progress.loss_sum / progress.loss_count:.4f}',
            cubes_per_second=f'{speed:.3g}',
        )


class _Reader:
    """The next batch, on its way to the device, and the iterator's state before it was read."""

    def __init__(self, batches):
        self._batches = batches
        self.read()

    def read(self) -> None:
        self.position = self._batches.get_state()
        self.batch = parallel.shard(next(self._batches))
