"""What a user can mend."""

import importlib.util

# What each extra of this package brings: names of modules, and of packages where they differ.
_EXTRAS = {
    'prep': ('SimpleITK', 'PIL'),
    'plot': ('matplotlib',),
    'demo': ('SimpleITK', 'PIL', 'slicerio'),
    'torch': ('torch',),
    'keras': ('h5py',),
    'hub': ('safetensors',),
    'push': ('safetensors', 'huggingface_hub'),
    'gs': ('gcsfs',),
    'onnx': ('torch', 'onnx', 'onnxscript'),
    'bench': ('torch', 'monai'),
}
_PACKAGES = {'PIL': 'Pillow', 'monai': 'MONAI'}


class UserError(Exception):
    """One sentence: what was found, what was expected, what to do. Shown without a traceback."""


class PrepareError(UserError):
    """The preparation cannot start; the message is one sentence for the user."""


class ScanError(UserError):
    """One scan cannot be used; the message is a sentence that continues the scan's name."""


class OptionError(UserError, ValueError):
    """A function of the library cannot do with its options, or with arrays of such a shape."""


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
