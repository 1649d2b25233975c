"""The fields of a nested config by their dotted names. Imports no jax."""

from typing import Any

_RENAMED = {'statistics_momentum': 'batch_norm_momentum'}  # of a network's options


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
    meant = {'data': {'view': None}, 'augment': {'flip_axes': None}}
    groups = {name: group | config[name] for name, group in meant.items() if name in config}
    if 'model' in config:
        model = {_RENAMED.get(n, n): value for n, value in config['model'].items()}
        groups['model'] = {'init': 'he'} | model
    target = {'mirror': False} if 'augment' in config else {}
    return {'dimensions': 3, 'init': 'scratch'} | target | config | groups


def rename(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics by the names of today: the interval of the AUC was called as those of findings."""
    if 'low_of_auc' in metrics:
        return metrics
    today = {'auc_low': 'low_of_auc', 'auc_high': 'high_of_auc'}
    return {today.get(name, name): value for name, value in metrics.items()}
