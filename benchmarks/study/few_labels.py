"""The recipe of the studies that ask how many labels pre-training saves on a real dataset.

The same for every dataset: a network of width 8 restores some 32,000 patches of the training
scans, without their labels; then it learns to segment from some of the labels, 250 steps of 2
patches, each start at the learning rate that suits it best on validation patients.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.study.spec import Layout, Start, Study, Target

RATES = (3e-3, 1e-2, 3e-2)
_PRETRAINING = (
    '--config.data.name=images --config.model.width=8 --config.batch_size=8 '
    '--config.optimizer.name=adamw --config.optimizer.learning_rate=3e-3 '
    '--config.optimizer.weight_decay=0.05 --config.schedule.name=cosine '
    '--config.schedule.warmup_steps=200 --config.transforms.shuffle_windows=1440'
)
_FINETUNING = (
    '--config.data.name=labels --config.model.width=8 --config.batch_size=2 '
    '--config.steps_per_epoch=50 --config.epochs=5 --config.schedule.name=cosine '
    '--config.schedule.warmup_steps=20 --config.overlap=0.25 --config.pictures=0'
)


def few_labels(
    *,
    title: str,
    about: str,
    raw: str,
    modality: str,
    test: int,
    pretraining: str,
    target: str,
    fractions: Sequence[float],
) -> Study:
    """A study of a segmentation dataset in the layout of nnU-Net or the Medical Decathlon.

    Args:
      raw: what `--source` has to be.
      modality: of `data_prep`.
      test: scans that are held out.
      pretraining: config and what makes it as long as the others.
      target: what its tables call the task.
      fractions: shares of the labels, the most telling first; at it the rates are tuned.
    """
    both = {target: ['scratch', 'Genesis']}
    return Study(
        title=title,
        about=about,
        raw=raw,
        sources={'split': f'benchmarks.study.hold_out --source={{raw}} --test={test}'},
        datasets={
            'images': f'scans --name=images --source={{split}}/imagesTr --modality={modality} '
            '--cube_size=24,32,24',
            'labels': f'nnunet --name=labels --source={{split}} --modality={modality} '
            '--cube_size=24,40,24 --patches_per_scan=4',
        },
        pretrainings={'genesis': f'{pretraining} {_PRETRAINING}'},
        targets={target: Target('segment.py', _FINETUNING, rates=RATES, tuned_at=fractions[0])},
        starts={'scratch': Start(), 'Genesis': Start('genesis')},
        layouts=[Layout('labels', both, fractions), Layout('speed', both, fractions)],
        seeds=5,
        tuning_seeds=2,
        minutes=(0.5, 100, 3),
    )


def shrunk(whole: Study) -> Study:
    """The same way in minutes: tiny networks, two seeds, half of the labels and all."""
    tiny = ' --config.model.width=2 --config.epochs=1 --config.schedule.warmup_steps=1'
    short = f'{tiny} --config.steps_per_epoch=2'
    return replace(
        whole,
        sources={'split': 'benchmarks.study.hold_out --source={raw} --test=3 --train=6'},
        datasets={name: f'{text} --workers=1' for name, text in whole.datasets.items()},
        pretrainings={name: text + tiny for name, text in whole.pretrainings.items()},
        targets={
            name: replace(target, flags=target.flags + short, rates=target.rates[:2], tuned_at=1.0)
            for name, target in whole.targets.items()
        },
        layouts=[replace(layout, fractions=(1.0, 0.5)) for layout in whole.layouts],
        seeds=2,
        tuning_seeds=1,
        minutes=(0.1, 0.5, 0.2),
    )
