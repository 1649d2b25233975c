"""What matters in pre-training? One factor at a time, small enough that each run takes minutes.

    python -m benchmarks.study --study=factors --source=Task04_Hippocampus --out=factors

The data and the split of the study `hippocampus`, at 1.5 mm and with a network of width 4. Every
factor changes one thing of the base recipe; each start gets its own learning rate, scratch too. All
learn from 5 % of the labels.
"""

from dataclasses import replace

from benchmarks.study.few_labels import RATES
from benchmarks.study.spec import Layout, Start, Study, Target

_BASE = (
    '--config.model.width=4 --config.batch_size=8 --config.optimizer.name=adamw '
    '--config.optimizer.learning_rate=3e-3 --config.optimizer.weight_decay=0.05 '
    '--config.schedule.name=cosine --config.schedule.warmup_steps=100 '
    '--config.transforms.shuffle_windows=470 --config.pictures=0 --config.epochs=8'
)
_PRETRAININGS = {  # variant of configs/genesis_mri.py, and what differs from the base
    'base': ('unified', ''),
    'quarter as long': ('unified', '--config.epochs=2'),
    'four times as long': ('unified', '--config.epochs=32'),
    'rate 1e-3': ('unified', '--config.optimizer.learning_rate=1e-3'),
    'rate 1e-2': ('unified', '--config.optimizer.learning_rate=1e-2'),
    'no decay of the rate': ('unified', '--config.schedule.name=constant'),
    'no weight decay': ('unified', '--config.optimizer.weight_decay=0.0'),
    'SGD as published': (
        'unified',
        '--config.optimizer.name=sgd --config.optimizer.learning_rate=1.0',
    ),
    'distortion': ('distortion', ''),
    'painting': ('painting', ''),
    'out-painting': ('outpainting', ''),
    'in-painting': ('inpainting', ''),
    'shuffling': ('shuffling', ''),
    'non-linear map': ('nonlinear', ''),
    'auto-encoder': ('autoencoder', ''),
    'small patches': ('unified', '--config.data.name=small --config.batch_size=24'),
}
_FINETUNING = (
    '--config.data.name=labels --config.model.width=4 --config.batch_size=4 '
    '--config.steps_per_epoch=40 --config.epochs=5 --config.schedule.name=cosine '
    '--config.schedule.warmup_steps=20 --config.overlap=0.25 --config.pictures=0'
)
_STARTS = {  # of fine-tunings from the base
    'encoder alone': '--config.transfer=encoder',
    'layer decay 0.7': '--config.layer_decay=0.7',
    'head first': '--config.head_warmup_epochs=1',
    'no warm-up': '--config.schedule.warmup_steps=0',
    'encoder frozen': '--config.freeze=encoder',
}
_GEOMETRY = '--modality=mri --spacing=1.5,1.5,1.5'


def study(quick: bool = False) -> Study:
    """The study; `quick` shows the way with three starts."""
    starts = {
        'scratch': Start(),
        **{name: Start(_slug(name)) for name in _PRETRAININGS},
        **{name: Start('base', flags) for name, flags in _STARTS.items()},
    }
    images = f'scans --source={{split}}/imagesTr {_GEOMETRY}'
    whole = Study(
        title='Factors',
        about='which part of the recipe makes pre-training pay, at 5 % of the labels',
        raw='the folder Task04_Hippocampus of the Medical Segmentation Decathlon',
        sources={'split': 'benchmarks.study.hold_out --source={raw} --test=60'},
        datasets={
            'images': f'{images} --name=images --cube_size=16,24,16',
            'small': f'{images} --name=small --cube_size=16,16,8 --cubes_per_scan=96',
            'labels': f'nnunet --name=labels --source={{split}} {_GEOMETRY} '
            '--cube_size=16,24,16 --patches_per_scan=4',
        },
        pretrainings={
            _slug(name): f'genesis_mri.py:{variant} --config.data.name=images {_BASE} {flags}'
            for name, (variant, flags) in _PRETRAININGS.items()
        },
        targets={'hippocampus': Target('segment.py', _FINETUNING, rates=RATES, tuned_at=0.05)},
        starts=starts,
        layouts=[Layout('labels', {'hippocampus': list(starts)}, (0.05,))],
        seeds=5,
        tuning_seeds=2,
        minutes=(0.5, 5, 0.5),
    )
    return _shrunk(whole) if quick else whole


def _shrunk(whole):
    tiny = '--config.model.width=2 --config.epochs=1 --config.schedule.warmup_steps=1'
    target = whole.targets['hippocampus']
    return replace(
        whole,
        sources={'split': 'benchmarks.study.hold_out --source={raw} --test=3 --train=6'},
        pretrainings={'base': f'{whole.pretrainings["base"]} {tiny}'},
        targets={'hippocampus': replace(target, flags=f'{target.flags} {tiny}', rates=())},
        layouts=[Layout('labels', {'hippocampus': ['scratch', 'base', 'encoder alone']}, (1.0,))],
        seeds=2,
        minutes=(0.1, 0.5, 0.2),
    )


def _slug(name):
    return name.replace(' ', '_').replace('-', '_')
