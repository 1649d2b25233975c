r"""IUC: region of interest, bulb or background in ultrasound of the carotid artery (CIMT).

    python -m data_prep.images --source=FRAMES --csv=LABELS.csv --name=iuc --data_dir=data
    python main.py --config=configs/iuc.py --workdir=runs/iuc --config.runs=10 \
        --config.init=runs/genesis_ct_2d

The published data (UFL MCAEL) are private: bring frames and a CSV with the columns image, label and
patient. Any classes will do. Batch and patience were never published.

Expected (mean and sd of ten runs, published): 92.78 ± 3.71 % from scratch, 95.51 ± 1.77 % from
ImageNet, 94.50 ± 2.08 % from Genesis Chest CT 2D, 94.99 ± 0.93 % from Genesis Chest X-ray.
"""

from configs import target


def get_config():
    """Whole frames, three classes, split by patient."""
    prepare = 'images --source=FOLDER --csv=LABELS.csv --name=iuc'
    config = target.get_config(
        'classification', 2, name='iuc', prepare=prepare, batch_size=32, patience=30
    )
    config.augment.flip_axes = (0,)  # left and right
    config.augment.transpose_probability = 0.0
    return config
