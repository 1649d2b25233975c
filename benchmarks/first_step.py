"""One step from a cold start, for benchmarks.train_step: python -m benchmarks.first_step"""

import json

import jax

from benchmarks import measure
from benchmarks.recipe import Runner, make_steps
from genesis_jax import parallel


def main():
    """Takes one step; the last line tells of which size."""
    parallel.start()
    width, cubes = (8, 2) if measure.on_cpu() else (32, 16)
    dtype = measure.dtype()
    run = Runner(make_steps(width, dtype), cubes * jax.device_count())
    jax.block_until_ready(run())
    print(json.dumps({'width': width, 'cubes': cubes, 'dtype': dtype}))


if __name__ == '__main__':
    measure.command(main, __doc__)
