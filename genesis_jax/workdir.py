"""The folder of a run: who it belongs to, and where things lie in it."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path

import jax

from genesis_jax.config import config_hash, difference, to_json
from genesis_jax.errors import UserError

_OF_GROUPS = ('results.csv', 'report.md')
_PACKAGES = ('genesis-jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def claim(workdir, config, write=True):
    """Makes a workdir this config's own, or finds that it is already; returns its path.

    Raises:
      UserError: it holds a run of another config; names the first field that differs.
    """
    workdir = _folder(workdir)
    file = workdir / 'config.json'
    if workdir.is_dir() and not file.exists() and any(workdir.glob('[!.]*')):
        raise UserError(
            f'{workdir} holds files but no run; choose an empty or a new folder as --workdir'
        )
    started = any(workdir.glob('checkpoints/[0-9]*'))  # else nothing is lost by starting over
    changed = started and difference(json.loads(file.read_text())['config'], config)
    if changed:
        name, saved, now = changed
        raise UserError(
            f'{workdir} holds a run with config.{name}={saved}, but this command has '
            f'config.{name}={now}; resume with the same value or choose another --workdir'
        )
    if write and not started:
        try:
            write_atomically(file, json.dumps(describe(config), indent=2) + '\n')
        except OSError as error:
            raise UserError(
                f'cannot write in --workdir={workdir} ({error.strerror}); choose another folder'
            ) from None
    return workdir


def check_group(workdir):
    """The path of a folder that holds runs, or will; UserError if it holds something else."""
    workdir = _folder(workdir)
    strangers = [path for path in workdir.glob('[!.]*') if path.name not in _OF_GROUPS]
    if not workdir.exists() or all(path.name.startswith('seed_') for path in strangers):
        return workdir
    raise UserError(
        f'{workdir} holds something else than the runs of a fine-tuning; choose an empty or a new '
        'folder as --workdir'
    )


def describe(config):
    """The config with what it runs on, as JSON."""
    devices = jax.devices()
    return {
        'config': to_json(config),
        'hash': config_hash(config),
        'versions': {'python': platform.python_version()} | _versions(),
        'device': devices[0].device_kind,
        'devices': len(devices),
        'processes': jax.process_count(),
    }


def write_atomically(file, text):
    """Writes a text file that is either complete or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f'.{file.name}.partial')
    partial.write_text(text)
    os.replace(partial, file)


def _folder(workdir):
    if '://' in str(workdir):
        raise UserError(f'--workdir={workdir} is a URL; expected a folder: mount it first')
    return Path(workdir).expanduser()


def _versions():
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # used from a checkout, not installed
            continue
    return found
