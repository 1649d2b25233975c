"""The folder of a run: who it belongs to, and where things lie in it."""

import errno
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any, NoReturn

import jax
from ml_collections import ConfigDict

from genesis_jax.config import config_hash, difference, to_json
from genesis_jax.errors import UserError
from genesis_jax.paths import as_path, is_url
from genesis_jax.runs.files import write_atomically
from genesis_jax.training.optim import FOLLOW_EPOCHS

RESULTS = 'results.json'  # of a fine-tuned run; written last, so a run that has it is complete
SUPERSEDED = 'superseded'  # in RESULTS: the run goes on, since one of these was raised
_RAISABLE = ('epochs', 'patience')
_OF_GROUPS = ('config.json', 'results.csv', 'report.md')
_PACKAGES = ('genesis-jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def open_workdir(workdir: str | Path, config: ConfigDict, write: bool = True) -> Path:
    """Makes a workdir this config's own, or finds that it is already; returns its path.

    The epochs of a run and its patience may be raised: it goes on where it stopped or ended.

    Raises:
      UserError: it holds another task, or a run of another config; names what differs first.
    """
    workdir = as_path(workdir)
    if is_url(workdir) and config.get('profile_steps'):
        raise UserError(
            f'config.profile_steps traces into a local folder and --workdir={workdir} is a URL; '
            'leave one of them out'
        )
    _check_writable(workdir)
    saved = _saved_config(workdir)
    if saved is not None:
        _check_task(workdir, saved, config)
    elif any(workdir.glob('[!.]*')):
        raise UserError(
            f'{workdir} holds files but no run; choose an empty or a new folder as --workdir'
        )
    # Nothing is lost by starting over where neither a checkpoint nor a result is.
    started = any(workdir.glob('checkpoints/[0-9]*')) or (workdir / RESULTS).exists()
    raised = started and _check_same(workdir, saved, config)
    if raised:
        _supersede([workdir], write)
    if write and (raised or not started):
        _write_config(workdir, config)
    return workdir


def open_group(workdir: str | Path, config: ConfigDict, write: bool = True) -> Path:
    """Makes a folder the place of one fine-tuning's runs, as `open_workdir` does for one run.

    The runs differ in nothing but seed and fold, so what is compared is the config without them;
    a later command may add seeds.

    Raises:
      UserError: it holds something else, or runs of another config.
    """
    workdir = as_path(workdir)
    _check_writable(workdir)
    saved, common = _saved_config(workdir), common_config(config)
    if saved is not None:
        _check_task(workdir, saved, common)
    others = {path.name for path in workdir.glob('[!.]*')} - set(_OF_GROUPS)
    if any(not name.startswith('seed_') for name in others):
        raise UserError(
            f'{workdir} holds something else than the runs of a fine-tuning; choose an empty or a '
            'new folder as --workdir'
        )
    if others and saved is not None and _check_same(workdir, saved, common):
        _supersede([workdir / name for name in others], write)
    if write:
        _write_config(workdir, common)
    return workdir


def what_was_raised(workdir: str | Path, config: ConfigDict) -> str:
    """How this config goes on where that of a workdir ended, in words; '' if it does not.

    To be asked before `open_workdir` makes the workdir that of the config.
    """
    saved = _saved_config(as_path(workdir)) or {}
    raised = [name for name in _RAISABLE if name in saved and saved[name] < config[name]]
    if not raised:
        return ''
    how = 'as if it had been so from the start'
    if 'epochs' in raised and config.schedule.name in FOLLOW_EPOCHS:
        how = f'the learning rate ({config.schedule.name}) follows the new number from here on'
    told = [f'config.{name} was {saved[name]} and is {config[name]}' for name in raised]
    return f'{" and ".join(told)}: {how}'


def common_config(config: ConfigDict) -> ConfigDict:
    """What all runs of a fine-tuning share of their config."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        for fields, name in ((config, 'seed'), (config, 'runs'), (config.data, 'fold')):
            if name in fields:
                del fields[name]
    return config


def describe(config: ConfigDict) -> dict[str, Any]:
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


def _check_writable(workdir):
    """Raises UserError if a local folder is none, or cannot be made or written."""
    if is_url(workdir):
        return
    folders = (workdir, *workdir.absolute().parents)
    nearest = next(folder for folder in folders if os.path.exists(folder))
    if not nearest.is_dir():
        raise _unwritable(workdir, os.strerror(errno.ENOTDIR))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _unwritable(workdir, os.strerror(errno.EACCES))


def _write_config(workdir, config):
    try:
        write_atomically(workdir / 'config.json', json.dumps(describe(config), indent=2) + '\n')
    except OSError as error:
        raise _unwritable(workdir, error.strerror) from None


def _unwritable(workdir, reason):
    return UserError(f'cannot write in --workdir={workdir} ({reason}); choose another folder')


def _saved_config(workdir):
    """The config that a workdir belongs to, or None where there is no config.json.

    Raises:
      UserError: config.json is that of something else, such as a folder for a model hub.
    """
    file = workdir / 'config.json'
    if not file.exists():
        return None
    try:
        saved = json.loads(file.read_text('utf-8'))['config']
        if {'task', 'data'} <= saved.keys() and 'name' in saved['data']:
            return saved
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    raise UserError(f'{file} is not that of a run; choose an empty or a new folder as --workdir')


def _check_task(workdir, saved, config):
    """Raises UserError if the workdir is of another task: whatever it holds would be mixed up."""
    if saved['task'] != config.task:
        _refuse_task(workdir, saved, config)


def _refuse_task(workdir, saved, config) -> NoReturn:
    raise UserError(
        f'{workdir} belongs to {_task_of(saved)}, but this command is {_task_of(config)}; choose '
        'another --workdir'
    )


def _task_of(config):
    task, name = config['task'], config['data']['name']
    kind = 'a pre-training' if task == 'restoration' else f'a fine-tuning for {task}'
    return f'{kind} on {name!r}'


def _check_same(workdir, saved, config):
    """Whether the config raises what may be; UserError if it differs from the saved in more."""
    if saved['data']['name'] != config.data.name:  # more telling than a field that follows from it
        _refuse_task(workdir, saved, config)
    raisable = {name: config[name] for name in _RAISABLE if {name} <= config.keys() & saved.keys()}
    changed = difference({**saved, **raisable}, config)
    way_out = 'resume with the same value'
    for name in (name for name in raisable if saved[name] > config[name]):
        changed = changed or (name, saved[name], config[name])
        way_out = 'resume with the same or a higher value'
    if changed:
        name, before, now = changed
        raise UserError(
            f'{workdir} holds a run with config.{name}={before}, but this command has '
            f'config.{name}={now}; {way_out} or choose another --workdir'
        )
    return any(saved[name] < value for name, value in raisable.items())


def _supersede(runs, write):
    """Marks results of runs that go on. They stay until others take their place.

    Raises:
      UserError: a run cannot go on.
    """
    ended = [run for run in runs if (run / RESULTS).exists()]
    for run in ended:
        if not any(run.glob('checkpoints/[0-9]*')):
            raise UserError(
                f'{run} has results but no checkpoints to go on from; copy them back, or choose '
                'another --workdir'
            )
    for run in ended if write else ():
        result = json.loads((run / RESULTS).read_text('utf-8')) | {SUPERSEDED: True}
        write_atomically(run / RESULTS, json.dumps(result, indent=2) + '\n')


def _versions():
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # used from a checkout, not installed
            continue
    return versions
