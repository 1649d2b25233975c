r"""Genesis Chest CT on nnU-Net's residual encoder (ResEnc M, L): unified recipe, large patches.

    python -m data_prep.luna16 --source=LUNA16 --name=luna16_96 --cube_size=96,96,96 --volumes \
        --data_dir=data
    python main.py --config=configs/genesis_resenc.py --workdir=runs/genesis_resenc

102 million parameters (Isensee et al., nnU-Net Revisited, 2024). Patches are drawn anew in every
epoch (docs/volumes.md); AdamW with a warm-up and a cosine. Weights go to nnU-Net with
`python -m genesis_jax.convert runs/genesis_resenc genesis.pth --to=nnunet`; see docs/networks.md.
Variants as of configs/genesis_ct.py.

Expected: not known; nobody has run it to its end. It needs an accelerator.
"""

from configs import genesis_ct


def get_config(variant='unified'):
    """The config of a variant."""
    config = genesis_ct.get_config(variant)
    config.data.name = 'luna16_96'
    prepare = 'luna16 --source=LUNA16 --name=luna16_96 --cube_size=96,96,96 --volumes'
    config.data.prepare = ('luna16_96', prepare)
    config.data.sampling = 'volumes'
    config.model.name = 'resenc3d'
    config.model.dtype = 'bfloat16'
    config.model.remat = True
    # As many windows a voxel as in the published patches of 64x64x32.
    config.transforms.shuffle_windows = 67_500
    config.batch_per_device = 2
    config.optimizer.name = 'adamw'
    config.optimizer.learning_rate = 3e-4
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_norm = 1.0
    config.schedule.name = 'cosine'
    config.schedule.warmup_steps = 2_000
    config.epochs = 200
    config.patience = 200
    return config
