"""One step from a cold start, for benchmarks.train_step: python -m benchmarks.first_step WIDTH N"""

import sys

import jax

from benchmarks.recipe import Runner, make_steps
from genesis_jax import parallel


def main():
    """Takes one step with the width and the number of cubes that the arguments name."""
    parallel.start()
    width, cubes = map(int, sys.argv[1:])
    jax.block_until_ready(Runner(make_steps(width), cubes)())


if __name__ == '__main__':
    main()
