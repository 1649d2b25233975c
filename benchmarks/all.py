"""Everything that this machine allows, in under ten minutes: python -m benchmarks.all"""

import time

from benchmarks import corruption, data, measure, predict, train_step


def main():
    """Runs every benchmark; the figures are in benchmarks/results."""
    start, about = time.perf_counter(), measure.device()
    print(f'{about["kind"]}, {about["devices"]} device(s), {about["cores"]} cores')
    print(', '.join(f'{name} {version}' for name, version in about['versions'].items()))
    for benchmark in (corruption, train_step, data, predict):
        benchmark.main()
    print(f'all in {(time.perf_counter() - start) / 60:.1f} min')


if __name__ == '__main__':
    measure.command(main, __doc__)
