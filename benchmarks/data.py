"""Whether reading keeps up with training: python -m benchmarks.data

Steps on records from disk, read and placed as the training loop does, against steps on a batch that
stays on the device. The records were just written: they come from the system's memory, as in every
epoch but the first.
"""

import tempfile
from pathlib import Path

import jax

from benchmarks import measure
from benchmarks.recipe import Runner, host_batch, make_steps
from genesis_jax import parallel

_RECORDS = 240
_STEPS = 24  # in one repetition: several times what is read ahead


def main():
    """Measures, shows and keeps; returns the figures, or None where packages are missing."""
    try:
        from benchmarks import records
    except ModuleNotFoundError as error:
        print(f'{error.name} is not installed: nothing can be read from disk here')
        return None
    width, cubes = (4, 2) if measure.on_cpu() else (32, 16)
    run = Runner(make_steps(width, measure.dtype()), cubes * jax.device_count())
    with tempfile.TemporaryDirectory() as folder:
        source = records.write(Path(folder), host_batch(_RECORDS)['cube'])
        samples = measure.times(
            {
                'batch on the device': lambda: [run() for _ in range(_STEPS)][-1],
                'records from disk': lambda: on_records(
                    run, records.batches(source, cubes * jax.device_count()), _STEPS
                ),
            },
            repetitions=2,
            warm_up={'step': run},
        )
    samples = {name: [v / _STEPS for v in values] for name, values in samples.items()}
    taken = measure.medians(samples)
    ratio = taken['records from disk'] / taken['batch on the device']
    measure.show(
        f'Training step, width {width}, {cubes} cubes of 64x64x32',
        [
            {'': name, 'ms': 1e3 * value, 'times the first': value / taken['batch on the device']}
            for name, value in taken.items()
        ],
    )
    found = {
        'width': width,
        'cubes': cubes,
        'steps': _STEPS,
        'dtype': measure.dtype(),
        'seconds': taken,
        'samples': samples,
        'ratio': ratio,
    }
    measure.keep('data', found)
    return found


def on_records(run, batches, steps):
    """Takes steps as the training loop does; returns the last loss.

    A step is under way while the next batch is read and placed. The reader starts here, so that all
    it does falls into the time of these steps.
    """
    batch = parallel.shard(next(batches))
    for _ in range(steps):
        loss = run.step(batch)
        batch = parallel.shard(next(batches))
    return loss


if __name__ == '__main__':
    measure.command(main, __doc__)
