"""The published pre-training at a chosen size, on patches of noise: what the benchmarks run.

Needs neither ml_collections nor a dataset.
"""

import json
from types import SimpleNamespace

import jax
import numpy as np

from benchmarks import measure
from genesis_jax import parallel
from genesis_jax.models import UNet3D
from genesis_jax.training import optim
from genesis_jax.training.losses import Restoration
from genesis_jax.training.steps import Steps, corrupted

PATCH = (64, 64, 32, 1)
RECIPE = {  # what decides the optimisation
    'epochs': 1_000,
    'optimizer': {
        'name': 'sgd',
        'learning_rate': 1.0,
        'momentum': 0.9,
        'nesterov': False,
        'weight_decay': 0.0,
        'clip_norm': 0.0,
    },
    'schedule': {
        'name': 'plateau',
        'factor': 0.5,
        'patience': 10,
        'min_delta': 1e-4,
        'floor': 1e-6,
        'epochs': 40,
        'power': 0.9,
        'warmup_steps': 0,
    },
}


def make_steps(width, dtype='float32', remat=False):
    """The steps of `configs/genesis_ct.py` (unified recipe) with a network of this width."""
    config = SimpleNamespace(
        epochs=RECIPE['epochs'],
        optimizer=SimpleNamespace(**RECIPE['optimizer']),
        schedule=SimpleNamespace(**RECIPE['schedule']),
    )
    network = UNet3D(width=width, dtype=dtype, remat=remat, axis_name=parallel.AXIS)
    optimisation = optim.Optimisation(config, steps_per_epoch=1_000)
    return Steps(network, optimisation, corrupted, Restoration())


def host_batch(patches, seed=0):
    """A batch of smooth noise in HU, as `genesis_jax.data` gives it."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(-400, 400, (patches, 16, 16, 8, 1))
    fine = coarse.repeat(4, 1).repeat(4, 2).repeat(4, 3)
    return {
        'cube': np.clip(fine + rng.normal(0, 50, fine.shape), -1024, 3071).astype(np.int16),
        'window': np.tile(np.float32([-1000, 1000]), (patches, 1, 1)),
        'position': np.arange(patches, dtype=np.int32),
    }


def first_step():
    """One step from a cold start, in a process of its own; prints of which size."""
    parallel.start()
    width, patches = (8, 2) if measure.on_cpu() else (32, 16)
    run = Runner(make_steps(width, measure.dtype()), patches * jax.device_count())
    jax.block_until_ready(run())
    print(json.dumps({'width': width, 'cubes': patches, 'dtype': measure.dtype()}))


class Runner:
    """Takes one step after the other with one batch that stays on the device."""

    def __init__(self, steps, patches):
        self.state = parallel.create(steps.init)
        self.batch = parallel.shard(host_batch(patches))
        self._train = steps.train.lower(self.state, self.batch).compile()

    def __call__(self):
        """One step; returns its loss, to be waited for."""
        return self.step(self.batch)

    def step(self, batch):
        """One step with this batch on the device."""
        self.state, metrics = self._train(self.state, batch)
        return metrics['loss']

    def memory(self):
        """Bytes on one device that a step takes beside its arguments and results."""
        return self._train.memory_analysis().temp_size_in_bytes
