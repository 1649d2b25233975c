"""Masked autoencoding on chest CT: a grid of blocks is hidden, the network restores what was there.

    python -m data_prep.luna16 --source=LUNA16 --data_dir=data
    python main.py --config=configs/mae_ct.py --workdir=runs/mae_ct

After He et al. (MAE, CVPR 2022): three quarters of the blocks of 16 voxels are hidden, the loss is
the squared error of these alone, and nothing else is corrupted. With
`--config.transforms.nonlinear_probability=0.9` and the like it is mixed with the corruptions of
Models Genesis. Wald et al. (OpenMind, 2024) found masking the best of the simple pretexts for 3D
networks; their networks were residual encoders.

Expected: as long as configs/genesis_ct.py for each epoch; the rate falls to 0 over the 100 epochs.
"""

from configs import genesis_ct


def get_config():
    """The config; the network is that of Models Genesis."""
    config = genesis_ct.get_config('autoencoder')
    config.transforms.mask_probability = 1.0
    config.transforms.mask_block = 16
    config.transforms.mask_ratio = 0.75
    config.loss.where = 'corrupted'
    config.optimizer.name = 'adamw'
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 0.05
    config.schedule.name = 'cosine'
    config.schedule.warmup_steps = 1_000
    config.epochs = 100
    config.patience = 100
    return config
