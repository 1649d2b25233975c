"""Does pre-training help where labels are few? python -m benchmarks.transfer --out=DIR

On phantoms, with the project's own commands: a network restores cubes of unlabelled drawn chests;
then a nodule segmentation (in the format of LIDC-IDRI) and a nodule classification (in that of
LUNA16's candidates) are learned from a small fraction of the patients, from scratch and from there,
with several seeds. Patients of the target tasks are none of the pre-training. Drawn chests are
simpler than real ones: this shows that the machinery transfers something, not how much is gained on
a clinical task.
"""

import json
import shutil
import subprocess
import sys
import time

from genesis_jax.cli.arguments import Parser, count, number, path
from genesis_jax.runs.files import write_atomically

WIDTH = 4
SIZE = '32,32,16'
TASKS = {  # config: phantom, preparation
    'ncs': ('lidc', 'lidc'),
    'ncc': ('luna16_candidates', 'luna16_candidates'),
}


def main(argv=None):
    """Runs the study and returns the exit status."""
    parser = Parser(prog='python -m benchmarks.transfer', description=__doc__)
    option = parser.option
    option('out', path, 'DIR', 'folder for data, runs and tables', required=True)
    option('seeds', count, 'N', 'runs of each init', '5')
    option('fraction', number(float, 0, 1), 'SHARE', 'of the training patients', '0.2')
    option('patients', count, 'N', 'of a target task', '20')
    option('pretrain_epochs', count, 'N', 'of the restoration', '12')
    option('epochs', count, 'N', 'of a target task', '40')
    args = parser.parse_args(argv)
    clock = time.perf_counter()
    _pretrain(args)
    for task in TASKS:
        _prepare(args, task)
        for name, init in (('scratch', 'scratch'), ('genesis', args.out / 'runs' / 'genesis')):
            _finetune(args, task, name, init)
        _compare(args, task)
    settings = {k: v for k, v in vars(args).items() if k not in ('out', 'given')}
    about = json.loads((args.out / 'runs' / 'genesis' / 'config.json').read_text('utf-8'))
    settings |= {'device': about['device'], 'versions': about['versions']}
    settings |= {'width': WIDTH, 'cube': SIZE, 'minutes': (time.perf_counter() - clock) / 60}
    write_atomically(args.out / 'settings.json', json.dumps(settings, indent=2) + '\n')
    return 0


def _pretrain(args):
    source, data = args.out / 'raw' / 'chests', args.out / 'data'
    if not (data / 'chests').exists():
        shutil.rmtree(source, ignore_errors=True)
        size = '--scans_per_subset=2 --shape=96,96,64 --seed=1000'
        _run(f'-m data_prep.phantom --layout=luna16 {size}', out=source)
        _run(
            f'-m data_prep.scans --name=chests --modality=ct --cube_size={SIZE} '
            '--border_low=0,0,0 --border_high=0,0,0 --max_tissue=1 --min_tissue=0.05',
            source=source,
            data_dir=data,
        )
    _run(
        'main.py --config=configs/genesis_ct.py --config.data.name=chests '
        f'--config.model.width={WIDTH} --config.batch_size=6 --config.optimizer.name=adam '
        '--config.optimizer.learning_rate=0.01 --config.schedule.name=cosine '
        f'--config.epochs={args.pretrain_epochs}',
        **{'workdir': args.out / 'runs' / 'genesis', 'config.data.dir': data},
    )


def _prepare(args, task):
    layout, module = TASKS[task]
    source, data = args.out / 'raw' / layout, args.out / 'data'
    if not (data / task).exists():
        shutil.rmtree(source, ignore_errors=True)
        _run(f'-m data_prep.phantom --layout={layout} --patients={args.patients}', out=source)
        _run(f'-m data_prep.{module} --cube_size={SIZE}', source=source, data_dir=data)


def _finetune(args, task, name, init):
    _run(
        f'main.py --config=configs/{task}.py --config.model.width={WIDTH} --config.pictures=2 '
        f'--config.label_fraction={args.fraction} --config.runs={args.seeds} '
        f'--config.epochs={args.epochs} --config.batch_size=4 --config.steps_per_epoch=8',
        **{'workdir': args.out / 'runs' / f'{task}_{name}', 'config.data.dir': args.out / 'data'},
        **{'config.init': init},
    )


def _compare(args, task):
    runs = [args.out / 'runs' / f'{task}_{name}' for name in ('scratch', 'genesis')]
    options = '-m genesis_jax.compare --names=scratch,genesis --overwrite'
    _run(options, *runs, out=args.out / f'compare_{task}')


def _run(command, *files, **options):
    arguments = [*command.split(), *map(str, files), *(f'--{n}={v}' for n, v in options.items())]
    print('$ python', *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], check=True)


if __name__ == '__main__':
    sys.exit(main())
