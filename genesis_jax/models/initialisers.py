"""How new weights are drawn: as here, as in the published PyTorch network, as in the Keras one.

'he': kernels uniform within sqrt(6 / fan-in), biases 0 (He and others, ICCV 2015; of transposed
convolutions and dense layers see their modules). 'torch': PyTorch's default, both uniform within
1 / sqrt(fan-in), kernels with 0.41 of He's standard deviation. 'glorot': Keras' default, kernels
uniform within sqrt(6 / (fan-in + fan-out)), biases 0; what the papers call scratch.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import jax

INITIALISERS = ('he', 'torch', 'glorot')


def redraw(params: Mapping[str, Any], key: jax.Array, initialiser: str) -> Any:
    """Parameters of the modules' own draws, drawn anew unless `initialiser` is 'he'.

    Normalisations keep their ones and zeros. An array's draw depends on its path alone.
    """
    return params if initialiser == 'he' else _redraw(params, key, initialiser, ())


def _redraw(tree, key, initialiser, path):
    if 'kernel' not in tree:
        return {
            name: _redraw(part, key, initialiser, (*path, name)) if hasattr(part, 'items') else part
            for name, part in tree.items()
        }
    limits = _limits(tree['kernel'].shape, initialiser)
    return {
        name: _uniform(key, '/'.join((*path, name)), array.shape, limits[name])
        for name, array in tree.items()
    }


def _limits(shape, initialiser):
    """Of a kernel `[*sides, in, out]` and its bias."""
    taps = math.prod(shape[:-2])
    fan_in, fan_out = taps * shape[-2], taps * shape[-1]
    if initialiser == 'glorot':
        return {'kernel': math.sqrt(6 / (fan_in + fan_out)), 'bias': 0.0}
    limit = 1 / math.sqrt(fan_in)  # (of transposed convolutions, too, which keep their channels)
    return {'kernel': limit, 'bias': limit}


def _uniform(key, path, shape, limit):
    # Drawn flat: XLA compiles a flat draw ten times faster.
    key = jax.random.fold_in(key, zlib.crc32(path.encode()))
    drawn = jax.random.uniform(key, (math.prod(shape),), minval=-limit, maxval=limit)
    return drawn.reshape(shape)
