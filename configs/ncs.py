r"""NCS: lung nodule segmentation, LIDC-IDRI.

    python -m data_prep.lidc --source=LIDC-IDRI --data_dir=data
    python main.py --config=configs/ncs.py --workdir=runs/ncs --config.runs=10 \
        --config.init=runs/genesis_ct

Expected (mean and sd of ten runs, published): mean_iou_paper 74.05 ± 1.97 % from scratch,
77.62 ± 0.64 % from Genesis Chest CT (MICCAI 2019); Dice 75.86 ± 0.90 %.

In 2D on the same data: `--config=configs/ncs.py:2d` (axial slices), `:2.5d` (each with its
neighbours); `--config.init` is then a 2D pre-training or a ResNet-18 of ImageNet
(FILE.pth, FILE.safetensors; it has no decoder, which starts anew).
Expected: 70.48 ± 1.07 % from scratch, 72.39 ± 0.77 % from ImageNet, 72.20 ± 0.67 % from Genesis
Chest CT 2D.
"""

from configs import target


def get_config(reading='3d'):
    """The published recipe: 64x64x32 at the nodule, 1 mm; 510 / 100 / 408 cases."""
    size = 16 if reading == '3d' else 128  # slices; never published
    prepare = 'lidc --source=LIDC-IDRI'
    return target.get_reading(
        'segmentation', reading, name='ncs', prepare=prepare, batch_size=size, patience=50
    )
