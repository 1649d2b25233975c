r"""BMS: brain tumour segmentation, BraTS 2013 to 2023, FLAIR.

    python -m data_prep.brats --source=BRATS --data_dir=data
    python main.py --config=configs/bms.py --workdir=runs/bms --config.runs=10 \
        --config.init=runs/genesis_ct

Expected (mean and sd of ten runs, published): mean_iou_paper 90.16 ± 0.41 % from scratch,
90.59 ± 0.21 % from Genesis Chest CT (BraTS 2013, MICCAI 2019), 67.96 ± 1.29 % (2018, MedIA 2021);
Dice 92.58 ± 0.30 %.
"""

from configs import target


def get_config():
    """The published recipe: the whole tumour; three folds by patient."""
    return target.get_config(
        'segmentation', name='bms', prepare='brats --source=BRATS', batch_size=16, patience=30
    )
