"""Configs of a pre-training that differ in some fields."""

from configs import genesis_ct


def changed(**fields):
    config = genesis_ct.get_config()
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    return config
