r"""Genesis Chest CT 2D: pre-training of a 2D U-Net (ResNet-18 encoder) on axial slices of LUNA16.

    python -m data_prep.slices --source=LUNA16 --name=luna16_slices --data_dir=data
    python main.py --config=configs/genesis_ct_2d.py --workdir=runs/genesis_ct_2d

Variants as of configs/genesis_ct.py (`:distortion`, `:painting`, ...). Slices of three channels
show each one with its neighbours. Patches that are there already serve, too, as slices of 64x64:
`--config.data.name=luna16 --config.data.view=slices` (or `adjacent`). `--config.init=resnet18.pth`
starts with an encoder of ImageNet and a new decoder.

The authors never published size, batch and schedule of their 2D pre-training. Here they are those
of 3D, but for what is set below. Expected of its target tasks (published, mean and sd of ten runs):
NCC 97.45 ± 0.61, NCS 72.20 ± 0.67, ECC 78.58 ± 3.67, DXC 74.99 ± 0.36, IUC 94.50 ± 2.08 %.
"""

from configs import genesis_ct


def get_config(variant='unified'):
    """The config of a variant."""
    config = genesis_ct.get_config(variant)
    config.dimensions = 2
    config.data.name = 'luna16_slices'
    config.data.prepare = ('luna16_slices', 'slices --source=LUNA16 --name=luna16_slices')
    config.transforms.flip_axes = (0, 1)
    # Every voxel of a 3D patch lies in 1.9 windows on average, and so does every pixel here: sides
    # grow with the image's, so that holds for any size.
    config.transforms.shuffle_windows = 700
    config.transforms.fill = 'constant'  # as the 2D examples of the paper are drawn
    config.model.width = 64  # ResNet-18's
    config.batch_per_device = 32
    return config
