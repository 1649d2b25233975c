"""Scans to cubes: medical images in, TFDS datasets of int16 cubes out. Nothing imports jax."""

import importlib.util
import sys

_NEEDED = {'SimpleITK': 'SimpleITK', 'PIL': 'Pillow'}  # packages of the extra `prep`

# `python -m data_prep.NAME` comes by here before it imports NAME, which needs both at its head.
# Importers of this package are left to their own ImportError.
if sys.argv[:1] == ['-m']:
    for _package, _name in _NEEDED.items():
        if importlib.util.find_spec(_package) is None:
            sys.exit(
                f"reading scans and images needs {_name}; run: pip install 'genesis-jax[prep]'"
            )
