"""Configs of versions before this one. Imports no jax."""


def complete(config):
    """A config (nested dict) with what it lacks, as that was before one could choose."""
    meant = {'data': {'view': None}, 'augment': {'flip_axes': None}}
    groups = {name: group | config[name] for name, group in meant.items() if name in config}
    return {'dimensions': 3} | config | groups
