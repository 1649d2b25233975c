"""What a user can mend."""

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

# What each extra of this package brings: names of modules, and of packages where they differ.
_EXTRAS = {
    'prep': ('SimpleITK', 'PIL', 'pydicom', 'gdcm', 'nibabel'),
    'seg': ('highdicom',),
    'plot': ('matplotlib',),
    'demo': ('SimpleITK', 'PIL', 'pydicom', 'gdcm', 'nibabel', 'slicerio'),
    'torch': ('torch',),
    'keras': ('h5py',),
    'hub': ('safetensors',),
    'push': ('safetensors', 'huggingface_hub'),
    'gs': ('gcsfs',),
    'onnx': ('torch', 'onnx', 'onnxscript'),
    'bench': ('torch', 'monai'),
}
_PACKAGES = {'PIL': 'Pillow', 'gdcm': 'python-gdcm', 'monai': 'MONAI'}


class UserError(Exception):
    """One sentence: what was found, what was expected, what to do. Shown without a traceback."""


class PrepareError(UserError):
    """The preparation cannot start; the message is one sentence for the user."""


class ScanError(UserError):
    """One scan cannot be used; the message is a sentence that continues the scan's name."""


class OptionError(UserError, ValueError):
    """A function of the library cannot do with its options, or with arrays of such a shape."""


class ScanRemark(UserWarning):
    """A scan is used, but something in it is probably not meant; continues the scan's name."""


def in_full(number: float) -> str:
    """A number, Python's or NumPy's, with every digit that tells it from another of its type."""
    text = str(number)
    return (f'{Decimal(text):f}' if 'e' in text else text).removesuffix('.0')


@contextmanager
def collected_remarks() -> Iterator[list[str]]:
    """A list that holds, once the block has ended, what scans read in it were remarked on."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', ScanRemark)
        yield told
    for warning in caught:
        if issubclass(warning.category, ScanRemark):
            told += [text for text in [str(warning.message)] if text not in told]
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


@contextmanager
def remarks_naming(file: str) -> Iterator[None]:
    """Remarks on a file that is read in the block continue the name of its scan."""
    with collected_remarks() as told:
        yield
    for text in told:
        warnings.warn(f'has the file {file}, which {text}', ScanRemark, stacklevel=3)


def missing(extra: str, purpose: str) -> str:
    """One sentence on what to install for a purpose; empty if all that it needs is there."""
    for name in _EXTRAS[extra]:
        if importlib.util.find_spec(name) is None:
            return (
                f'{purpose} needs {_PACKAGES.get(name, name)}; '
                f"in a checkout of genesis-jax run: pip install -e '.[{extra}]'"
            )
    return ''


def need(extra: str, purpose: str) -> None:
    """Checks, before they are imported, that the packages of an extra are there.

    Raises:
      UserError: one is not.
    """
    if sentence := missing(extra, purpose):
        raise UserError(sentence)
