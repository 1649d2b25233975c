"""Everything that this machine allows, in under ten minutes: python -m benchmarks.all"""

import subprocess
import sys
import time

from benchmarks import measure

_BENCHMARKS = ('corruption', 'train_step', 'data', 'predict')


def main():
    """Runs every benchmark; the figures are in benchmarks/results.

    Each in a process of its own: it has the device for itself, and the others go on where it fails.
    """
    start = time.perf_counter()
    failed = [
        name
        for name in _BENCHMARKS
        if subprocess.run([sys.executable, '-m', f'benchmarks.{name}']).returncode
    ]
    print(f'\nall in {(time.perf_counter() - start) / 60:.1f} min')
    if failed:
        sys.exit(f'failed: {", ".join(failed)}')


if __name__ == '__main__':
    measure.command(main, __doc__)
