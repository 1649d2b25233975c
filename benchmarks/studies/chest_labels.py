"""The chest CT of the `demo` extra: does the demo's pre-training help to find seven structures?

    python -m benchmarks.study --study=chest_labels --out=chest_labels

One scan. Networks restore patches of it without labels, then learn its labels from blocks of
three slices and are tested on the blocks between. It needs no data of one's own; with one patient
it says nothing of others.
"""

from dataclasses import replace

from benchmarks.study.spec import Layout, Start, Study, Target

STARTS = {'chest': ['scratch', 'Genesis']}


def study(quick: bool = False) -> Study:
    """The study; `quick` learns next to nothing."""
    whole = Study(
        title='Chest labels',
        about='seven structures of one chest CT, from few of its slices',
        sources={'labelled': 'data_prep.demo_labels'},
        datasets={
            'ct_chest_demo': 'demo',
            'chest_labels': 'nnunet --name=chest_labels --source={labelled} '
            '--spacing=3.047,3.047,3.333 --cube_size=64,64,8 --seed=4',
        },
        pretrainings={'genesis': 'demo.py'},
        targets={
            'chest': Target(
                'demo_labels.py', '--config.pictures=0', rates=(3e-3, 1e-2, 3e-2), tuned_at=0.5
            )
        },
        starts={'scratch': Start(), 'Genesis': Start('genesis')},
        layouts=[Layout('labels', STARTS, (0.25, 0.5, 1.0)), Layout('speed', STARTS)],
        seeds=5,
        tuning_seeds=2,
        minutes=(0.5, 4, 5),
    )
    if not quick:
        return whole
    tiny = '--config.model.width=2 --config.epochs=1'
    target = replace(whole.targets['chest'], flags=f'--config.pictures=0 {tiny}', rates=())
    return replace(
        whole,
        pretrainings={'genesis': f'demo.py {tiny}'},
        targets={'chest': target},
        seeds=2,
        minutes=(0.2, 0.3, 0.3),
    )
