"""Scans to patches: medical images in, TFDS datasets of int16 patches out. Nothing imports jax."""

import sys

from genesis_jax.errors import UserError, need

# `python -m data_prep.NAME` comes by here before it imports NAME, which needs both at its head.
# Importers of this package are left to their own ImportError.
if sys.argv[:1] == ['-m']:
    try:
        need('prep', 'reading scans and images')
    except UserError as error:
        sys.exit(f'error: {error}')
