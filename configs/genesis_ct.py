"""Genesis Chest CT: the published pre-training, 3D U-Net on 64x64x32 patches of LUNA16.

    python -m data_prep.luna16 --source=LUNA16 --data_dir=data
    python main.py --config=configs/genesis_ct.py --workdir=runs/genesis_ct

Variants (`--config=configs/genesis_ct.py:NAME`): unified (default), distortion, painting, a single
transform (nonlinear, shuffling, outpainting, inpainting), autoencoder (no corruption).

Expected: 445 scans and 14,240 patches for training, 178 scans for validation; 2,373 steps an epoch
with a batch of 6; the paper trains until 50 epochs bring no gain. Its target tasks then reach the
numbers of MedIA 2021, table 3: NCC 98.34, NCS 77.62, ECC 87.20, LCS 85.10.
"""

import ml_collections
from ml_collections import config_dict

from genesis_jax.transforms import registry

VARIANTS = {  # the probabilities that differ from the unified recipe
    'unified': {},
    'distortion': {'paint': 0.0},
    'painting': {'shuffle': 0.0, 'nonlinear': 0.0},
    'nonlinear': {'shuffle': 0.0, 'paint': 0.0},
    'shuffling': {'nonlinear': 0.0, 'paint': 0.0},
    'outpainting': {'shuffle': 0.0, 'nonlinear': 0.0, 'outpaint': 1.0},
    'inpainting': {'shuffle': 0.0, 'nonlinear': 0.0, 'outpaint': 0.0},
    'autoencoder': {'shuffle': 0.0, 'nonlinear': 0.0, 'paint': 0.0},
}


def get_config(variant='unified'):
    """The config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f'there is no variant {variant!r}; expected {", ".join(VARIANTS)}')
    config = ml_collections.ConfigDict()
    config.task = 'restoration'
    config.dimensions = 3  # of the network; 2: see configs/genesis_ct_2d.py
    config.seed = 0  # everything random comes from it
    # Or weights to start with: the workdir of a run, an export, a .pt, .h5 or hub folder.
    config.init = 'scratch'

    # Data
    config.data = ml_collections.ConfigDict()
    config.data.dir = 'data'  # where data_prep wrote
    config.data.name = 'luna16'
    # A dataset and the command of data_prep that makes it, for the error where it is missing.
    config.data.prepare = ('luna16', 'luna16 --source=LUNA16')
    config.data.view = config_dict.placeholder(str)  # 'slices', 'adjacent': 3D patches read as 2D
    # 'volumes' of a dataset prepared with --volumes: other patches of its whole scans every epoch.
    config.data.sampling = 'patches'
    config.data.patches_per_scan = config_dict.placeholder(int)  # volumes; None: as prepared (32)
    config.data.window = config_dict.placeholder(tuple)  # (low, high) in HU; None: the records'

    # Corruption (probabilities per patch)
    config.transforms = ml_collections.ConfigDict()
    config.transforms.flip_probability = 0.4  # of each next flip, three at most
    # The published code never flips the third, by mistake: (0, 1, -1), where -1 mirrors nothing.
    config.transforms.flip_axes = (0, 1, 2)
    config.transforms.shuffle_probability = 0.5
    config.transforms.shuffle_windows = 10_000
    config.transforms.nonlinear_probability = 0.9
    config.transforms.paint_probability = 0.9
    config.transforms.outpaint_probability = 0.8  # of the painted; the others are in-painted
    config.transforms.fill = 'noise'  # as the published code; 'constant' as the paper

    # Further ones, all off (docs/extending.md): NAME_probability, and what each has beside it.
    for option, value in registry.further_options().items():
        config.transforms[option] = value
    config.transforms.order = ()  # names of corruptions that come first
    config.transforms.modules = ()  # Python modules that bring corruptions of your own

    # Loss
    config.loss = ml_collections.ConfigDict()
    config.loss.name = 'squared'  # 'absolute', 'huber', 'log_cosh'; 'squared+absolute': the sum
    config.loss.where = 'all'  # 'corrupted': only where something was changed
    config.loss.modules = ()  # Python modules that bring losses of your own

    # Network
    config.model = ml_collections.ConfigDict()
    config.model.name = config_dict.placeholder(str)  # None: published; others: docs/networks.md
    config.model.module = config_dict.placeholder(str)  # an outside one, as 'my_lab.net:MyUNet'
    config.model.norm = config_dict.placeholder(str)  # 'batch', 'instance', 'group'; None: its own
    config.model.blocks = config_dict.placeholder(tuple)  # of the stages of resenc3d
    config.model.width = 32  # channels of the first convolution
    config.model.init = 'he'  # 'torch', 'glorot': of new weights as in the published networks
    config.model.upsample = 'transpose'  # 'nearest' as the published Keras network
    config.model.batch_statistics = 'synchronised'  # 'official': batch statistics always
    config.model.epsilon = 1e-5  # of normalisation; 1e-3 in Keras
    config.model.batch_norm_momentum = 0.9  # of running averages; 0.99 in Keras
    config.model.dtype = 'float32'  # 'bfloat16' computes in half the bytes
    config.model.remat = False  # recompute activations: less memory, a third more time

    # Optimisation
    config.batch_size = config_dict.placeholder(int)  # global; None: batch_per_device on each
    config.batch_per_device = 6  # the paper's batch, on one GPU
    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = 'sgd'  # or 'adam', 'adamw'
    config.optimizer.learning_rate = 1.0  # never scaled by the batch size
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.nesterov = False  # sgd: looks ahead along its momentum
    config.optimizer.weight_decay = 0.0  # adamw; sgd: added to the gradient, times the weights
    config.optimizer.clip_norm = 0.0  # longest gradient, over all parameters; 0: any
    config.schedule = ml_collections.ConfigDict()
    config.schedule.name = 'plateau'  # of the validation loss; 'step', 'cosine', 'poly', 'constant'
    config.schedule.factor = 0.5  # plateau, step
    config.schedule.patience = 10  # plateau: epochs
    config.schedule.min_delta = 1e-4  # plateau: a smaller gain is none
    config.schedule.floor = 1e-6  # plateau: lowest learning rate
    config.schedule.epochs = 40  # step: between reductions
    config.schedule.power = 0.9  # poly: of the share of the steps that are left
    config.schedule.warmup_steps = 0  # linear, from 0; before any schedule
    config.epochs = 1_000  # at most
    config.patience = 50  # epochs without a lower validation loss before stopping

    # What one sees
    config.log_every = 50  # steps
    config.pictures = 4  # validation patches shown; 0: none
    config.picture_epochs = 10  # between pictures
    config.profile_steps = config_dict.placeholder(tuple)  # (first, last): traced in profile/

    for name, probability in VARIANTS[variant].items():
        config.transforms[f'{name}_probability'] = probability
    return config
