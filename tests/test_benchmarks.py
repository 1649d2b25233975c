"""The benchmarks measure what they say, with what is installed."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import measure, numpy_corruption, recipe
from benchmarks.data import on_records
from benchmarks.train_step import flops_by_hand
from configs import genesis_ct
from genesis_jax import parallel

SHAPE = (64, 64, 32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_numpy_loop_shuffles_as_published(rng, statistics):
    cube = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    changed = [(numpy_corruption.local_shuffle(rng, cube) != cube).mean() for _ in range(6)]
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
    assert flops_by_hand(params, cubes=2) == 2 * (2 * first + 3 * second)


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
    monkeypatch.setattr(parallel, 'shard', lambda batch: batch)

    class Step:
        def step(self, batch):
            return batch

    def slow():
        for number in range(9):
            time.sleep(0.02)
            yield number

    start = time.perf_counter()
    assert on_records(Step(), slow(), steps=8) == 7
    assert time.perf_counter() - start > 9 * 0.02


def test_they_start_without_data_packages():
    blocked = ('ml_collections', 'tensorflow_datasets', 'grain', 'monai', 'SimpleITK')
    modules = 'corruption, train_step, data, predict, first_step, all'
    code = f'import sys; sys.modules |= dict.fromkeys({blocked}); from benchmarks import {modules}'
    subprocess.run([sys.executable, '-c', code], check=True)
