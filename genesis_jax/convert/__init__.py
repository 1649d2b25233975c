"""Weights from one format to another: `read` and `write` with `(variables, card)` between them.

Variables are nested dicts of NumPy arrays in our layout, `{'params': {'encoder': ...},
'batch_stats': ...}`; the card is a `card.Card`. The modules of the formats are imported when they
are used: each needs packages of its own, and only `orbax` needs JAX.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genesis_jax.card import Card
from genesis_jax.convert import external_weights
from genesis_jax.errors import UserError, need
from genesis_jax.paths import as_path, local_copy, local_path

DTYPES = ('float32', 'bfloat16', 'float16')
ARRAYS = 'model.safetensors'  # in a hub folder, which config.json completes
EXPORTS = ('encoder_decoder', 'model', 'encoder')  # of a run, the fullest first


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of weights.

    Attributes:
      module: has `read(path)` and `write(path, variables, card, dtype)`.
      words: what it is, in errors and summaries.
      suffixes: of its files; none: it is a folder, or a file that is asked for by name.
      extra: of this package, that brings what it needs.
      reads, writes: what its module can do.
      narrow: whether its arrays can be written as bfloat16 and float16.
    """

    module: str
    words: str
    suffixes: tuple[str, ...] = ()
    extra: str = ''
    reads: bool = True
    writes: bool = True
    narrow: bool = False


_OURS, _TORCH = 'genesis_jax.convert', 'genesis_jax.torch'
FORMATS = {
    'orbax': Format(f'{_OURS}.orbax', 'an export or a run of this project'),
    'pytorch': Format(
        f'{_OURS}.pytorch', 'a PyTorch file', ('.pt', '.pth', '.pth.tar'), 'torch', narrow=True
    ),
    'keras': Format(f'{_OURS}.keras', 'a Keras file', ('.h5', '.hdf5'), 'keras', writes=False),
    'hub': Format(
        f'{_OURS}.hub', 'a folder of config.json and model.safetensors', (), 'hub', narrow=True
    ),
    'safetensors': Format(
        f'{_OURS}.safetensors', 'a ResNet-18 in safetensors', ('.safetensors',), 'hub', writes=False
    ),
    'onnx': Format(f'{_TORCH}.onnx', 'an ONNX file', ('.onnx',), 'onnx', reads=False, narrow=True),
    'nnunet': Format(f'{_TORCH}.nnunet_weights', 'weights for nnU-Net', (), 'torch', reads=False),
}


def read(
    path: str | Path,
    format: str | None = None,
    epsilon: float | None = None,
    drop: Sequence[str] = (),
) -> tuple[dict[str, Any], Card]:
    """Reads the network in a file or folder: `(variables, card)`.

    Args:
      path: of a run, its fullest export is read.
      format: one of FORMATS; None: by what the file holds.
      epsilon: of batch normalisation, in the place of what the file says or does not say.
      drop: modules or arrays of a PyTorch file that are no part of the network, by name.

    Raises:
      UserError: it is none, is damaged, or its arrays are not those of one of our networks.
    """
    path = locate(path)
    try:
        name = format or recognise(path)
        module = _module(name, 'read')
        if drop and name != 'pytorch':
            raise UserError(
                f'{path} is {FORMATS[name].words}, of which nothing can be dropped; expected a '
                'PyTorch file'
            )
        if name == 'orbax':
            variables, card = module.read(path)
        else:
            with local_copy(path) as copy:
                variables, card = module.read(copy, **({'drop': drop} if drop else {}))
    except OSError as error:
        raise UserError(
            f'cannot read {path} ({error.strerror or error}); choose another source'
        ) from None
    return variables, external_weights.settle(card, path, epsilon)


def write(
    path: str | Path,
    variables: dict[str, Any],
    card: Card | Mapping[str, Any],
    format: str | None = None,
    dtype: str = 'float32',
    data_parallel: bool = False,
) -> None:
    """Writes a network, whole or not at all.

    Args:
      card: of the network, or its JSON.
      format: one of FORMATS; None: by the suffix of `path`.
      dtype: of the arrays: 'float32', or in some formats 'bfloat16' or 'float16'.
      data_parallel: in a PyTorch file, `module.` before every name.

    Raises:
      UserError: the target exists, or the format cannot hold the network.
    """
    path, card = local_path(path), Card.from_dict(card)
    name = format or _of_target(path)
    check_target(path, name, dtype, data_parallel)
    options = {'data_parallel': True} if data_parallel else {}
    try:
        with _folder_beside(path) as folder:
            partial = folder / path.name  # of the same name, which some formats repeat
            _module(name, 'write').write(partial, variables, card, dtype, **options)
            os.rename(partial, path)
    except OSError as error:
        raise UserError(
            f'cannot write {path} ({error.strerror or error}); choose another target'
        ) from None


