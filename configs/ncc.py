r"""NCC: lung nodules against false positives, candidates of LUNA16.

    python -m data_prep.luna16_candidates --source=LUNA16 --data_dir=data
    python main.py --config=configs/ncc.py --workdir=runs/ncc --config.runs=10 \
        --config.init=runs/genesis_ct

Expected (mean and sd of ten runs, published): AUC 94.25 ± 5.07 % from scratch, 97.90 ± 0.57 % from
Genesis Chest CT (MICCAI 2019), 98.34 ± 0.44 % (MedIA 2021).

In 2D on the same data: `--config=configs/ncc.py:2d` (axial slices), `:2.5d` (each with its
neighbours), `:orthogonal` (three planes); `--config.init` is then a 2D pre-training or a ResNet-18
of ImageNet (FILE.pth, FILE.safetensors).
Expected: 96.03 ± 0.86 % from scratch, 97.79 ± 0.71 % from ImageNet, 97.45 ± 0.61 % from Genesis
Chest CT 2D.
"""

from configs import target


def get_config(reading='3d'):
    """The published recipe: folds 0-4 train, 5-6 validate, 7-9 test."""
    prepare = 'luna16_candidates --source=LUNA16'
    return target.get_reading(
        'classification', reading, name='ncc', prepare=prepare, batch_size=24, patience=10
    )
