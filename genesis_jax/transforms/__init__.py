"""Corruptions of Models Genesis as pure functions on one volume.

The contract of every function here:

- a volume is a float array `[X, Y, Z, C]` (or `[X, Y, C]`: the same code serves 2D) with values
  in [0, 1]; the result has its shape and dtype;
- `op(volume, parameters)` is deterministic; `random_op(key, volume, *, ...)` draws the parameters
  from the key, which always comes first, and calls it; options are keyword-only;
- every function runs under `jax.jit` and, over keys and volumes, `jax.vmap`; `corrupt_batch` is
  the fastest way to corrupt a batch.
"""

from genesis_jax.transforms.bias_field import random_bias_field
from genesis_jax.transforms.contrast import random_bounded_gamma
from genesis_jax.transforms.flips import flip, random_flip
from genesis_jax.transforms.intensity import bezier_map, random_bezier_map
from genesis_jax.transforms.masking import random_masking
from genesis_jax.transforms.noise import random_noise
from genesis_jax.transforms.painting import paint, random_in_painting, random_out_painting
from genesis_jax.transforms.pipeline import corrupt, corrupt_batch
from genesis_jax.transforms.registry import corruption
from genesis_jax.transforms.resolution import random_blur
from genesis_jax.transforms.shuffle import random_local_shuffle, rearrange
from genesis_jax.transforms.slice_drop import random_slice_drop
from genesis_jax.transforms.swapping import random_swap
from genesis_jax.transforms.thick_slices import random_thick_slices

__all__ = [
    'bezier_map',
    'corrupt',
    'corrupt_batch',
    'corruption',
    'flip',
    'paint',
    'random_bezier_map',
    'random_bias_field',
    'random_blur',
    'random_bounded_gamma',
    'random_flip',
    'random_in_painting',
    'random_local_shuffle',
    'random_masking',
    'random_noise',
    'random_out_painting',
    'random_slice_drop',
    'random_swap',
    'random_thick_slices',
    'rearrange',
]
