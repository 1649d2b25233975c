"""The programs of one device: that every part of the config reaches them, and what they compute."""

import jax
import numpy as np
import pytest

from genesis_jax import parallel
from genesis_jax.config import resolve
from genesis_jax.pretrain import make_steps

PATCH = (24, 24, 8, 1)
ALL = {'transforms__shuffle_probability': 0.5, 'transforms__nonlinear_probability': 0.9}
STILL = {
    'transforms__flip_probability': 0.0,
    'transforms__shuffle_probability': 0.0,
    'transforms__nonlinear_probability': 0.0,
    'transforms__paint_probability': 0.0,
    # The rest serves several tests, so that they share one program.
    'model__batch_statistics': 'official',
    'optimizer__learning_rate': 1e-3,
    'schedule__patience': 1,
    'schedule__min_delta': 10.0,
}


@pytest.fixture(scope='module')
def batch():
    """One patch four times, at four positions."""
    patch = np.random.default_rng(0).integers(-1000, 1000, PATCH).astype(np.int16)
    return {
        'cube': np.stack([patch] * 4),
        'window': np.tile(np.float32([-1000, 1000]), (4, 1)),
        'position': np.arange(4, dtype=np.int32),
        'weight': np.ones(4, np.float32),
    }


@pytest.fixture(scope='module')
def make(make_config):
    """Steps of a config, and a new state."""

    def make(**fields):
        steps = make_steps(resolve(make_config(**fields), 4), PATCH, steps_per_epoch=3)
        return steps, parallel.create(steps.init)

    return make


def evaluate(steps, state, batch):
    sums, images = steps.evaluate(state, parallel.shard(batch))
    target, corrupted, restored = (np.concatenate(jax.device_get(i)) for i in images)
    return {name: float(value) / 4 for name, value in sums.items()}, target, corrupted, restored


def trained(steps, state, batch, count):
    """Losses and states of `count` steps on the same batch."""
    losses, batch = [], parallel.shard(batch)
    for _ in range(count):
        state, metrics = steps.train(state, batch)
        losses.append(float(metrics['loss']))
    return losses, state


def test_each_example_is_corrupted_in_its_own_way(make, batch):
    steps, state = make(**ALL)
    _, _, corrupted, _ = evaluate(steps, state, batch)
    assert len({patch.tobytes() for patch in corrupted}) == 4


def test_each_step_corrupts_anew(make, batch):
    def losses(**fields):
        """The losses of the same network at three steps."""
        found = []
        for step in range(3):
            steps, state = make(**fields)
            found += trained(steps, state.replace(step=state.step + step), batch, 1)[0]
        return found

    assert len(set(losses(**ALL))) == 3
    assert len(set(losses(**STILL))) == 1


def test_the_configured_transforms_and_window_are_the_ones_applied(make, batch):
    means, target, corrupted, _ = evaluate(*make(**STILL), batch)
    assert means['unchanged'] == 0
    np.testing.assert_array_equal(corrupted, target)
    np.testing.assert_allclose(target, (batch['cube'] + 1000) / 2000, atol=1e-6)
    _, windowed, _, _ = evaluate(*make(**STILL, data__window=(-500, 500)), batch)
    np.testing.assert_allclose(windowed, np.clip((batch['cube'] + 500) / 1000, 0, 1), atol=1e-6)


def test_losses_are_mean_squared_errors_of_the_sigmoid(make, batch):
    """With nothing corrupted and statistics of the batch, training and evaluation see the same."""
    steps, state = make(**STILL)
    means, target, _, restored = evaluate(steps, state, batch)
    assert restored.min() > 0 and restored.max() < 1
    assert means['loss'] == pytest.approx(np.mean((restored - target) ** 2), rel=1e-5)
    assert means['cube_mean'] == pytest.approx(target.var(axis=(1, 2, 3, 4)).mean(), rel=1e-4)
    (loss,), _ = trained(steps, state, batch, 1)
    assert loss == pytest.approx(means['loss'], rel=1e-5)


def test_accelerators_and_cpus_compute_the_same(make, batch, monkeypatch, request):
    found = trained(*make(**ALL), batch, 2)

    def of_accelerators(*arguments, cpu, default):
        return default(*arguments)

    monkeypatch.setattr(jax.lax, 'platform_dependent', of_accelerators)
    request.getfixturevalue('new_programs')
    expected = trained(*make(**ALL), batch, 2)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    for ours, theirs in zip(
        jax.tree.leaves(found[1].params), jax.tree.leaves(expected[1].params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_plateau_shortens_the_steps(make, batch):
    steps, state = make(**STILL)
    start = jax.device_get(state.params)
    _, state = trained(steps, state, batch, 1)
    full = jax.tree.map(np.subtract, jax.device_get(state.params), start)

    steps, state = make(**STILL)
    for loss in (1.0, 1.0):
        state = steps.end_epoch(state, loss)
    _, state = trained(steps, state, batch, 1)
    halved = jax.tree.map(np.subtract, jax.device_get(state.params), start)
    for a, b in zip(*map(jax.tree.leaves, (full, halved)), strict=True):
        np.testing.assert_allclose(b, a / 2, atol=1e-7)


def test_momentum_carries_on(make, batch):
    """Without momentum equal gradients move equally; with it the second step goes further."""

    def moves(momentum):
        steps, state = make(optimizer__momentum=momentum, **STILL)
        places = [jax.device_get(state.params['head']['bias'])]
        for _ in range(2):
            _, state = trained(steps, state, batch, 1)
            places.append(jax.device_get(state.params['head']['bias']))
        return np.diff(places, axis=0).ravel()

    first, second = moves(0.0)
    assert second == pytest.approx(first, rel=0.05)
    first, second = moves(0.9)
    assert second == pytest.approx(1.9 * first, rel=0.05)
