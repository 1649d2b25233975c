"""Optimisers and learning-rate schedules, from the config to optax."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from genesis_jax import parallel
from genesis_jax.training.state import TrainState

OPTIMIZERS = ('sgd', 'adam', 'adamw')
FOLLOW_EPOCHS = ('cosine', 'poly', 'sawtooth')  # end with the last epoch
SCHEDULES = ('constant', 'plateau', 'step', *FOLLOW_EPOCHS)


def make_schedule(
    schedule: Any,
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    head_warmup_epochs: int = 0,
) -> optax.Schedule:
    """The learning rate as a function of the step, without what a plateau takes off it.

    A sawtooth (Wald et al., OpenMind, 2024) rises twice: while the head warms up alone, and again
    from 0 when the whole network starts to learn; then it decays as 'poly'. The other schedules run
    through the warm-up of the head.
    """
    head_steps = head_warmup_epochs * steps_per_epoch if schedule.name == 'sawtooth' else 0
    after = max(1, epochs * steps_per_epoch - head_steps - schedule.warmup_steps)
    poly = optax.polynomial_schedule(learning_rate, 0.0, schedule.power, after)
    main = {
        'constant': lambda: optax.constant_schedule(learning_rate),
        'plateau': lambda: optax.constant_schedule(learning_rate),
        'step': lambda: optax.exponential_decay(
            learning_rate, schedule.epochs * steps_per_epoch, schedule.factor, staircase=True
        ),
        'cosine': lambda: optax.cosine_decay_schedule(learning_rate, after),
        'poly': lambda: poly,
        'sawtooth': lambda: poly,
    }[schedule.name]()
    rises = [steps for steps in (head_steps, schedule.warmup_steps) if steps]
    if not rises:
        return main
    rising = [optax.linear_schedule(0.0, learning_rate, steps) for steps in rises]
    return optax.join_schedules([*rising, main], list(itertools.accumulate(rises)))


def make_plateau(schedule: Any, learning_rate: float) -> optax.GradientTransformationExtraArgs:
    """Scales the learning rate down when the validation loss stops falling.

    With another schedule than 'plateau' the scale stays at 1.
    """
    waits = schedule.name == 'plateau'
    return optax.contrib.reduce_on_plateau(
        factor=schedule.factor,
        patience=schedule.patience if waits else 2**31 - 1,
        rtol=0.0,
        atol=schedule.min_delta,
        min_scale=min(1.0, schedule.floor / learning_rate),
    )


def make_optimizer(optimizer: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optax transformation; `schedule` is what `make_schedule` returns."""
    rule = {
        'sgd': lambda: optax.sgd(
            schedule, momentum=optimizer.momentum, nesterov=optimizer.nesterov
        ),
        'adam': lambda: optax.adam(schedule),
        'adamw': lambda: optax.adamw(schedule, weight_decay=optimizer.weight_decay),
    }[optimizer.name]()
    before = []
    if optimizer.clip_norm:
        before.append(optax.clip_by_global_norm(optimizer.clip_norm))
    if optimizer.name == 'sgd' and optimizer.weight_decay:
        before.append(optax.add_decayed_weights(optimizer.weight_decay))
    return optax.chain(*before, rule) if before else rule


class Optimisation:
    """How a run changes its state: optimiser, schedule and plateau rule of a config.

    `init` and `update` are programs of one device, to be mapped by `parallel`.

    Args:
      scales: `step -> tree`, factors of the learning rate, one per parameter array (or None: 1).
    """

    def __init__(
        self, config: Any, steps_per_epoch: int, scales: Callable[[jax.Array], Any] | None = None
    ):
        learning_rate = config.optimizer.learning_rate
        schedule = (config.schedule, learning_rate)
        head_warmup_epochs = getattr(config, 'head_warmup_epochs', 0)  # a pre-training has none
        self._schedule = make_schedule(
            *schedule, steps_per_epoch, config.epochs, head_warmup_epochs
        )
        self._optimizer = make_optimizer(config.optimizer, self._schedule)
        self._plateau = make_plateau(*schedule)
        self._scales = scales
        self._end_epoch = parallel.spmd(self._observe, donate=True)

    def init(self, variables: Mapping[str, Any], seed: Any) -> TrainState:
        """The train state of a network that has not learned yet."""
        return TrainState(
            step=jnp.int32(0),
            seed=jnp.asarray(seed, jnp.int32),
            params=variables['params'],
            batch_stats=variables.get('batch_stats', {}),
            opt_state=self._optimizer.init(variables['params']),
            plateau=self._plateau.init(variables['params']),
        )

    def update(self, state: TrainState, loss_of) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step down the gradient.

        Args:
          loss_of: `params -> (loss, batch_stats)`; the mean of all devices' losses is minimised.

        Returns:
          `(state, metrics)`, the same on every device.
        """
        (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        loss, gradients = jax.lax.pmean((loss, gradients), parallel.AXIS)
        updates, opt_state = self._optimizer.update(gradients, state.opt_state, state.params)
        updates = jax.tree.map(lambda update: update * state.plateau.scale, updates)
        if self._scales is not None:
            updates = jax.tree.map(jnp.multiply, updates, self._scales(state.step))
        metrics = {
            'loss': loss,
            'gradient_norm': optax.tree.norm(gradients),
            'learning_rate': self._schedule(state.step) * state.plateau.scale,
        }
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return state, metrics

    def end_epoch(self, state: TrainState, loss: float) -> TrainState:
        """Tells the plateau rule the validation loss (a float); returns the new state."""
        return self._end_epoch(state, np.full(jax.local_device_count(), loss, np.float32))

    def _observe(self, state, loss):
        return state.replace(plateau=self._plateau.update({}, state.plateau, value=loss)[1])
