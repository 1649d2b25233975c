"""A target task: what all fine-tunings share. Not an experiment of its own.

For your own data start from configs/segment.py or configs/classify.py.
"""

import ml_collections
from ml_collections import config_dict

READINGS = {'3d': None, '2d': 'slices', '2.5d': 'adjacent', 'orthogonal': 'orthogonal'}


def get_config(task, dimensions=3):
    """The config of a task (see genesis_jax.tasks.TASKS), on no dataset yet."""
    config = ml_collections.ConfigDict()
    config.task = task
    config.dimensions = dimensions  # of the network
    config.seed = 0  # of the first run; everything random comes from it
    config.runs = 1  # with seeds seed, seed + 1, ...; the paper's tables have 10

    # Where it starts
    config.init = 'scratch'  # or the workdir of a pre-training, an export, a .pt, .h5 or hub folder
    segments = task == 'segmentation'
    config.transfer = 'encoder_decoder' if segments else 'encoder'  # what is taken from there
    config.freeze = 'none'  # 'encoder': it does not learn (with model.hidden=0: a linear probe)
    config.layer_decay = 1.0  # learning rate of a level relative to the level after it
    config.head_warmup_epochs = 0  # in which only what was not loaded learns

    # Data
    config.data = ml_collections.ConfigDict()
    config.data.dir = 'data'  # where data_prep wrote
    config.data.name = 'labelled'
    # A dataset and the command of data_prep that makes it, for the error where it is missing.
    config.data.prepare = config_dict.placeholder(tuple)
    config.data.view = config_dict.placeholder(str)  # of 3D cubes in 2D, see genesis_jax/views.py
    config.data.window = config_dict.placeholder(tuple)  # (low, high); None: the records' own
    config.data.fold = config_dict.placeholder(int)  # to test on; None: one after another
    config.data.validation_share = 0.2  # of the patients outside the fold
    config.label_fraction = 1.0  # of the training patients

    # Augmentation (probabilities per example)
    config.augment = ml_collections.ConfigDict()
    config.augment.flip_probability = 0.5  # along each axis
    config.augment.flip_axes = config_dict.placeholder(tuple)  # None: all
    config.augment.transpose_probability = 0.5  # of each pair of equally long axes
    config.augment.noise_probability = 0.5
    config.augment.noise_sd = 0.1  # at most; of intensities in [0, 1]

    # Network
    config.model = ml_collections.ConfigDict()
    # channels of the first convolution; as in the pre-training
    config.model.width = {3: 32, 2: 64}[dimensions]
    if segments:
        config.model.upsample = 'transpose'  # 'nearest' as the published Keras network
    else:
        config.model.hidden = 1024  # units of the hidden layer; 0: none
    config.model.batch_statistics = 'synchronised'  # 'official': batch statistics always
    config.model.epsilon = 1e-5  # of batch normalisation; 1e-3 in Keras
    config.model.batch_norm_momentum = 0.9  # of running averages; 0.99 in Keras
    config.model.dtype = 'float32'  # 'bfloat16' computes in half the bytes
    config.model.remat = False  # recompute activations: less memory, a third more time

    # Optimisation
    config.batch_size = 16  # global, over all devices
    config.steps_per_epoch = config_dict.placeholder(int)  # None: once through the training split
    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = 'adam'  # or 'sgd', 'adamw'
    config.optimizer.learning_rate = 1e-3  # never scaled by the batch size
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.weight_decay = 0.0  # adamw
    config.schedule = ml_collections.ConfigDict()
    config.schedule.name = 'plateau'  # of the validation loss; or 'step', 'cosine', 'constant'
    config.schedule.factor = 0.5  # plateau, step
    config.schedule.patience = 6  # plateau: epochs
    config.schedule.min_delta = 1e-4  # plateau: a smaller gain is none
    config.schedule.floor = 1e-6  # plateau: lowest learning rate
    config.schedule.epochs = 40  # step: between reductions
    config.schedule.warmup_steps = 0  # linear, from 0; before any schedule
    config.epochs = 1_000  # at most
    config.patience = 50  # epochs without a lower validation loss before stopping

    # Evaluation of whole scans (segmentation)
    if segments:
        config.overlap = 0.5  # of neighbouring windows, along each axis

    # What one sees
    config.log_every = 10  # steps
    config.pictures = 4  # validation patients shown (segmentation); 0: none
    config.picture_epochs = 10  # between pictures
    config.profile_steps = config_dict.placeholder(tuple)  # (first, last): traced in profile/
    return config


def get_reading(task, reading):
    """The config of a 3D task, read in 2D as `reading` says (one of READINGS).

    2d: axial slices (of a candidate the central one); 2.5d: with their neighbours as channels;
    orthogonal: the three central planes. The dataset is the same, and so is its test.
    """
    known = [name for name in READINGS if name != 'orthogonal' or task != 'segmentation']
    if reading not in known:
        raise ValueError(f'there is no variant {reading!r}; expected {", ".join(known)}')
    config = get_config(task, dimensions=3 if reading == '3d' else 2)
    config.data.view = READINGS[reading]
    return config
