"""Optimisers and schedules do what their fields of the config say."""

import jax
import jax.numpy as jnp
import pytest
from configured import changed

from genesis_jax.training import optim


def rate(name, step, **fields):
    config = changed(schedule__name=name, **{f'schedule__{k}': v for k, v in fields.items()})
    return float(optim.make_schedule(config.schedule, 0.8, steps_per_epoch=10, epochs=20)(step))


def test_schedules():
    assert rate('constant', 150) == rate('plateau', 150) == pytest.approx(0.8)
    assert rate('step', 9, epochs=1) == pytest.approx(0.8)
    assert rate('step', 10, epochs=1) == pytest.approx(0.4)
    assert rate('cosine', 0) == pytest.approx(0.8)
    assert rate('cosine', 100) == pytest.approx(0.4)
    assert rate('cosine', 200) == pytest.approx(0, abs=1e-6)
    for name in optim.SCHEDULES:
        assert rate(name, 0, warmup_steps=8) == 0
        assert rate(name, 4, warmup_steps=8) == pytest.approx(0.4)
        assert rate(name, 8, warmup_steps=8) == pytest.approx(0.8)


def test_momentum_and_decay_reach_the_optimiser():
    def moves(name, gradient=1.0, **fields):
        fields = {f'optimizer__{k}': v for k, v in fields.items()}
        rule = optim.make_optimizer(
            changed(optimizer__name=name, **fields).optimizer, lambda _: 0.5
        )
        state, seen = rule.init(2.0), []
        for _ in range(2):
            update, state = rule.update(gradient, state, 2.0)
            seen.append(float(update))
        return seen

    assert moves('sgd', momentum=0.9) == pytest.approx([-0.5, -0.95])
    assert moves('sgd', momentum=0.0) == pytest.approx([-0.5, -0.5])
    assert moves('adam') == pytest.approx([-0.5, -0.5], rel=1e-4)
    assert moves('adamw', gradient=0.0, weight_decay=0.1) == pytest.approx([-0.1, -0.1])


def test_plateau_halves_after_ten_epochs_without_gain_down_to_the_floor():
    def scales(name, losses, **fields):
        rule = optim.make_plateau(changed(schedule__name=name, **fields).schedule, 1.0)
        _, seen = jax.lax.scan(
            lambda state, loss: (rule.update({}, state, value=loss)[1],) * 2,
            rule.init({'w': 0.0}),
            jnp.float32(losses),
        )
        return seen.scale.tolist()

    # A gain of less than 1e-4 is none; the first epoch always is one.
    assert scales('plateau', [1.0 - 1e-6 * i for i in range(12)])[9:] == [1.0, 0.5, 0.5]
    assert scales('plateau', [1.0 - 1e-2 * i for i in range(30)])[-1] == 1.0
    assert scales('plateau', [1.0] * 60, schedule__floor=0.2)[-1] == pytest.approx(0.2)
    assert scales('cosine', [1.0] * 60)[-1] == 1.0
