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

_NAME = 'benchmark'
_RECORDS = 240
_STEPS = 24  # in one repetition: several times what is read ahead


def main():
    """Measures, shows and keeps; returns the figures, or None where packages are missing."""
    try:
        from genesis_jax.data import reading
    except ModuleNotFoundError as error:
        print(f'{error.name} is not installed: nothing can be read from disk here')
        return None
    width, patches = (4, 2) if measure.on_cpu() else (32, 16)
    batch_size = patches * jax.device_count()
    run = Runner(make_steps(width, measure.dtype()), batch_size)
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder), host_batch(_RECORDS)['cube'])
        runs = {
            'batch on the device': lambda: [run() for _ in range(_STEPS)][-1],
            'records from disk': lambda: on_records(
                run, reading.train_batches(source, batch_size, seed=0), _STEPS
            ),
        }
        taken, samples = measure.compare(
            f'Training step, width {width}, {patches} patches of 64x64x32',
            runs,
            dict.fromkeys(runs, _STEPS),
            repetitions=2,
            warm_up={'step': run},
        )
    return measure.keep(
        'data',
        {
            'width': width,
            'cubes': patches,
            'steps': _STEPS,
            'dtype': measure.dtype(),
            'seconds': taken,
            'samples': samples,
            'ratio': taken['records from disk'] / taken['batch on the device'],
        },
    )


def write(folder, patches):
    """Writes patches, int16 `[N, X, Y, Z, 1]`, and returns the source that a training reads."""
    import tensorflow_datasets as tfds

    from data_prep.build.records import SplitsWriter, dataset_folder, features

    writer = SplitsWriter(folder, _NAME, features(patches.shape[1:-1]))
    about = {'origin': [0, 0, 0], 'spacing': [1.0, 1.0, 1.0], 'fold': 0, 'window': [(-1000, 1000)]}
    examples = [
        {'cube': patch, 'scan_id': str(i), 'patient': str(i), **about}
        for i, patch in enumerate(patches)
    ]
    writer.add('train', examples)
    writer.close({})
    return tfds.builder_from_directory(dataset_folder(folder, _NAME)).as_data_source('train')


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
