"""How fast patches are corrupted: python -m benchmarks.corruption

Against a plain NumPy loop (benchmarks/numpy_corruption.py), in one process and in one per core; and
every corruption alone.
"""

import concurrent.futures
import functools
import multiprocessing

import jax
import numpy as np

from benchmarks import measure, numpy_corruption
from benchmarks.recipe import PATCH, Runner, host_batch, make_steps
from genesis_jax.transforms import corrupt_batch, registry
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
_WIDTH, _STEP = 8, 2  # of the network that a corruption is compared with, and its patches
_LOOP = 64  # patches of the NumPy loop in one repetition: what happens to each of them is drawn


def main():
    """Measures, shows and keeps; returns the figures."""
    patches = 64 if measure.on_cpu() else 512  # enough that about half of them are shuffled
    volumes = normalise(host_batch(patches))
    keys = jax.random.split(jax.random.key(0), patches)
    figures = {'cube': list(PATCH), 'batch': patches}
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
            per_patch, samples = measure.compare(
                f'Corruption of a patch of 64x64x32, {name}',
                runs,
                dict(zip(runs, (patches, _LOOP, _LOOP * measure.cores()), strict=True)),
                lambda _, seconds: {'patches/s': 1 / seconds},
                warm_up=dict(enumerate(begun)),
            )
            figures[name] = {
                'seconds_per_cube': per_patch,
                'samples': samples,
                'ratios': {
                    who: value / per_patch['genesis_jax'] for who, value in per_patch.items()
                },
            }
    figures['alone'] = _each_alone(keys, volumes)
    return measure.keep('corruption', figures)


def _each_alone(keys, volumes):
    """Seconds a patch of every corruption where it always happens, beside those of a step.

    The step is a narrow network's, which corrupts, too: of a wider one the shares are smaller.
    """
    step = f'training step, width {_WIDTH}'
    never = {f'{name}_probability': 0.0 for name in ('flip', *registry.PUBLISHED)}
    options = {'published chain': {}} | {
        name: never | {f'{name}_probability': 1.0} for name in registry.CORRUPTIONS
    }
    runs = {
        name: functools.partial(jax.jit(functools.partial(corrupt_batch, **own)), keys, volumes)
        for name, own in options.items()
    }
    counts = {step: _STEP * jax.device_count(), **dict.fromkeys(runs, len(volumes))}
    runs = {step: Runner(make_steps(_WIDTH, measure.dtype()), counts[step]), **runs}
    title = 'Every corruption alone, on each patch of 64x64x32'
    per_patch, samples = measure.compare(title, runs, counts)
    shares = {name: seconds / per_patch[step] for name, seconds in per_patch.items()}
    return {'seconds_per_cube': per_patch, 'samples': samples, 'shares_of_a_step': shares}


def _loop(function, patches, seed=0):
    rng = np.random.default_rng(seed)
    patch = rng.random(PATCH[:-1], dtype=np.float32)
    for _ in range(patches):
        getattr(numpy_corruption, function)(rng, patch)


def _loop_in_all(pool, function, patches):
    seeds = range(measure.cores())
    list(pool.map(_loop, [function] * len(seeds), [patches] * len(seeds), seeds))


if __name__ == '__main__':
    measure.command(main, __doc__)
