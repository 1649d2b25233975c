r"""Does pre-training on unlabelled MR volumes save labels? Hippocampus, two classes.

    python -m benchmarks.study --study=hippocampus --source=Task04_Hippocampus --out=hippocampus

Task04 of the Medical Segmentation Decathlon (CC BY-SA 4.0), volumes of about 35×50×36 mm: 60 are
the test. The network restores patches of the others, without their labels, then learns to segment
from 1 to 100 % of four fifths of them; the last fifth validates.
"""

from dataclasses import replace

from benchmarks.study.spec import Layout, Start, Study, Target

FRACTIONS = (0.05, 0.02, 0.01, 0.1, 0.25, 1.0)  # the most telling first
_PRETRAINING = (
    'genesis_mri.py --config.data.name=images --config.model.width=8 --config.batch_size=8 '
    '--config.optimizer.name=adamw --config.optimizer.learning_rate=3e-3 '
    '--config.optimizer.weight_decay=0.05 --config.schedule.name=cosine '
    '--config.schedule.warmup_steps=200 --config.transforms.shuffle_windows=1440 --config.epochs=9'
)
_FINETUNING = (
    '--config.data.name=labels --config.model.width=8 --config.batch_size=2 '
    '--config.steps_per_epoch=50 --config.epochs=5 --config.schedule.name=cosine '
    '--config.schedule.warmup_steps=20 --config.overlap=0.25 --config.pictures=0'
)


def study(quick: bool = False) -> Study:
    """The study; `quick` shows the way with a tiny network."""
    whole = Study(
        title='Hippocampus',
        about='segmentation of its anterior and posterior part in MR, from few labels',
        raw='the folder Task04_Hippocampus of the Medical Segmentation Decathlon',
        sources={'split': 'benchmarks.study.hold_out --source={raw} --test=60'},
        datasets={
            'images': 'scans --name=images --source={split}/imagesTr --modality=mri '
            '--cube_size=24,32,24 --border_low=0,0,0 --border_high=0,0,0 --max_tissue=1',
            'labels': 'nnunet --name=labels --source={split} --modality=mri --cube_size=24,40,24 '
            '--patches_per_scan=4',
        },
        pretrainings={'genesis': _PRETRAINING},
        targets={
            'hippocampus': Target(
                'segment.py', _FINETUNING, rates=(3e-3, 1e-2, 3e-2), tuned_at=0.05
            )
        },
        starts={
            'scratch': Start(),
            'Genesis': Start('genesis'),
            'random features': Start(flags='--config.freeze=encoder_decoder'),
            'Genesis features': Start('genesis', '--config.freeze=encoder_decoder'),
        },
        layouts=[
            Layout('labels', {'hippocampus': ['scratch', 'Genesis']}, FRACTIONS),
            Layout('speed', {'hippocampus': ['scratch', 'Genesis']}, FRACTIONS),
            Layout('robustness', {'hippocampus': ['scratch', 'Genesis']}, FRACTIONS[:1]),
            Layout('probe', {'hippocampus': ['random features', 'Genesis features']}, (0.05, 1.0)),
        ],
        seeds=5,
        tuning_seeds=2,
        minutes=(0.5, 100, 3),
    )
    return _shrunk(whole) if quick else whole


def _shrunk(whole):
    tiny = ' --config.model.width=2 --config.epochs=1 --config.schedule.warmup_steps=1'
    ((name, target),) = whole.targets.items()
    return replace(
        whole,
        sources={'split': 'benchmarks.study.hold_out --source={raw} --test=3 --train=6'},
        datasets={name: f'{text} --workers=1' for name, text in whole.datasets.items()},
        pretrainings={'genesis': whole.pretrainings['genesis'] + tiny},
        targets={
            name: replace(
                target, flags=f'{target.flags}{tiny} --config.steps_per_epoch=2', rates=(1e-3, 1e-2)
            )
        },
        layouts=[replace(layout, fractions=(1.0, 0.5)) for layout in whole.layouts],
        seeds=2,
        tuning_seeds=1,
        minutes=(0.1, 0.5, 0.2),
    )
