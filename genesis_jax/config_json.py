"""The fields of a nested config by their dotted names. Imports no jax."""

from typing import Any

_RENAMED = {'statistics_momentum': 'batch_norm_momentum'}  # of a network's options
_LOSS = {'name': 'squared', 'where': 'all', 'modules': []}
_AUGMENT = {
    'flip_axes': None,
    'rotation_probability': 0.0,
    'rotation_degrees': 30.0,
    'scale_probability': 0.0,
    'scale_range': [0.7, 1.4],
    'blur_probability': 0.0,
    'blur_range': [0.5, 1.0],
    'brightness_probability': 0.0,
    'brightness_range': [0.75, 1.25],
    'contrast_probability': 0.0,
    'contrast_range': [0.75, 1.25],
    'low_resolution_probability': 0.0,
    'low_resolution_range': [0.5, 1.0],
    'gamma_inverted_probability': 0.0,
    'gamma_probability': 0.0,
    'gamma_range': [0.7, 1.5],
}

_MODEL = {'name': None, 'module': None, 'norm': None, 'blocks': None}


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
    """A flat dict from dotted names to values, of a ConfigDict or of plain dicts."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if hasattr(value, 'items'):
            flat |= flatten(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = value
    return flat


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """A config (nested dict) with what it lacks, as that was before one could choose."""
    meant = {
        'data': {'view': None, 'sampling': 'patches', 'patches_per_scan': None},
        'augment': _AUGMENT,
        'optimizer': {'nesterov': False, 'clip_norm': 0.0},
        'schedule': {'power': 0.9},
    }
    if config.get('task') == 'restoration':
        meant['loss'] = _LOSS
        config = {'loss': {}, **config}
    groups = {name: group | config[name] for name, group in meant.items() if name in config}
    if 'model' in config:
        model = {_RENAMED.get(n, n): value for n, value in config['model'].items()}
        supervised = {'deep_supervision': False} if config.get('task') == 'segmentation' else {}
        groups['model'] = {'init': 'he'} | _MODEL | supervised | model
    target = {'mirror': False} if 'augment' in config else {}
    return {'dimensions': 3, 'init': 'scratch'} | target | config | groups


def as_flag(value: Any) -> str:
    """A value as the command line takes it: of several, with commas between."""
    return ','.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def hashed(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that its hash is of: not fields that came later and are not used.

    So a run of before keeps its hash.
    """
    if config.get('loss') == _LOSS:
        config = {name: value for name, value in config.items() if name != 'loss'}
    if 'model' not in config:
        return config
    model = {n: v for n, v in config['model'].items() if n not in _MODEL or v != _MODEL[n]}
    return config | {'model': model}


def rename(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics by the names of today: the interval of the AUC was called as those of findings."""
    if 'low_of_auc' in metrics:
        return metrics
    today = {'auc_low': 'low_of_auc', 'auc_high': 'high_of_auc'}
    return {today.get(name, name): value for name, value in metrics.items()}
