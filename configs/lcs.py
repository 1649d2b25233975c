r"""LCS: liver segmentation, LiTS.

    python -m data_prep.lits --source=LITS --data_dir=data
    python main.py --config=configs/lcs.py --workdir=runs/lcs --config.runs=10 \
        --config.init=runs/genesis_ct

Expected (mean and sd of ten runs, published): mean_iou_paper 74.60 ± 4.57 % from scratch,
79.52 ± 4.77 % from Genesis Chest CT (MICCAI 2019), 85.10 ± 2.15 % (MedIA 2021); Dice
91.13 ± 1.51 %.
"""

from configs import target


def get_config():
    """The published recipe: the liver with its lesions; scans 0-99, 100-114, 115-129."""
    return target.get_config(
        'segmentation', name='lcs', prepare='lits --source=LITS', batch_size=16, patience=20
    )
