"""Optimisers and learning-rate schedules, from the config to optax."""

import optax

OPTIMIZERS = ('sgd', 'adam', 'adamw')
SCHEDULES = ('constant', 'plateau', 'step', 'cosine')


def make_schedule(schedule, learning_rate, steps_per_epoch, epochs):
    """The learning rate as a function of the step, without what a plateau takes off it."""
    after = max(1, epochs * steps_per_epoch - schedule.warmup_steps)
    main = {
        'constant': lambda: optax.constant_schedule(learning_rate),
        'plateau': lambda: optax.constant_schedule(learning_rate),
        'step': lambda: optax.exponential_decay(
            learning_rate, schedule.epochs * steps_per_epoch, schedule.factor, staircase=True
        ),
        'cosine': lambda: optax.cosine_decay_schedule(learning_rate, after),
    }[schedule.name]()
    if not schedule.warmup_steps:
        return main
    warmup = optax.linear_schedule(0.0, learning_rate, schedule.warmup_steps)
    return optax.join_schedules([warmup, main], [schedule.warmup_steps])


def make_plateau(schedule, learning_rate):
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


def make_optimizer(optimizer, schedule):
    """The optax transformation; `schedule` is what `make_schedule` returns."""
    return {
        'sgd': lambda: optax.sgd(schedule, momentum=optimizer.momentum),
        'adam': lambda: optax.adam(schedule),
        'adamw': lambda: optax.adamw(schedule, weight_decay=optimizer.weight_decay),
    }[optimizer.name]()
