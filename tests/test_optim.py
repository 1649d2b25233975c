"""Optimisers and schedules do what their fields of the config say."""

import jax
import jax.numpy as jnp
import pytest
from configured import changed

from genesis_jax.training import optim


def rate(name, step, head_epochs=0, **fields):
    config = changed(schedule__name=name, **{f'schedule__{k}': v for k, v in fields.items()})
    return float(optim.make_schedule(config.schedule, 0.8, 10, 20, head_epochs)(step))


def test_schedules():
    assert rate('constant', 150) == rate('plateau', 150) == pytest.approx(0.8)
    assert rate('step', 9, epochs=1) == pytest.approx(0.8)
    assert rate('step', 10, epochs=1) == pytest.approx(0.4)
    assert rate('cosine', 0) == pytest.approx(0.8)
    assert rate('cosine', 100) == pytest.approx(0.4)
    assert rate('cosine', 200) == pytest.approx(0, abs=1e-6)
    assert rate('poly', 0) == pytest.approx(0.8) and rate('poly', 200) == 0
    assert rate('poly', 100) == pytest.approx(0.8 * 0.5**0.9)
    assert rate('poly', 150, power=2.0) == pytest.approx(0.8 / 16)
    for name in optim.SCHEDULES:
        assert rate(name, 0, warmup_steps=8) == 0
        assert rate(name, 4, warmup_steps=8) == pytest.approx(0.4)
        assert rate(name, 8, warmup_steps=8) == pytest.approx(0.8)


def test_a_sawtooth_rises_for_the_head_and_again_for_the_whole_network():
    def tooth(step):
        return rate('sawtooth', step, head_epochs=2, warmup_steps=10)

    assert [tooth(step) for step in (0, 10, 20, 25)] == pytest.approx([0, 0.4, 0, 0.4])
    assert tooth(19) == pytest.approx(0.8 * 0.95) and tooth(30) == pytest.approx(0.8)
    assert tooth(115) == pytest.approx(0.8 * 0.5**0.9) and tooth(200) == 0
    # Other schedules run through the warm-up of the head.
    assert rate('poly', 5, head_epochs=2, warmup_steps=10) == rate('poly', 5, warmup_steps=10)


def test_long_gradients_are_clipped_all_parameters_together():
    def update(**fields):
        fields = {f'optimizer__{name}': value for name, value in fields.items()}
        rule = optim.make_optimizer(changed(**fields).optimizer, lambda _: 1.0)
        params = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
        gradients = {'a': jnp.full(1, 3.0), 'b': jnp.full(1, 4.0)}  # of length 5
        updates, _ = rule.update(gradients, rule.init(params), params)
        return [float(updates[name][0]) for name in 'ab']

    assert update(clip_norm=2.0) == pytest.approx([-1.2, -1.6])
    assert update(clip_norm=6.0) == update(clip_norm=0.0) == pytest.approx([-3, -4])


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
    assert moves('sgd', momentum=0.9, nesterov=True) == pytest.approx([-0.95, -1.355])
    assert moves('sgd', momentum=0.0) == pytest.approx([-0.5, -0.5])
    assert moves('adam') == pytest.approx([-0.5, -0.5], rel=1e-4)
    decayed = moves('sgd', gradient=0.0, momentum=0.0, weight_decay=0.1)
    assert decayed == pytest.approx([-0.1, -0.1])
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
