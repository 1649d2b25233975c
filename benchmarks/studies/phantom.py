"""All tables of the papers on drawn patients: shows that the way works, not what is gained.

    python -m benchmarks.study --study=phantom --out=phantom

Networks restore patches of drawn chests, by all approaches, and slices and radiographs; then they
learn a nodule segmentation and a classification, in 3D and in 2D, findings in radiographs and
classes of ultrasound frames. Patients of the target tasks are none of the pre-training. Drawn
patients are simpler than real ones.
"""

from dataclasses import replace

from benchmarks.study.spec import IMAGENET, Layout, Start, Study, Target

APPROACHES = {  # published names: variants of configs/genesis_ct.py
    'Genesis': 'unified',
    'Distortion': 'distortion',
    'Painting': 'painting',
    'Non-linear': 'nonlinear',
    'Shuffling': 'shuffling',
    'Out-painting': 'outpainting',
    'In-painting': 'inpainting',
    'Auto-encoder': 'autoencoder',
}
_CUBE = '--cube_size=32,32,16'
_PRETRAINING = (
    '--config.model.width={width} --config.batch_size=6 --config.optimizer.name=adam '
    '--config.optimizer.learning_rate=0.01 --config.schedule.name=cosine --config.epochs={epochs}'
)
_FINETUNING = (
    '--config.model.width={width} --config.pictures=0 --config.epochs={epochs} '
    '--config.batch_size=4 --config.steps_per_epoch=8'
)
_3D = ['ncc', 'ncs']
_2D = ['ncc 2D', 'ncs 2D']
_STARTS_2D = ['scratch', 'ImageNet', 'Genesis CT 2D']


def study(quick: bool = False) -> Study:
    """The study; `quick` learns next to nothing."""
    whole = _study(width=4, width_2d=16, epochs=12, tuned=40)
    if not quick:
        return whole
    tiny = _study(width=2, width_2d=4, epochs=1, tuned=1, patients=10)
    skipped = {'ultrasound', 'iuc', 'ncs 2D'}
    pretrained = ('unified', 'distortion', 'genesis_ct_2d', 'genesis_xray')
    starts, in_2d = ['scratch', 'Genesis'], ['scratch', 'Genesis CT 2D']
    return replace(
        tiny,
        sources={name: text for name, text in tiny.sources.items() if name not in skipped},
        datasets={name: text for name, text in tiny.datasets.items() if name not in skipped},
        pretrainings={name: tiny.pretrainings[name] for name in pretrained},
        layouts=[
            Layout('labels', {'ncs': starts}, (0.5, 1.0)),
            Layout('table2', dict.fromkeys(_3D, starts)),
            Layout('table3', dict.fromkeys(_3D, [*starts, 'Distortion'])),
            Layout('table4', {'ncc 2D': in_2d, 'ncc': starts}),
            Layout('figure2', dict.fromkeys(['ncc 2D', 'dxc'], [*in_2d, 'Genesis X-ray'])),
        ],
        seeds=2,
        minutes=(0.2, 0.3, 0.2),
    )


def _study(width, width_2d, epochs, tuned, patients=20):
    in_3d, in_2d = (_PRETRAINING.format(width=w, epochs=epochs) for w in (width, width_2d))
    learn_3d, learn_2d = (_FINETUNING.format(width=w, epochs=tuned) for w in (width, width_2d))
    drawn = 'data_prep.phantom --layout={layout} --patients={patients}'
    return Study(
        title='Phantoms',
        about='all tables of the papers, on drawn patients',
        sources={
            'chests': 'data_prep.phantom --layout=luna16 --scans_per_subset=1 --shape=96,96,64 '
            '--seed=1000',
            'films': 'data_prep.phantom --layout=chestxray --patients=40 --shape=64,64 --seed=1000',
            **{
                layout: drawn.format(layout=layout, patients=patients)
                for layout in ('lidc', 'luna16_candidates')
            },
            'chestxray': drawn.format(layout='chestxray', patients=2 * patients) + ' --shape=64,64',
            'ultrasound': drawn.format(layout='ultrasound', patients=patients) + ' --shape=64,64',
        },
        datasets={
            'chests': f'scans --name=chests --source={{chests}} --modality=ct {_CUBE} '
            '--border_low=0,0,0 --border_high=0,0,0 --max_tissue=1 --min_tissue=0.05',
            'slices': 'slices --name=slices --source={chests} --size=64,64',
            'chestxray': 'chestxray --source={films} --only=chestxray --size=64,64',
            'ncs': f'lidc --source={{lidc}} {_CUBE}',
            'ncc': f'luna16_candidates --source={{luna16_candidates}} {_CUBE}',
            'dxc': 'chestxray --source={chestxray} --only=dxc --size=64,64',
            'iuc': 'images --name=iuc --source={ultrasound} --csv={ultrasound}/labels.csv '
            '--size=64,64',
        },
        pretrainings={
            **{
                variant: f'genesis_ct.py:{variant} --config.data.name=chests {in_3d}'
                for variant in APPROACHES.values()
            },
            'genesis_ct_2d': f'genesis_ct_2d.py --config.data.name=slices {in_2d}',
            'genesis_xray': f'genesis_xray.py {in_2d}',
        },
        targets={
            'ncc': Target('ncc.py', learn_3d),
            'ncs': Target('ncs.py', learn_3d),
            'ncc 2D': Target('ncc.py:2d', learn_2d),
            'ncs 2D': Target('ncs.py:2d', learn_2d),
            'dxc': Target('dxc.py', learn_2d),
            'iuc': Target('iuc.py', learn_2d),
        },
        starts={
            'scratch': Start(),
            **{name: Start(variant) for name, variant in APPROACHES.items()},
            'ImageNet': Start(IMAGENET, '--config.model.width=64'),
            'Genesis CT 2D': Start('genesis_ct_2d'),
            'Genesis X-ray': Start('genesis_xray'),
        },
        layouts=[
            Layout('labels', dict.fromkeys(_3D, ['scratch', 'Genesis']), (0.2, 0.5, 1.0)),
            Layout('table2', dict.fromkeys(_3D, ['scratch', 'Genesis'])),
            Layout('table3', dict.fromkeys(_3D, ['scratch', *APPROACHES])),
            Layout(
                'table4',
                dict.fromkeys(_2D, _STARTS_2D) | dict.fromkeys(_3D, ['scratch', 'Genesis']),
            ),
            Layout('figure2', dict.fromkeys([*_2D, 'dxc', 'iuc'], [*_STARTS_2D, 'Genesis X-ray'])),
        ],
        seeds=5,
        minutes=(0.5, 5, 2),
    )
