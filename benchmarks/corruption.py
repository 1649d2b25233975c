"""How fast cubes are corrupted: python -m benchmarks.corruption

Against a plain NumPy loop (benchmarks/numpy_corruption.py), in one process and in one per core.
"""

import concurrent.futures
import functools
import multiprocessing

import jax
import numpy as np

from benchmarks import measure, numpy_corruption
from benchmarks.recipe import CUBE, host_batch
from genesis_jax.transforms import corrupt_batch
from genesis_jax.transforms.window import normalise

# What is measured: arguments of `corrupt_batch`, function of `numpy_corruption`.
MEASURED = {
    'whole chain': ({}, 'corrupt'),
    'shuffling alone': (
        dict.fromkeys(('flip_probability', 'nonlinear_probability', 'paint_probability'), 0.0)
        | {'shuffle_probability': 1.0},
        'local_shuffle',
    ),
}
_LOOP = 64  # cubes of the NumPy loop in one repetition: what happens to each of them is drawn


def main():
    """Measures, shows and keeps; returns the figures."""
    cubes = 64 if measure.on_cpu() else 512  # enough that about half of them are shuffled
    volumes = normalise(host_batch(cubes))
    keys = jax.random.split(jax.random.key(0), cubes)
    figures = {'cube': list(CUBE), 'batch': cubes}
    # Started anew: a copy of this process would hold the accelerator, too.
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(measure.cores(), mp_context=context) as pool:
        for name, (options, loop) in MEASURED.items():
            ours = jax.jit(functools.partial(corrupt_batch, **options))
            runs = {
                'genesis_jax': functools.partial(ours, keys, volumes),
                'NumPy, one process': functools.partial(_loop, loop, _LOOP),
                'NumPy, one per core': functools.partial(_loop_in_all, pool, loop, _LOOP),
            }
            begun = [runs['genesis_jax'], functools.partial(_loop_in_all, pool, loop, 1)]
            per_cube, samples = measure.compare(
                f'Corruption of a cube of 64x64x32, {name}',
                runs,
                dict(zip(runs, (cubes, _LOOP, _LOOP * measure.cores()), strict=True)),
                lambda _, seconds: {'cubes/s': 1 / seconds},
                warm_up=dict(enumerate(begun)),
            )
            figures[name] = {
                'seconds_per_cube': per_cube,
                'samples': samples,
                'ratios': {who: value / per_cube['genesis_jax'] for who, value in per_cube.items()},
            }
    return measure.keep('corruption', figures)


def _loop(function, cubes, seed=0):
    rng = np.random.default_rng(seed)
    cube = rng.random(CUBE[:-1], dtype=np.float32)
    for _ in range(cubes):
        getattr(numpy_corruption, function)(rng, cube)


def _loop_in_all(pool, function, cubes):
    seeds = range(measure.cores())
    list(pool.map(_loop, [function] * len(seeds), [cubes] * len(seeds), seeds))


if __name__ == '__main__':
    measure.command(main, __doc__)
