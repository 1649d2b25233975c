r"""NCS: lung nodule segmentation, LIDC-IDRI.

    python -m data_prep.lidc --source=LIDC-IDRI --data_dir=data
    python main.py --config=configs/ncs.py --workdir=runs/ncs --config.runs=10 \
        --config.init=runs/genesis_ct

Expected (mean and sd of ten runs, published): mean_iou_paper 74.05 ± 1.97 % from scratch,
77.62 ± 0.64 % from Genesis Chest CT (MICCAI 2019); Dice 75.86 ± 0.90 %.
"""

from configs import target


def get_config():
    """The published recipe: 64x64x32 at the nodule, 1 mm; 510 / 100 / 408 cases."""
    config = target.get_config('segmentation')
    config.data.name = 'ncs'
    config.batch_size = 16
    config.patience = 50
    return config
