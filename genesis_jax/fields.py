"""The fields of a nested config by their dotted names. Imports no jax."""


def flatten(config, prefix=''):
    """A flat dict from dotted names to values, of a ConfigDict or of plain dicts."""
    flat = {}
    for name, value in config.items():
        if hasattr(value, 'items'):
            flat |= flatten(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = value
    return flat
