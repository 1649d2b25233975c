"""Whether reading keeps up with training: python -m benchmarks.data

Steps on records from disk, read and placed as the training loop does, against steps on a batch that
stays on the device.
"""

import tempfile
from pathlib import Path

from benchmarks import measure
from benchmarks.recipe import Runner, host_batch, make_steps
from genesis_jax import parallel

_RECORDS = 240
_STEPS = 2  # in one repetition


def main():
    """Measures, shows and keeps; returns the figures, or None where packages are missing."""
    try:
        from benchmarks import records
    except ModuleNotFoundError as error:
        print(f'{error.name} is not installed: nothing can be read from disk here')
        return None
    width, cubes = (4, 2) if measure.on_cpu() else (32, 48)
    run = Runner(make_steps(width), cubes)
    with tempfile.TemporaryDirectory() as folder:
        batches = records.batches(Path(folder), host_batch(_RECORDS)['cube'], cubes)
        reader = _Ahead(batches)
        taken = measure.seconds(
            {
                'batch on the device': lambda: [run() for _ in range(_STEPS)][-1],
                'records from disk': lambda: [run.step(reader.next()) for _ in range(_STEPS)][-1],
            },
            repetitions=5,
        )
    taken = {name: value / _STEPS for name, value in taken.items()}
    ratio = taken['records from disk'] / taken['batch on the device']
    measure.show(
        f'Training step, width {width}, {cubes} cubes of 64x64x32',
        [
            {'': name, 'ms': 1e3 * value, 'times the first': value / taken['batch on the device']}
            for name, value in taken.items()
        ],
    )
    found = {'width': width, 'cubes': cubes, 'seconds': taken, 'ratio': ratio}
    measure.keep('data', found)
    return found


class _Ahead:
    """The next batch is on its way to the device while the step before it runs."""

    def __init__(self, batches):
        self._batches = batches
        self._next = parallel.shard(next(batches))

    def next(self):
        """The batch to use now."""
        now, self._next = self._next, parallel.shard(next(self._batches))
        return now


if __name__ == '__main__':
    measure.command(main, __doc__)
