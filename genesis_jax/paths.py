"""Paths that a user names: of this machine, or in a bucket (`gs://BUCKET/...`)."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
from etils import epath

from genesis_jax.errors import UserError, need

_SCHEME = 'gs://'


def is_url(named: str | os.PathLike[str]) -> bool:
    """Whether a path is none of this machine's files."""
    return '://' in os.fspath(named)


def as_path(named: str | os.PathLike[str]) -> Path:
    """The path, with ~ expanded; of a URL an `epath.Path`, which has the same methods.

    Local paths stay pathlib's: epath's have no `is_symlink`, and `glob` hides other files.

    Raises:
      UserError: a URL of something else, or of a bucket that cannot be reached.
    """
    text = os.fspath(named)
    if not is_url(text):
        return Path(text).expanduser()
    if not text.startswith(_SCHEME):
        raise UserError(f'{text} is a URL; expected a local path or {_SCHEME}BUCKET/...')
    _check_bucket(text.removeprefix(_SCHEME).partition('/')[0])
    return epath.Path(text)


def local_path(named: str | os.PathLike[str]) -> Path:
    """The path, with ~ expanded; UserError for a URL."""
    if is_url(named):
        raise UserError(f'{named} is a URL; expected a local path: mount it first')
    return as_path(named)


@contextlib.contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The file or folder of a URL on this machine, for who reads no URLs; else the path itself."""
    if not is_url(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix='genesis_jax_') as folder:
        files, name = fsspec.url_to_fs(os.fspath(path))
        files.get(name, os.path.join(folder, path.name), recursive=path.is_dir())
        yield Path(folder, path.name)


def absolute(path: Path) -> Path:
    """A path that does not depend on the current folder, as a URL never does."""
    return path if is_url(path) else path.absolute()


@functools.cache
def _check_bucket(name):
    need('gs', f'{_SCHEME}{name}')
    # TensorStore and other hosts write there, too: what was listed once may have changed since.
    fsspec.config.conf.setdefault('gs', {})['use_listings_cache'] = False
    try:
        exists = epath.Path(_SCHEME + name).exists()
    except Exception as error:  # each of the libraries below has its own
        raise UserError(
            f'{_SCHEME}{name} cannot be reached ({error}); check the network, and sign in with '
            'gcloud auth application-default login'
        ) from None
    if not exists:
        raise UserError(f'there is no bucket {_SCHEME}{name} that you may read; check its name')
