"""Does pre-training help where labels are few? python -m benchmarks.transfer --out=DIR

On phantoms, with the project's own commands: a network restores cubes of unlabelled drawn chests;
then a nodule segmentation (in the format of LIDC-IDRI) and a nodule classification (in that of
LUNA16's candidates) are learned from a small fraction of the patients, from scratch and from there,
with several seeds. Patients of the target tasks are none of the pre-training. Drawn chests are
simpler than real ones: this shows that the machinery transfers something, not how much is gained on
a clinical task.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from genesis_jax.runs.files import write_atomically

WIDTH = 4
SIZE = '32,32,16'
TASKS = {  # config: phantom, preparation
    'ncs': ('lidc', 'lidc'),
    'ncc': ('luna16_candidates', 'luna16_candidates'),
}


def main(argv=None):
    """Runs the study and returns the exit status."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.transfer', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for data, runs and tables')
    parser.add_argument('--seeds', type=int, default=5, help='runs of each start (default: 5)')
    parser.add_argument(
        '--fraction', type=float, default=0.2, help='of the training patients (default: 0.2)'
    )
    parser.add_argument('--patients', type=int, default=20, help='of a target task (default: 20)')
    parser.add_argument(
        '--pretrain_epochs', type=int, default=12, help='of the restoration (default: 12)'
    )
    parser.add_argument('--epochs', type=int, default=40, help='of a target task (default: 40)')
    args = parser.parse_args(argv)
    clock = time.perf_counter()
    _pretrain(args)
    for task in TASKS:
        _prepare(args, task)
        for name, init in (('scratch', 'scratch'), ('genesis', args.out / 'runs' / 'genesis')):
            _finetune(args, task, name, init)
        _compare(args, task)
    settings = {k: v for k, v in vars(args).items() if k != 'out'}
    about = json.loads((args.out / 'runs' / 'genesis' / 'config.json').read_text('utf-8'))
    settings |= {'device': about['device'], 'versions': about['versions']}
    settings |= {'width': WIDTH, 'cube': SIZE, 'minutes': (time.perf_counter() - clock) / 60}
    write_atomically(args.out / 'settings.json', json.dumps(settings, indent=2) + '\n')
    return 0


def _pretrain(args):
    source, data = args.out / 'raw' / 'chests', args.out / 'data'
    if not (data / 'chests').exists():
        shutil.rmtree(source, ignore_errors=True)
        _run(
            *('-m', 'data_prep.phantom', f'--out={source}', '--layout=luna16'),
            *('--scans_per_subset=2', '--shape=96,96,64', '--seed=1000'),
        )
        _run(
            *('-m', 'data_prep.scans', f'--source={source}', f'--data_dir={data}'),
            *('--name=chests', '--modality=ct', f'--cube_size={SIZE}', '--border_low=0,0,0'),
            *('--border_high=0,0,0', '--max_tissue=1', '--min_tissue=0.05'),
        )
    _run(
        *('main.py', '--config=configs/genesis_ct.py', f'--workdir={args.out}/runs/genesis'),
        *(f'--config.data.dir={data}', '--config.data.name=chests'),
        *(f'--config.model.width={WIDTH}', '--config.batch_size=6'),
        *('--config.optimizer.name=adam', '--config.optimizer.learning_rate=0.01'),
        *('--config.schedule.name=cosine', f'--config.epochs={args.pretrain_epochs}'),
    )


def _prepare(args, task):
    layout, module = TASKS[task]
    source, data = args.out / 'raw' / layout, args.out / 'data'
    if (data / task).exists():
        return
    shutil.rmtree(source, ignore_errors=True)
    _run(
        *('-m', 'data_prep.phantom', f'--out={source}', f'--layout={layout}'),
        f'--patients={args.patients}',
    )
    _run(
        *('-m', f'data_prep.{module}', f'--source={source}', f'--data_dir={data}'),
        f'--cube_size={SIZE}',
    )


def _finetune(args, task, name, init):
    _run(
        *('main.py', f'--config=configs/{task}.py', f'--workdir={args.out}/runs/{task}_{name}'),
        *(f'--config.data.dir={args.out}/data', f'--config.model.width={WIDTH}'),
        *(f'--config.init={init}', f'--config.label_fraction={args.fraction}'),
        *(f'--config.runs={args.seeds}', f'--config.epochs={args.epochs}'),
        *('--config.batch_size=4', '--config.steps_per_epoch=8', '--config.pictures=2'),
    )


def _compare(args, task):
    runs = args.out / 'runs'
    _run(
        *('-m', 'genesis_jax.compare', f'{runs}/{task}_scratch', f'{runs}/{task}_genesis'),
        *('--names=scratch,genesis', f'--out={args.out}/compare_{task}', '--overwrite'),
    )


def _run(*arguments):
    print('$ python', *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], check=True)


if __name__ == '__main__':
    sys.exit(main())
