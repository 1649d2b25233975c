"""Configs: checks before anything is compiled, identity."""

import hashlib
import json
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from genesis_jax import config_json, models
from genesis_jax.card import EXAMPLES
from genesis_jax.config_json import flatten
from genesis_jax.data import views, volumes
from genesis_jax.errors import OptionError, UserError
from genesis_jax.models import outside
from genesis_jax.models.initialisers import INITIALISERS
from genesis_jax.tasks import TASKS
from genesis_jax.topology import NETWORKS, NORMS, faults
from genesis_jax.training import optim
from genesis_jax.training.voxel_losses import WHERE, voxel_loss_of
from genesis_jax.transforms import corrupt, registry
from genesis_jax.transforms.flips import NO_AXIS
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
_PROBABILITY = (lambda v: 0 <= v <= 1, 'a probability between 0 and 1')  # of *_probability
# What a field must be, wherever a config has it, and how that is called.
_RULES = {
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


def resolve(config: ConfigDict, devices: int) -> ConfigDict:
    """A copy of the config with the global batch filled in, checked; UserError if it cannot run."""
    config = config.copy_and_resolve_references()
    _check_names(config)
    if config.batch_size is None and 'batch_per_device' in config:
        with config.unlocked():
            config.batch_size = config.batch_per_device * devices
    check(config, devices)
    return config


def check(config: ConfigDict, devices: int) -> None:
    """Raises UserError for the first value that no run can have."""
    fields = {name: value for name, value in flatten(config).items() if value is not None}
    for name, value in fields.items():
        rule = _PROBABILITY if name.endswith('_probability') else _RULES.get(name)
        if rule is not None:
            fits, expected = rule
            _require(fits(value), name, value, expected)
    _check_head_warmup(fields)
    _check_sawtooth(fields)
    _check_freeze(fields)
    _check_decay(fields)
    _check_network(fields)
    _check_view(fields)
    _check_sampling(fields)
    _check_axes(fields)
    _check_mirror(fields)
    if config.batch_size % devices:
        near = max(devices, config.batch_size // devices * devices)
        raise UserError(
            f'config.batch_size={config.batch_size} is the global batch and {devices} devices '
            f'cannot share it evenly; use {near} or {near + devices}'
        )


def _check_names(config):
    """Raises UserError for a corruption, an option or a loss that there is not."""
    for group, check in (('transforms', registry.chain), ('loss', _check_loss)):
        try:
            if group in config:
                check(config[group].to_dict())
        except OptionError as error:
            raise UserError(f'config.{group}: {error}') from None


def _check_loss(options):
    registry.load(options['modules'])
    voxel_loss_of(options['name'])


def _check_head_warmup(fields):
    """Raises UserError for a warm-up of the head that contradicts `init` or the run's length."""
    warmup, epochs = fields.get('head_warmup_epochs', 0), fields['epochs']
    expected = f'fewer than config.epochs={epochs}, otherwise only the head is trained'
    _require(not warmup or warmup < epochs, 'head_warmup_epochs', warmup, expected)
    # (An encoder frozen from scratch is the baseline of a probe: random features.)
    expected = '0 with config.init=scratch: head warm-up needs loaded weights'
    _require(not warmup or fields['init'] != 'scratch', 'head_warmup_epochs', warmup, expected)


def _check_sawtooth(fields):
    """Raises UserError for a schedule of two warm-ups that lacks one."""
    if fields['schedule.name'] != 'sawtooth':
        return
    expected = "'poly', as only fine-tuning from loaded weights has a head that warms up alone"
    head = 'head_warmup_epochs' in fields and fields['init'] != 'scratch'
    _require(head, 'schedule.name', 'sawtooth', expected)
    for name in ('head_warmup_epochs', 'schedule.warmup_steps'):
        expected = "1 or more with config.schedule.name='sawtooth', which has two warm-ups"
        _require(fields[name] > 0, name, fields[name], expected)


def _check_decay(fields):
    """Raises UserError for a decay of the weights that the optimiser would ignore."""
    decay = fields['optimizer.weight_decay']
    expected = "0 with config.optimizer.name='adam', which has none; 'adamw' decays weights"
    _require(
        fields['optimizer.name'] != 'adam' or not decay, 'optimizer.weight_decay', decay, expected
    )


def _check_freeze(fields):
    """Raises UserError for a frozen decoder that the task does not have."""
    freeze = fields.get('freeze', 'none')
    decodes = TASKS[fields['task']].dense
    expected = f"'encoder' or 'none' in {fields['task']}, which has no decoder"
    _require(freeze != 'encoder_decoder' or decodes, 'freeze', freeze, expected)


def _check_network(fields):
    """Raises UserError for a network of other dimensions, and for options that it lacks."""
    dimensions = fields['dimensions']
    model = {n.removeprefix('model.'): v for n, v in fields.items() if n.startswith('model.')}
    for name, expected in faults(model, dimensions):
        _require(False, f'model.{name}', model.get(name), expected)
    if 'module' in model:
        network = models.make(models.name_of(fields['task'], dimensions), model)
        outside.check(network, model | {'freeze': fields.get('freeze', 'none')})


def _check_view(fields):
    """Raises UserError for a view that the network or the task cannot have."""
    view = fields.get('data.view')
    if view is None:
        return
    _require(fields['dimensions'] == 2, 'data.view', view, 'none in 3D (config.dimensions=3)')
    expected = f"'slices' or 'adjacent' in {fields['task']}, which answers every voxel"
    _require(view != 'orthogonal' or not TASKS[fields['task']].dense, 'data.view', view, expected)


def _check_sampling(fields):
    """Raises UserError for a number of patches that are not drawn."""
    count = fields.get('data.patches_per_scan')
    expected = "none with config.data.sampling='patches', where the dataset has them fixed"
    drawn = fields.get('data.sampling') == 'volumes'
    _require(drawn or count is None, 'data.patches_per_scan', count, expected)


def _check_axes(fields):
    possible = tuple(range(fields['dimensions']))
    for name, more in (('transforms.flip_axes', {NO_AXIS}), ('augment.flip_axes', set())):
        axes = fields.get(name, possible)
        some = len(axes) > 0 and set(axes) <= {*possible} | more
        _require(some, name, axes, f'axes among {(*possible, *more)}')


def _check_mirror(fields):
    """Raises UserError for a test on mirror images without a training on them."""
    mirror = fields.get('mirror', False)
    expected = 'False with config.augment.flip_probability=0: mirror images are not trained on'
    _require(not mirror or fields['augment.flip_probability'] > 0, 'mirror', mirror, expected)


def check_cubes(config: ConfigDict, shape: tuple[int, ...], count: int) -> None:
    """Raises UserError if examples `[X, Y(, Z), C]` do not fit the transforms or the batch."""
    patch = jax.ShapeDtypeStruct(shape, jnp.float32)
    try:
        jax.eval_shape(partial(corrupt, **config.transforms.to_dict()), jax.random.key(0), patch)
    except OptionError as error:
        raise UserError(f'config.transforms: {error}') from None
    if count < config.batch_size:
        examples = EXAMPLES[config.dimensions][1]
        raise UserError(
            f'the training split has {count} {examples}, less than one batch '
            f'(config.batch_size={config.batch_size}); lower it or prepare more {examples}'
        )
    check_length(config, count // config.batch_size)


def check_length(config: ConfigDict, steps_per_epoch: int) -> None:
    """Raises UserError if the run would end before its learning rate or its trace is reached."""
    steps, warmup = config.epochs * steps_per_epoch, config.schedule.warmup_steps
    after, of = steps, 'of the run'
    if config.schedule.name == 'sawtooth':
        after -= config.head_warmup_epochs * steps_per_epoch
        of = 'after the warm-up of the head'
    _require(warmup < after, 'schedule.warmup_steps', warmup, f'fewer than the {after} {of}')
    if traced := config.get('profile_steps'):
        _require(traced[0] <= steps, 'profile_steps', traced, f'within the {steps} of the run')


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON types, without what changes nothing of a run.
    That is `profile_steps`, `data.prepare`, options of corruptions that never happen, and of fixed
    patches how others would be drawn.
    """
    fields = config.to_dict()
    if 'transforms' in fields:
        fields['transforms'] = registry.without_idle(fields['transforms'])
    fields.pop('profile_steps', None)
    data = fields.get('data', {})
    data.pop('prepare', None)
    if data.get('sampling') == 'patches':
        del data['sampling']
        data.pop('patches_per_scan', None)
    return json.loads(json.dumps(fields))


def config_hash(config: ConfigDict) -> str:
    """Twelve hexadecimal digits that identify the config."""
    text = json.dumps(config_json.hashed(to_json(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def difference(saved: dict, config: ConfigDict) -> tuple[str, Any, Any] | None:
    """The first field in which two configs (JSON) differ: `(name, saved value, value)`, or None."""
    old = flatten(config_json.complete(saved))
    new = flatten(config_json.complete(to_json(config)))
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name, 'nothing'), new.get(name, 'nothing')
        if a != b:
            return name, a, b
    return None


def _require(condition, name, value, expected):
    if not condition:
        raise UserError(f'config.{name}={value}: expected {expected}')
