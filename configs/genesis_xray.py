r"""Genesis Chest X-ray: pre-training of a 2D U-Net on the radiographs of ChestX-ray8/14.

    python -m data_prep.chestxray --source=CHESTXRAY --data_dir=data
    python main.py --config=configs/genesis_xray.py --workdir=runs/genesis_xray

Variants as of configs/genesis_ct.py (`:distortion`, `:painting`, ...). Size, batch and schedule
were never published: see configs/genesis_ct_2d.py. Expected of its target tasks (published, mean
and sd of ten runs): DXC 75.48 ± 0.13, IUC 94.99 ± 0.93 %.
"""

from configs import genesis_ct_2d


def get_config(variant='unified'):
    """The config of a variant."""
    config = genesis_ct_2d.get_config(variant)
    config.data.name = 'chestxray'
    config.data.prepare = ('chestxray', 'chestxray --source=CHESTXRAY')
    config.transforms.flip_axes = (0,)  # nobody hangs upside down
    return config
