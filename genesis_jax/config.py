"""Configs: checks before anything is compiled, identity."""

import hashlib
import json
import re
from functools import partial

import jax
import jax.numpy as jnp

from genesis_jax import config_json
from genesis_jax.config_json import flatten
from genesis_jax.data import views
from genesis_jax.errors import UserError
from genesis_jax.training import optim
from genesis_jax.transforms import corrupt
from genesis_jax.transforms.painting import FILLS

TASKS = ('restoration', 'classification', 'multilabel', 'segmentation')

# Checked wherever a config has the field.
_CHOICES = {
    'task': TASKS,
    'dimensions': (2, 3),
    'data.view': views.VIEWS,
    'transfer': ('encoder', 'encoder_decoder'),
    'freeze': ('none', 'encoder'),
    'model.upsample': ('transpose', 'nearest'),
    'model.batch_statistics': ('synchronised', 'official'),
    'model.dtype': ('float32', 'bfloat16'),
    'transforms.fill': FILLS,
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
    'model.width',
    'model.epsilon',
    'transforms.shuffle_windows',
    'optimizer.learning_rate',
    'schedule.patience',
    'schedule.min_delta',
    'schedule.epochs',
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
)
_SHARES = {  # above 0, at most
    'label_fraction': 1,
    'layer_decay': 1,
    'data.validation_share': 0.9,
}


def resolve(config, devices):
    """A copy of the config with the global batch filled in, checked; UserError if it cannot run."""
    config = config.copy_and_resolve_references()
    if config.batch_size is None and 'batch_per_device' in config:
        with config.unlocked():
            config.batch_size = config.batch_per_device * devices
    check(config, devices)
    return config


def check(config, devices):
    """Raises UserError for the first value that no run can have."""
    fields = flatten(config)
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in _in(_CHOICES, fields):
        allowed = _CHOICES[name]
        _require(fields[name] in allowed, name, fields[name], ' or '.join(map(repr, allowed)))
    for name in _in(_POSITIVE, fields):
        _require(fields[name] > 0, name, fields[name], 'a number above 0')
    for name in _in(_NOT_NEGATIVE, fields):
        _require(fields[name] >= 0, name, fields[name], '0 or more')
    for name in _in(_SHARES, fields):
        highest = _SHARES[name]
        _require(
            0 < fields[name] <= highest, name, fields[name], f'a number above 0, at most {highest}'
        )
    if 'overlap' in fields:
        _require(0 <= fields['overlap'] < 1, 'overlap', fields['overlap'], 'from 0 to below 1')
    for name, value in fields.items():
        if name.endswith('_probability'):
            _require(0 <= value <= 1, name, value, 'a probability between 0 and 1')
    factor = fields['schedule.factor']
    _require(0 < factor < 1, 'schedule.factor', factor, 'a factor between 0 and 1')
    for name in ('optimizer.momentum', 'model.statistics_momentum'):
        _require(0 <= fields[name] < 1, name, fields[name], 'a number from 0 to below 1')
    _check_protocol(fields)
    _check_view(fields)
    _check_axes(fields)
    name = fields['data.name']
    plain = re.fullmatch('[a-zA-Z][a-zA-Z0-9_]*', name)
    _require(plain, 'data.name', name, 'a letter, then letters, digits and _')
    window = fields.get('data.window')
    if window is not None:
        numbers = len(window) == 2 and all(isinstance(v, int | float) for v in window)
        ordered = numbers and window[0] < window[1]
        _require(
            ordered, 'data.window', window, 'low,high in the unit of the scans, such as -1000,400'
        )
    if config.batch_size % devices:
        near = max(devices, config.batch_size // devices * devices)
        raise UserError(
            f'config.batch_size={config.batch_size} is the global batch and {devices} devices '
            f'cannot share it evenly; use {near} or {near + devices}'
        )


def _check_protocol(fields):
    """Raises UserError for a protocol of fine-tuning that contradicts its start or its length."""
    warmup, epochs = fields.get('head_warmup_epochs', 0), fields['epochs']
    expected = f'fewer than config.epochs={epochs}, or nothing but the head learns'
    _require(not warmup or warmup < epochs, 'head_warmup_epochs', warmup, expected)
    # (An encoder frozen from scratch is the baseline of a probe: random features.)
    expected = '0 with config.init=scratch, where nothing is loaded that it could spare'
    _require(not warmup or fields['init'] != 'scratch', 'head_warmup_epochs', warmup, expected)


def _check_view(fields):
    """Raises UserError for a view that the network or the task cannot have."""
    view = fields.get('data.view')
    if view is None:
        return
    _require(fields['dimensions'] == 2, 'data.view', view, 'none in 3D (config.dimensions=3)')
    dense = fields['task'] in ('restoration', 'segmentation')
    expected = f"'slices' or 'adjacent' in {fields['task']}, which answers every voxel"
    _require(view != 'orthogonal' or not dense, 'data.view', view, expected)


def _check_axes(fields):
    possible = tuple(range(fields['dimensions']))
    for name in _in(('transforms.flip_axes', 'augment.flip_axes'), fields):
        axes = fields[name]
        some = len(axes) > 0 and set(axes) <= set(possible)
        _require(some, name, axes, f'axes among {possible}')


def check_cubes(config, shape, count):
    """Raises UserError if examples `[X, Y(, Z), C]` do not fit the transforms or the batch."""
    cube = jax.ShapeDtypeStruct(shape, jnp.float32)
    try:
        jax.eval_shape(partial(corrupt, **config.transforms.to_dict()), jax.random.key(0), cube)
    except ValueError as error:
        raise UserError(f'config.transforms: {error}') from None
    if count < config.batch_size:
        called = 'cubes' if config.dimensions == 3 else 'images'
        raise UserError(
            f'the training split has {count} {called}, less than one batch '
            f'(config.batch_size={config.batch_size}); lower it or prepare more {called}'
        )
    check_warmup(config, count // config.batch_size)


def check_warmup(config, steps_per_epoch):
    """Raises UserError if the run would end before its learning rate is reached."""
    steps, warmup = config.epochs * steps_per_epoch, config.schedule.warmup_steps
    _require(warmup < steps, 'schedule.warmup_steps', warmup, f'fewer than the {steps} of the run')


def to_json(config):
    """The config as plain JSON types."""
    return json.loads(json.dumps(config.to_dict()))


def config_hash(config):
    """Twelve hexadecimal digits that identify the config."""
    text = json.dumps(to_json(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def difference(saved, config):
    """The first field in which two configs (JSON) differ: `(name, saved value, value)`, or None."""
    old = flatten(config_json.complete(saved))
    new = flatten(to_json(config))
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name, 'nothing'), new.get(name, 'nothing')
        if a != b:
            return name, a, b
    return None


def _in(names, fields):
    return [name for name in names if name in fields]


def _require(condition, name, value, expected):
    if not condition:
        raise UserError(f'config.{name}={value}: expected {expected}')
