"""The papers' experiments in 3D and 2D on the public data sets, for a host with GPUs or TPUs.

    python -m benchmarks.study --study=luna16 --source=DATASETS --out=luna16

DATASETS holds the folders LUNA16, LIDC-IDRI, LITS and BRATS as they are distributed. (ECC and IUC
are on private data; DXC and Genesis X-ray need ChestX-ray14: see configs/dxc.py.) Ten runs of
everything, as published.
"""

from dataclasses import replace

from benchmarks.study.spec import IMAGENET, Layout, Start, Study, Target

APPROACHES = {'Genesis': 'unified', 'Distortion': 'distortion', 'Painting': 'painting'}
SINGLE = ('nonlinear', 'shuffling', 'outpainting', 'inpainting', 'autoencoder')
_3D = ['ncc', 'ncs', 'lcs', 'bms']
_2D = {'ncc 2D': 'ncc.py:2d', 'ncs 2D': 'ncs.py:2d'}


def study(quick: bool = False) -> Study:
    """The study; `quick` takes networks that learn next to nothing, of the same data."""
    starts_2d = ['scratch', 'ImageNet', 'Genesis CT 2D']
    whole = Study(
        title='LUNA16',
        about="the papers' tables 2 to 4 and the labels that pre-training saves",
        raw='a folder that holds LUNA16, LIDC-IDRI, LITS and BRATS',
        datasets={
            'luna16': 'luna16 --source={raw}/LUNA16',
            'luna16_slices': 'slices --name=luna16_slices --source={raw}/LUNA16',
            'ncc': 'luna16_candidates --source={raw}/LUNA16',
            'ncs': 'lidc --source={raw}/LIDC-IDRI',
            'lcs': 'lits --source={raw}/LITS',
            'bms': 'brats --source={raw}/BRATS',
        },
        pretrainings={
            **{name: f'genesis_ct.py:{name}' for name in (*APPROACHES.values(), *SINGLE)},
            'genesis_ct_2d': 'genesis_ct_2d.py',
        },
        targets={
            **{name: Target(f'{name}.py') for name in _3D},
            **{name: Target(config) for name, config in _2D.items()},
        },
        starts={
            'scratch': Start(),
            **{name: Start(variant) for name, variant in APPROACHES.items()},
            **{name: Start(name) for name in SINGLE},
            'ImageNet': Start(IMAGENET, '--config.model.width=64'),
            'Genesis CT 2D': Start('genesis_ct_2d'),
        },
        layouts=[
            Layout('table2', dict.fromkeys(_3D, ['scratch', 'Genesis'])),
            Layout('table3', dict.fromkeys(_3D, ['scratch', *APPROACHES, *SINGLE])),
            Layout(
                'table4',
                dict.fromkeys(_2D, starts_2d) | dict.fromkeys(_3D[:2], ['scratch', 'Genesis']),
            ),
            Layout(
                'labels',
                dict.fromkeys(_3D, ['scratch', 'Genesis']),
                (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
            ),
        ],
        seeds=10,
        minutes=(60, 1500, 60),
        device='a host of eight GPUs (an estimate: nobody has run it)',
    )
    if not quick:
        return whole
    tiny = '--config.model.width=2 --config.epochs=1'
    return replace(
        whole,
        pretrainings={name: f'{text} {tiny}' for name, text in whole.pretrainings.items()},
        targets={
            name: replace(target, flags=f'{tiny} --config.steps_per_epoch=2')
            for name, target in whole.targets.items()
        },
        seeds=2,
        minutes=(60, 10, 1),
    )