def convert(
    source: str | Path,
    target: str | Path,
    source_format: str | None = None,
    target_format: str | None = None,
    dtype: str = 'float32',
    epsilon: float | None = None,
    data_parallel: bool = False,
    drop: Sequence[str] = (),
) -> tuple[dict[str, Any], Card, Path, str, str]:
    """Reads `source`, writes `target`: `(variables, card, source, format read, format written)`.

    A target without a suffix is a folder: of an export of this project the hub's, of anything else
    an export of this project. The source is returned as the export that was read of a run.

    Raises:
      UserError: as `read` and `write`.
    """
    source, target = locate(source), local_path(target)
    reading = source_format or recognise(source)
    folder = 'hub' if reading == 'orbax' else 'orbax'
    writing = target_format or (_of_target(target) if target.suffix else folder)
    check_target(target, writing, dtype, data_parallel)
    variables, card = read(source, reading, epsilon, drop)
    write(target, variables, card, writing, dtype, data_parallel)
    return variables, card, source, reading, writing


def locate(path: str | Path, exports: tuple[str, ...] = EXPORTS) -> Path:
    """The file or folder that a path names: itself, or the first of these exports of a run.

    Raises:
      UserError: there is none, or the run has none.
    """
    path = as_path(path)
    if not path.exists():
        raise UserError(f'there is no such file or folder as {path}; expected {_words("reads")}')
    if path.name == ARRAYS and path.is_file() and (path.parent / 'config.json').exists():
        path = path.parent
    if isinstance(_hub_config(path).get('architecture'), str):
        # A folder of timm's, whose config.json is none of ours; earlier ones have the second file.
        for name in (ARRAYS, 'pytorch_model.bin'):
            if (path / name).is_file():
                return path / name
        raise UserError(
            f'{path} has the config.json of timm and no {ARRAYS}; expected that or '
            'pytorch_model.bin beside it: name the file of the weights itself'
        )
    folders = [path / 'export' / name for name in exports if (path / 'export' / name).is_dir()]
    if not folders and (path / 'checkpoints').is_dir():
        raise UserError(
            f'{path} has no export yet, because its run has not ended; let it end, or name one of '
            f'its checkpoints, {path / "checkpoints" / "STEP"}'
        )
    return folders[0] if folders else path


def recognise(path: str | Path) -> str:
    """The format of a file or folder, by what it holds; a folder of unknown kind is 'orbax'."""
    path = as_path(path)
    if path.is_dir():
        return 'hub' if _is_hub(path) else 'orbax'
    with path.open('rb') as file:
        start = file.read(8)
    if start == b'\x89HDF\r\n\x1a\n':
        return 'keras'
    if start.startswith((b'PK\x03\x04', b'\x80')):  # torch.save's archive, and a plain pickle
        return 'pytorch'
    return _by_suffix(path, 'reads')


def _is_hub(folder):
    """Whether either of its two files is there; a run has a config.json too, but of other keys."""
    return (folder / ARRAYS).is_file() or 'architecture' in _hub_config(folder)


def _hub_config(folder):
    """What the config.json of a folder holds; {} if there is none that can be read."""
    try:
        config = json.loads((folder / 'config.json').read_text('utf-8'))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def check_target(path: Path, name: str, dtype: str, data_parallel: bool = False) -> None:
    """Raises UserError if nothing of this format, dtype and names can be written to `path`."""
    _module(name, 'write')
    if dtype not in DTYPES:
        raise UserError(f'unknown dtype {dtype!r}; expected one of {", ".join(DTYPES)}')
    if dtype != 'float32' and not FORMATS[name].narrow:
        narrow = ', '.join(other for other, format in FORMATS.items() if format.narrow)
        raise UserError(f'{name} is written in float32, not in {dtype}; expected one of {narrow}')
    if data_parallel and name != 'pytorch':
        raise UserError(f'{name} has no names of nn.DataParallel; expected pytorch for those')
    if path.exists() or path.is_symlink():
        raise UserError(f'{path} exists already; remove it or choose another target')


def _module(name, action):
    """The module of a format that can be read (`action='read'`) or written."""
    possible = [n for n, format in FORMATS.items() if getattr(format, f'{action}s')]
    if name not in possible:
        known = 'cannot be' if name in FORMATS else 'is no format that can be'
        done = {'read': 'read', 'write': 'written'}[action]
        raise UserError(f'{name} {known} {done}; expected one of {", ".join(possible)}')
    if FORMATS[name].extra:
        need(FORMATS[name].extra, f'the format {name}')
    return importlib.import_module(FORMATS[name].module)


@contextlib.contextmanager
def _folder_beside(path):
    """A temporary folder from which a file can be moved to `path`; a failure leaves no folder."""
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix='.convert_', dir=path.parent) as folder:
            yield Path(folder)
    except BaseException:
        for empty in new:  # the innermost first
            with contextlib.suppress(OSError):  # another process may use it by now
                empty.rmdir()
        raise


def _of_target(path):
    if path.suffix:
        return _by_suffix(path, 'writes')
    raise UserError(f'{path} has no suffix; add one or name a format: {_words("writes")}')


def _by_suffix(path, able):
    if path.suffix.lower() == '.safetensors' and able == 'writes':
        raise UserError(
            f'{path} alone describes no network; expected a folder, which has {ARRAYS} and '
            'config.json: name the folder and add --to=hub'
        )
    for name, format in FORMATS.items():
        if path.name.lower().endswith(format.suffixes):
            return name
    raise UserError(f'the format of {path} is unknown; expected {_words(able)}')


def _words(able):
    formats = {n: f for n, f in FORMATS.items() if getattr(f, able)}
    return ', '.join(
        f'{format.words} ({"/".join(format.suffixes) or name})' for name, format in formats.items()
    )
