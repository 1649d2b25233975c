r"""NCC: lung nodules against false positives, candidates of LUNA16.

    python -m data_prep.luna16_candidates --source=LUNA16 --data_dir=data
    python main.py --config=configs/ncc.py --workdir=runs/ncc --config.runs=10 \
        --config.init=runs/genesis_ct

Expected (mean and sd of ten runs, published): AUC 94.25 ± 5.07 % from scratch, 97.90 ± 0.57 % from
Genesis Chest CT (MICCAI 2019), 98.34 ± 0.44 % (MedIA 2021).
"""

from configs import target


def get_config():
    """The published recipe: folds 0-4 train, 5-6 validate, 7-9 test."""
    config = target.get_config('classification')
    config.data.name = 'ncc'
    config.batch_size = 24
    config.patience = 10
    return config
