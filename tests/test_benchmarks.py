"""The benchmarks measure what they say, with what is installed."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    corruption,
    data,
    measure,
    numpy_corruption,
    predict,
    recipe,
    train_step,
    volumes,
)
from benchmarks.data import on_records
from benchmarks.train_step import flops_by_hand, flops_by_xla
from configs import genesis_ct
from genesis_jax import parallel
from genesis_jax.convert.names import describe, rows, to_torch
from genesis_jax.models import UNet3D
from genesis_jax.transfer import shapes_of

SHAPE = (64, 64, 32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_numpy_loop_shuffles_as_published(rng, statistics):
    patch = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    changed = [(numpy_corruption.local_shuffle(rng, patch) != patch).mean() for _ in range(6)]
    assert abs(np.mean(changed) - statistics['shuffle']['changed']['mean']) < 0.006


def test_the_numpy_loop_maps_and_paints_as_defined(rng):
    ramp = np.linspace(0, 1, 1000, dtype=np.float32)
    slopes = set()
    for _ in range(8):
        steps = np.diff(numpy_corruption.bezier_map(rng, ramp))
        slopes.add(int(np.sign(steps.sum())))
        assert (steps * np.sign(steps.sum()) >= 0).all()
    assert slopes == {-1, 1}
    blank = np.full(SHAPE, 2, np.float32)
    outside = [(numpy_corruption.out_painting(rng, blank) < 2).mean() for _ in range(60)]
    inside = [(numpy_corruption.in_painting(rng, blank) < 2).mean() for _ in range(60)]
    assert abs(np.mean(outside) - 0.68) < 0.04 and 0 < np.mean(inside) < 0.1


def test_operations_are_counted_by_hand():
    kernel = np.zeros((3, 3, 3, 1, 4))
    deeper = np.zeros((3, 3, 3, 4, 8))
    params = {
        'encoder': {
            'level_0': {'block_0': {'conv': {'kernel': kernel, 'bias': np.zeros(4)}}},
            'level_1': {'block_0': {'conv': {'kernel': deeper}}},
        }
    }
    voxels = np.prod(SHAPE)
    first, second = 2 * 27 * 4 * voxels, 2 * 27 * 32 * voxels / 8
    assert flops_by_hand(params, patches=2) == 2 * (2 * first + 3 * second)


def test_xla_counts_nearly_as_many():
    by_hand = flops_by_hand(shapes_of(UNet3D(width=2), 1)['params'], patches=1)
    assert 0.9 < flops_by_xla(2) / by_hand < 1  # it leaves out what meets the padding


@pytest.mark.slow
def test_pytorch_takes_the_same_step(rng):
    torch_step = pytest.importorskip('benchmarks.torch_step', reason='PyTorch is not installed')
    network = UNet3D(width=2)
    patches, target = rng.random((2, 2, 16, 16, 16, 1), dtype=np.float32)
    variables = jax.jit(lambda: network.init(jax.random.key(0), patches, train=True))()
    step = torch_step.Step(2, patches, target, 'cpu')
    card = describe(step._network.state_dict(), 'the network')
    arrays = to_torch(jax.device_get(variables), rows(card))
    tensors = {name: torch_step.torch.from_numpy(a.copy()) for name, a in arrays.items()}
    step._network.load_state_dict(tensors, strict=False)

    def loss(params):
        logits, _ = network.apply(
            variables | {'params': params}, patches, train=True, mutable=['batch_stats']
        )
        return jnp.mean((jax.nn.sigmoid(logits) - target) ** 2)

    params = variables['params']
    for _ in range(2):
        found, gradient = jax.jit(jax.value_and_grad(loss))(params)
        np.testing.assert_allclose(float(step()), found, rtol=1e-4)
        params = jax.tree.map(lambda p, g: p - g, params, gradient)


@pytest.mark.slow
def test_every_benchmark_runs_to_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, 'RESULTS', tmp_path)
    monkeypatch.setattr(corruption, '_LOOP', 1)
    monkeypatch.setattr(data, '_STEPS', 2)
    assert set(corruption.main()['whole chain']['ratios']) > {'NumPy, one process'}
    assert data.main()['ratio'] > 0
    case = train_step._case(2, 1)
    assert case['memory']['kept'] > 0
    if train_step.torch_step:
        assert case['ratios']['PyTorch, at its best'] > 0
    assert train_step._first_steps()['ratio'] < 1
    case = predict._case(2, (64, 64, 64), 'float32', 1)
    assert len(case['samples']['genesis_jax']) == 1
    if predict.sliding_window_inference:
        assert case['ratio'] > 0 and case['largest_difference'] < 0.3
    (kept,) = tmp_path.iterdir()
    assert set(json.loads(kept.read_text('utf-8'))) == {'corruption', 'data'}


def test_drawn_patches_are_read_beside_fixed_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, 'RESULTS', tmp_path)
    small = {'_SHAPE': (80, 72, 40), '_RULES': ('anywhere',), '_BATCH': 4, '_BATCHES': 1}
    for name, value in small.items():
        monkeypatch.setattr(volumes, name, value)
    figures = volumes.main()['anywhere']
    assert len(figures['samples']['drawn of whole scans']) == 5
    assert all(row['MB a scan'] > 0 for row in figures['made'])


def test_figures_of_one_benchmark_leave_those_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, 'RESULTS', tmp_path)
    measure.keep('one', {'ratio': 2.0})
    measure.keep('other', {'ratio': 3.0})
    measure.keep('one', {'ratio': 4.0})
    (path,) = tmp_path.iterdir()
    kept = json.loads(path.read_text('utf-8'))
    assert {name: found['ratio'] for name, found in kept.items()} == {'one': 4.0, 'other': 3.0}
    assert kept['one']['device']['platform'] == 'cpu'


def test_they_run_the_published_recipe():
    config = genesis_ct.get_config()
    assert config.epochs == recipe.RECIPE['epochs']
    for part in ('optimizer', 'schedule'):
        assert config[part].to_dict() == recipe.RECIPE[part]


def test_a_slow_reader_costs_its_time(monkeypatch):
    """Nothing is read before the steps are measured, and each batch but the first beside a step."""
    monkeypatch.setattr(parallel, 'shard', lambda batch: batch)
    events = []

    class Step:
        def step(self, batch):
            events.append('step')
            return batch

    def read():
        for number in range(9):
            events.append('read')
            yield number

    batches = read()
    assert not events
    assert on_records(Step(), batches, steps=8) == 7
    assert events == ['read', *['step', 'read'] * 8]


def test_they_start_without_data_packages():
    blocked = ('ml_collections', 'tensorflow_datasets', 'grain', 'monai', 'SimpleITK')
    modules = 'corruption, train_step, data, predict, recipe, volumes, all'
    code = f'import sys; sys.modules |= dict.fromkeys({blocked}); from benchmarks import {modules}'
    subprocess.run([sys.executable, '-c', code], check=True)
