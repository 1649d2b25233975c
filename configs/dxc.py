r"""DXC: eight (or fourteen) pulmonary diseases in chest radiographs, ChestX-ray8/14.

    python -m data_prep.chestxray --source=CHESTXRAY --data_dir=data
    python main.py --config=configs/dxc.py --workdir=runs/dxc --config.runs=10 \
        --config.init=runs/genesis_xray

A radiograph may show several findings: one logit each, mean binary cross-entropy.
`--config.init` is scratch, a 2D pre-training, or a ResNet-18 of ImageNet (FILE.pth,
FILE.safetensors). Batch and patience were never published.

Expected (mean and sd of ten runs, published; mean AUC of eight): 69.15 ± 0.77 % from scratch,
75.55 ± 0.48 % from ImageNet, 74.99 ± 0.36 % from Genesis Chest CT 2D, 75.48 ± 0.13 % from Genesis
Chest X-ray.
"""

from configs import target


def get_config():
    """Whole images; the official lists."""
    prepare = 'chestxray --source=CHESTXRAY'
    config = target.get_config(
        'multilabel', 2, name='dxc', prepare=prepare, batch_size=64, patience=10
    )
    config.augment.flip_axes = (0,)  # left and right
    config.augment.transpose_probability = 0.0
    return config
