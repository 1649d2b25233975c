"""How fast the network learns: python -m benchmarks.train_step

Our whole step (corruption, network, optimiser) against PyTorch's step on patches that somebody else
has corrupted: eager in float32, as the published trainer does, and at its best. Then what a step
costs, counted, and how long it takes until the first one.
"""

import functools
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks import measure
from benchmarks.recipe import PATCH, Runner, host_batch, make_steps
from genesis_jax.models import UNet3D
from genesis_jax.training.losses import mean_error
from genesis_jax.transfer import shapes_of
from genesis_jax.transforms import corrupt_batch
from genesis_jax.transforms.window import normalise

torch_step = (
    importlib.import_module('benchmarks.torch_step') if importlib.util.find_spec('torch') else None
)


def main():
    """Measures, shows and keeps; returns the figures."""
    first_step = _first_steps()  # by other processes, before this one takes the device
    if torch_step is None:
        print('PyTorch is not installed: nothing to compare with')
    cases = [(8, 2), (32, 2)] if measure.on_cpu() else [(8, 2), (32, 6), (32, 16)]
    figures = {'cube': list(PATCH), 'first_step': first_step}
    figures['cases'] = [_case(*case) for case in cases]
    figures['limits'] = _share_of_limits(figures['cases'][-1])
    return measure.keep('train_step', figures)


def _case(width, patches_each):
    """One size of network and batch (for each device), in every way that this machine can."""
    patches = patches_each * jax.device_count()
    runners = {'genesis_jax, float32': Runner(make_steps(width), patches)}
    if (dtype := measure.dtype()) != 'float32':
        runners[f'genesis_jax, {dtype}'] = Runner(make_steps(width, dtype), patches)
    # The corruption alone, as each device runs it.
    volumes = normalise(host_batch(patches_each))
    keys = jax.random.split(jax.random.key(0), patches_each)
    corrupt = functools.partial(jax.jit(corrupt_batch), keys, volumes)
    others = {}
    if torch_step and (device := measure.torch_device(torch_step.torch)):
        pair = [np.asarray(volume) for volume in corrupt()]
        others = {
            'PyTorch, eager float32': torch_step.Step(width, *pair, device),
            'PyTorch, at its best': torch_step.Step(width, *pair, device, best=True),
        }
    flops = flops_by_hand(runners['genesis_jax, float32'].state.params, patches)
    taken, samples = measure.compare(
        f'Training step, width {width}, {patches} patches of 64x64x32',
        {**runners, **others, 'corruption alone': corrupt},
        more=lambda name, seconds: {
            'patches/s': patches / seconds,
            'TFLOP/s': None if name.startswith('corruption') else flops / seconds / 1e12,
        },
        repetitions=2 if measure.on_cpu() and width > 8 else 5,  # such a step takes ten seconds
        calls=1 if measure.on_cpu() else 10,
    )
    best = min(taken[name] for name in runners)
    return {
        'width': width,
        'cubes': patches,
        'seconds': taken,
        'samples': samples,
        'compiled_by_pytorch': [name for name, step in others.items() if step.compiled],
        'flops_by_hand': flops,
        'flops_by_xla': patches * flops_by_xla(width),
        'memory': _memory(width, patches_each, runners[f'genesis_jax, {dtype}']),
        'share_of_corruption': taken['corruption alone'] / best,
        'ratios': {name: taken[name] / taken['genesis_jax, float32'] for name in others},
        'ratios_at_our_best': {name: taken[name] / best for name in others},
    }


def flops_by_hand(params, patches):
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
        flops = 2 * array.size * math.prod(PATCH[:-1]) / 8**level
        forward += flops
        first = flops if path[:3] == ('encoder', 'level_0', 'block_0') else first
    return patches * (3 * forward - first)


def flops_by_xla(width):
    """Operations of the network in a step on one patch, forwards and backwards, counted by XLA.

    As accelerators get it, before it is optimised: on CPUs convolutions are loops, of which XLA
    counts one turn, and on GPUs calls of a library, of which it counts nothing.
    """
    network = UNet3D(width=width)
    patch = jax.ShapeDtypeStruct((1, *PATCH), np.float32)
    variables = shapes_of(network, PATCH[-1])

    def loss(params, variables, patch):
        variables = variables | {'params': params}
        logits, _ = network.apply(variables, patch, train=True, mutable=['batch_stats'])
        return mean_error(jax.nn.sigmoid(logits), patch).mean()

    with jax.default_device(jax.devices('cpu')[0]):
        traced = jax.jit(jax.grad(loss)).trace(variables['params'], variables, patch)
        return traced.lower(lowering_platforms=('tpu',)).cost_analysis()['flops']


def _share_of_limits(case):
    """What the device could do beside what a step asks of it."""
    limits = measure.limits()
    dtype = limits['dtype']
    name = f'genesis_jax, {dtype}'
    rate = case['flops_by_hand'] / jax.device_count() / case['seconds'][name]
    limits['share_of_matrix_rate'] = rate / limits['matrix_flops_per_second']
    rows = {
        f'matrix product, {dtype}, TFLOP/s': limits['matrix_flops_per_second'] / 1e12,
        'copy, GB/s read and written': limits['copied_bytes_per_second'] / 1e9,
        f'step of {case["cubes"]} patches, width {case["width"]}, TFLOP counted by hand': (
            case['flops_by_hand'] / 1e12
        ),
        'the same, counted by XLA': case['flops_by_xla'] / 1e12,
        'share of the matrix rate in our step': limits['share_of_matrix_rate'],
    }
    measure.show(
        'Limits of this device, measured',
        [{'': label, 'value': value} for label, value in rows.items()],
    )
    return limits


def _memory(width, patches, run):
    """Bytes on a device that a step takes beside state and batch, per patch."""
    remat = Runner(make_steps(width, measure.dtype(), remat=True), patches * jax.device_count())
    figures = {
        'dtype': measure.dtype(),
        'kept': run.memory() / patches,
        'rematerialised': remat.memory() / patches,
    }
    measure.show(
        f'Device memory of a step, width {width}, {patches} patches, {figures["dtype"]}',
        [
            {'activations': name, 'MiB per patch': figures[name] / 2**20}
            for name in ('kept', 'rematerialised')
        ],
    )
    return figures


def _first_steps():
    """Seconds from a cold start to the end of the first step: without a cache, then with it."""
    samples = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {'JAX_COMPILATION_CACHE_DIR': cache}
        command = [sys.executable, '-c', 'from benchmarks import recipe; recipe.first_step()']
        for _ in range(3):
            start = time.perf_counter()
            run = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
            samples.append(time.perf_counter() - start)
    figures = json.loads(run.stdout.splitlines()[-1])
    figures |= {
        'first start': samples[0],
        'second start': statistics.median(samples[1:]),
        'second starts': samples[1:],
    }
    figures['ratio'] = figures['second start'] / figures['first start']
    measure.show(
        f'From start to first step, width {figures["width"]}, {figures["cubes"]} patches',
        [{'': name, 'seconds': figures[name]} for name in ('first start', 'second start')],
    )
    return figures


if __name__ == '__main__':
    measure.command(main, __doc__)
