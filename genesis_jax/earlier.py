"""Configs of versions before this one. Imports no jax."""


def complete(config):
    """A config (nested dict) with what it lacks, as that was before one could choose."""
    data = {'view': None} | config.get('data', {})
    return {'dimensions': 3} | config | {'data': data}
