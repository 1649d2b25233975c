"""How fast the network learns: python -m benchmarks.train_step

Our whole step (corruption, network, optimiser) against PyTorch's step on cubes that somebody else
has corrupted: eager in float32, as the published trainer does, and at its best. Then what a step
costs, counted, and how long it takes until the first one.
"""

import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks import measure
from benchmarks.recipe import CUBE, Runner, host_batch, make_steps
from genesis_jax.transforms import corrupt_batch
from genesis_jax.transforms.window import normalise

try:
    from benchmarks import torch_step
except ModuleNotFoundError as error:
    if error.name != 'torch':
        raise
    torch_step = None

_NARROW = 'bfloat16'


def main():
    """Measures, shows and keeps; returns the figures."""
    first_step = _first_steps()  # by other processes, before this one takes the device
    if torch_step is None:
        print('PyTorch is not installed: nothing to compare with')
    cases = [(8, 2), (32, 2)] if measure.on_cpu() else [(8, 2), (32, 6), (32, 16)]
    found = {'cube': list(CUBE), 'first_step': first_step}
    found['cases'] = [_case(*case) for case in cases]
    found['limits'] = _share_of_limits(found['cases'][-1])
    found['memory'] = _memory(*cases[-1])
    measure.keep('train_step', found)
    return found


def _case(width, cubes_each):
    """One size of network and batch (for each device), in every way that this machine can."""
    cubes = cubes_each * jax.device_count()
    runners = {'genesis_jax, float32': Runner(make_steps(width), cubes)}
    if not measure.on_cpu():
        runners[f'genesis_jax, {_NARROW}'] = Runner(make_steps(width, _NARROW), cubes)
    # The corruption alone, as the step runs it.
    volumes, keys = normalise(host_batch(cubes)), jax.random.split(jax.random.key(0), cubes)
    corrupt = functools.partial(jax.jit(corrupt_batch), keys, volumes)
    others = {}
    if torch_step and (device := measure.torch_device(torch_step.torch)):
        pair = [np.asarray(volume) for volume in corrupt()]
        others = {
            'PyTorch, eager float32': torch_step.Step(width, *pair, device),
            'PyTorch, at its best': torch_step.Step(width, *pair, device, best=True),
        }
    repetitions = 3 if measure.on_cpu() and width > 8 else 5  # such a step takes ten seconds
    taken = measure.seconds({**runners, **others, 'corruption alone': corrupt}, repetitions)
    found = {
        'width': width,
        'cubes': cubes,
        'repetitions': repetitions,
        'seconds': taken,
        'flops_by_hand': flops_by_hand(runners['genesis_jax, float32'].state.params, cubes),
        'flops_by_xla': {name: run.cost() for name, run in runners.items()},
    }
    best = min(taken[name] for name in runners)
    found['share_of_corruption'] = taken['corruption alone'] / best
    found['ratios'] = {name: taken[name] / taken['genesis_jax, float32'] for name in others}
    found['ratios_at_our_best'] = {name: taken[name] / best for name in others}
    measure.show(
        f'Training step, width {width}, {cubes} cubes of 64x64x32',
        [
            {
                '': name,
                'ms': 1e3 * value,
                'cubes/s': cubes / value,
                'TFLOP/s': None
                if name.startswith('corruption')
                else found['flops_by_hand'] / value / 1e12,
                'takes times our float32': value / taken['genesis_jax, float32'],
            }
            for name, value in taken.items()
        ],
    )
    return found


def flops_by_hand(params, cubes):
    """Multiplications and additions of the convolutions of a step, counted by hand.

    Forwards once, backwards twice (towards the input and towards the kernel); the first layer needs
    no gradient of its input.
    """
    forward, first = 0, 0
    for path, array in flatten_dict(params).items():
        if path[-1] != 'kernel':
            continue
        name = next((part for part in path if part.startswith(('level_', 'up_'))), 'level_0')
        level = int(name.rpartition('_')[2]) + name.startswith('up_')  # a block per voxel below
        flops = 2 * array.size * math.prod(CUBE[:-1]) / 8**level
        forward += flops
        first = flops if path[:3] == ('encoder', 'level_0', 'block_0') else first
    return cubes * (3 * forward - first)


def _share_of_limits(case):
    """What the device could do beside what a step asks of it."""
    dtype = 'float32' if measure.on_cpu() else _NARROW
    name = f'genesis_jax, {dtype}'
    limits = measure.limits(dtype)
    rate = case['flops_by_hand'] / jax.device_count() / case['seconds'][name]
    limits['share_of_matrix_rate'] = rate / limits['matrix_flops_per_second']
    rows = {
        f'matrix product, {dtype}, TFLOP/s': limits['matrix_flops_per_second'] / 1e12,
        'copy, GB/s read and written': limits['copied_bytes_per_second'] / 1e9,
        f'step of {case["cubes"]} cubes, width {case["width"]}, TFLOP counted by hand': (
            case['flops_by_hand'] / 1e12
        ),
        # A loop's body counts once, and on CPUs the convolutions are loops.
        'the same, counted by XLA': case['flops_by_xla'][name] / 1e12,
        'share of the matrix rate in our step': limits['share_of_matrix_rate'],
    }
    measure.show(
        'Limits of this device, measured',
        [{'': label, 'value': value} for label, value in rows.items()],
    )
    return limits


def _memory(width, cubes):
    """Bytes on a device that a step takes beside state and batch, per cube."""
    found = {'width': width, 'cubes': cubes}
    for remat in (False, True):
        run = Runner(make_steps(width, remat=remat), cubes * jax.device_count())
        found['rematerialised' if remat else 'kept'] = run.memory() / cubes
    measure.show(
        f'Device memory of a step, width {width}, {cubes} cubes',
        [
            {'activations': name, 'MiB per cube': found[name] / 2**20}
            for name in ('kept', 'rematerialised')
        ],
    )
    return found


def _first_steps():
    """Seconds from a cold start to the end of the first step, without and with a cache."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {'JAX_COMPILATION_CACHE_DIR': cache}
        command = [sys.executable, '-m', 'benchmarks.first_step']
        for name in ('first start', 'second start'):
            start = time.perf_counter()
            run = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
            found[name] = time.perf_counter() - start
    found |= json.loads(run.stdout.splitlines()[-1])
    found['ratio'] = found['second start'] / found['first start']
    measure.show(
        f'From start to first step, width {found["width"]}, {found["cubes"]} cubes',
        [{'': name, 'seconds': found[name]} for name in ('first start', 'second start')],
    )
    return found


if __name__ == '__main__':
    measure.command(main, __doc__)
