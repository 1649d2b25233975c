"""What the value of each field of a config must be, by itself; what several must be together is
checked in genesis_jax/config.py."""

import re

from genesis_jax.data import views, volumes
from genesis_jax.models.initialisers import INITIALISERS
from genesis_jax.tasks import TASKS
from genesis_jax.topology import NETWORKS, NORMS
from genesis_jax.training import optim
from genesis_jax.training.voxel_losses import WHERE
from genesis_jax.transforms.painting import FILLS

_CHOICES = {
    'task': tuple(TASKS),
    'dimensions': (2, 3),
    'data.view': views.VIEWS,
    'data.sampling': volumes.SAMPLING,
    'transfer': ('encoder', 'encoder_decoder'),
    'freeze': ('none', 'encoder', 'encoder_decoder'),
    'model.name': tuple(NETWORKS),
    'model.norm': NORMS,
    'model.upsample': ('transpose', 'nearest'),
    'model.init': INITIALISERS,
    'model.batch_statistics': ('synchronised', 'official'),
    'model.dtype': ('float32', 'bfloat16'),
    'transforms.fill': FILLS,
    'loss.where': WHERE,
    'optimizer.name': optim.OPTIMIZERS,
    'schedule.name': optim.SCHEDULES,
}
_POSITIVE = (
    'runs',
    'batch_size',
    'steps_per_epoch',
    'epochs',
    'patience',
    'log_every',
    'picture_epochs',
    'data.patches_per_scan',
    'model.width',
    'model.epsilon',
    'transforms.shuffle_windows',
    'optimizer.learning_rate',
    'schedule.patience',
    'schedule.min_delta',
    'schedule.epochs',
    'schedule.power',
)
_NOT_NEGATIVE = (
    'seed',
    'pictures',
    'schedule.floor',
    'head_warmup_epochs',
    'model.hidden',
    'augment.noise_sd',
    'schedule.warmup_steps',
    'optimizer.weight_decay',
    'optimizer.clip_norm',
)
_BELOW_ONE = ('overlap', 'optimizer.momentum', 'model.batch_norm_momentum')


def _is_window(value):
    numbers = len(value) == 2 and all(isinstance(v, int | float) for v in value)
    return numbers and value[0] < value[1]


def _is_range(value):
    numbers = len(value) == 2 and all(isinstance(v, int | float) for v in value)
    return numbers and 0 < value[0] <= value[1]


def _are_steps(value):
    numbers = len(value) == 2 and all(isinstance(v, int) for v in value)
    return numbers and 0 < value[0] <= value[1]


_SHARE = (lambda v: 0 < v <= 1, 'a number above 0, at most 1')
_RANGE = (_is_range, 'low,high above 0, such as 0.7,1.4')
_AROUND_ONE = (lambda v: _is_range(v) and v[0] <= 1 <= v[1], 'low,high with 1 between, as 0.7,1.5')
PROBABILITY = (lambda v: 0 <= v <= 1, 'a probability between 0 and 1')  # of *_probability
# What a field must be, wherever a config has it, and how that is called.
RULES = {
    **{n: (v.__contains__, ' or '.join(map(repr, v))) for n, v in _CHOICES.items()},
    **dict.fromkeys(_POSITIVE, (lambda v: v > 0, 'a number above 0')),
    **dict.fromkeys(_NOT_NEGATIVE, (lambda v: v >= 0, '0 or more')),
    **dict.fromkeys(_BELOW_ONE, (lambda v: 0 <= v < 1, 'a number from 0 to below 1')),
    **dict.fromkeys(('augment.scale_range', 'augment.blur_range'), _RANGE),
    **{f'augment.{n}_range': _AROUND_ONE for n in ('brightness', 'contrast', 'gamma')},
    'augment.low_resolution_range': (
        lambda v: _is_range(v) and v[1] <= 1,
        'low,high above 0, at most 1, such as 0.5,1',
    ),
    'augment.rotation_degrees': (lambda v: 0 <= v <= 180, 'degrees from 0 to 180'),
    'label_fraction': _SHARE,
    'layer_decay': _SHARE,
    'data.validation_share': (lambda v: 0 < v <= 0.9, 'a number above 0, at most 0.9'),
    'schedule.factor': (lambda v: 0 < v < 1, 'a factor between 0 and 1'),
    'data.name': (
        lambda v: re.fullmatch('[a-zA-Z][a-zA-Z0-9_]*', v),
        'a letter, then letters, digits and _',
    ),
    'data.window': (_is_window, 'low,high in the unit of the scans, such as -1000,400'),
    'model.blocks': (
        lambda v: len(v) > 1 and all(isinstance(n, int) and n > 0 for n in v),
        'two or more whole numbers from 1, such as 1,3,4,6,6,6',
    ),
    'model.module': (
        lambda v: re.fullmatch(r'[\w.]+:\w+', v),
        "a module and its class, such as 'my_lab.net:MyUNet'",
    ),
    'profile_steps': (_are_steps, 'the first and the last step to trace, such as 10,20'),
}
