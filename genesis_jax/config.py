"""Configs: checks before anything is compiled, identity."""

import hashlib
import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from genesis_jax import config_json, models
from genesis_jax.card import EXAMPLES
from genesis_jax.config_json import flatten
from genesis_jax.config_rules import PROBABILITY, RULES
from genesis_jax.errors import OptionError, UserError
from genesis_jax.models import outside
from genesis_jax.tasks import TASKS
from genesis_jax.topology import faults
from genesis_jax.training.voxel_losses import voxel_loss_of
from genesis_jax.transforms import registry
from genesis_jax.transforms.flips import NO_AXIS
from genesis_jax.transforms.pipeline import corrupt_batch_and_tell


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
        rule = PROBABILITY if name.endswith('_probability') else RULES.get(name)
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
    _check_corruption(config, fields)
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


def _check_corruption(config, fields):
    """Raises UserError for a loss of nothing, and for partners that are not there."""
    if 'transforms' not in config:
        return
    options, where = config.transforms.to_dict(), fields['loss.where']
    expected = "'all', as nothing is corrupted"
    _require(where == 'all' or registry.kinds(options), 'loss.where', where, expected)
    expected = '2 or more, as examples are mixed with others of the batch'
    alone = config.batch_size == 1 and registry.mix(options)
    _require(not alone, 'batch_size', config.batch_size, expected)


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
    patch = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    corrupt = partial(corrupt_batch_and_tell, **config.transforms.to_dict())
    try:
        jax.eval_shape(corrupt, jax.random.split(jax.random.key(0), 1), patch)
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
