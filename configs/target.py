"""A target task: what all fine-tunings share. Not an experiment of its own.

Fields that are not set here are as in configs/genesis_ct.py, which explains them. For your own data
start from configs/segment.py or configs/classify.py.
"""

from ml_collections import config_dict

from configs import genesis_ct

READINGS = {'3d': None, '2d': 'slices', '2.5d': 'adjacent', 'orthogonal': 'orthogonal'}


def get_config(task, dimensions=3, *, name='labelled', prepare=None, **fields):
    """The config of a task (see genesis_jax.tasks.TASKS).

    Args:
      name: of the dataset.
      prepare: the command of data_prep that makes it, for the error where it is missing.
      fields: others than below.
    """
    config = genesis_ct.get_config()
    del config.transforms, config.loss, config.batch_per_device
    del config.data.sampling, config.data.patches_per_scan
    segments = task == 'segmentation'
    config.task = task
    config.dimensions = dimensions  # of the network
    config.runs = 1  # with seeds seed, seed + 1, ...; the paper's tables have 10

    # Where it starts: from config.init
    config.transfer = 'encoder_decoder' if segments else 'encoder'  # what is taken from there
    # 'encoder' does not learn (in classification with model.hidden=0: a linear probe); nor do
    # both in 'encoder_decoder' (a linear probe of a segmentation).
    config.freeze = 'none'
    config.layer_decay = 1.0  # learning rate of a level relative to the level after it
    # In which only what was not loaded learns; with schedule.name='sawtooth' at a rate that rises,
    # and the whole network then has schedule.warmup_steps of its own.
    config.head_warmup_epochs = 0

    # Data
    config.data.name = name
    config.data.prepare = config_dict.placeholder(tuple)
    if prepare:
        config.data.prepare = (name, prepare)
    # Of 3D patches in 2D: see genesis_jax/data/views.py
    config.data.view = config_dict.placeholder(str)
    config.data.fold = config_dict.placeholder(int)  # to test on; None: one after another
    config.data.validation_share = 0.2  # of those outside the fold; fixed splits stay
    config.label_fraction = 1.0  # of the training patients

    # Augmentation (probabilities per example)
    config.augment = config_dict.ConfigDict()
    config.augment.flip_probability = 0.5  # along each axis
    config.augment.flip_axes = config_dict.placeholder(tuple)  # None: all
    config.augment.transpose_probability = 0.5  # of each pair of equally long axes
    config.augment.noise_probability = 0.5
    config.augment.noise_sd = 0.1  # at most; of intensities in [0, 1]
    # As nnU-Net's, off; configs/segment.py:strong has its probabilities.
    config.augment.rotation_probability = 0.0
    config.augment.rotation_degrees = 30.0  # at most, about each axis (in 2D the only one)
    config.augment.scale_probability = 0.0
    config.augment.scale_range = (0.7, 1.4)  # of each axis
    config.augment.blur_probability = 0.0
    config.augment.blur_range = (0.5, 1.0)  # sigma in voxels
    config.augment.brightness_probability = 0.0
    config.augment.brightness_range = (0.75, 1.25)  # factors
    config.augment.contrast_probability = 0.0
    config.augment.contrast_range = (0.75, 1.25)  # factors about the mean
    config.augment.low_resolution_probability = 0.0
    config.augment.low_resolution_range = (0.5, 1.0)  # sides of the coarser grid
    config.augment.gamma_inverted_probability = 0.0  # of the negative
    config.augment.gamma_probability = 0.0
    config.augment.gamma_range = (0.7, 1.5)  # exponents

    # Network
    config.model.width = {3: 32, 2: 64}[dimensions]  # as in the pre-training
    if segments:
        config.model.deep_supervision = False  # coarser levels answer, too, while it trains
    else:
        del config.model.upsample
        config.model.hidden = 1024  # units of the hidden layer; 0: none

    # Optimisation
    config.batch_size = 16  # global, over all devices
    config.steps_per_epoch = config_dict.placeholder(int)  # None: once through the training split
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 1e-3
    config.schedule.patience = 6

    # Test
    config.mirror = False  # the mean over all mirror images that augment.flip_* draw, 2 to 8 times
    if segments:
        config.overlap = 0.5  # of neighbouring windows in whole scans, along each axis

    # What one sees
    config.log_every = 10  # steps
    config.pictures = 4  # validation patients shown (segmentation); 0: none
    config.update(fields)
    return config


def get_reading(task, reading, **fields):
    """The config of a 3D task, read in 2D as `reading` says (one of READINGS).

    2d: axial slices (of a candidate the central one); 2.5d: with their neighbours as channels;
    orthogonal: the three central planes. The dataset is the same, and so is its test.
    """
    known = [name for name in READINGS if name != 'orthogonal' or task != 'segmentation']
    if reading not in known:
        raise ValueError(f'there is no variant {reading!r}; expected {", ".join(known)}')
    config = get_config(task, dimensions=3 if reading == '3d' else 2, **fields)
    config.data.view = READINGS[reading]
    return config
