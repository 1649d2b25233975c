"""Random bits for every voxel, quickly: keyed hashes of its place.

JAX's own generator (threefry) takes ten times as long on CPUs. These are for textures, of noise and
of windows, not for the few numbers that decide what happens to a volume.
"""

import jax
import jax.numpy as jnp
import numpy as np


def random_bits(key: jax.Array, rows: int, columns: int) -> list[jax.Array]:
    """`rows` arrays uint32 `[columns]`, each a hash of key, row and column."""
    keys = jax.random.bits(key, (1 + rows,))
    bits, rest = mix(jax.lax.iota(jnp.uint32, columns) ^ keys[0]), []
    for row in range(rows):
        bits = mix(bits + keys[1 + row])
        rest.append(bits)
    return rest


def mix(bits: jax.Array) -> jax.Array:
    """Scrambles uint32 values: every bit of the result depends on every bit of the argument.

    The finaliser of MurmurHash3 (Appleby; public domain).
    """
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def fraction(bits: jax.Array, leading: int = 24) -> jax.Array:
    """The leading bits of uint32 values as float32 in [0, 1)."""
    # By way of int32, since CPUs convert no other integers quickly.
    whole = (bits >> (32 - leading)).astype(jnp.int32)
    return whole.astype(jnp.float32) * np.float32(2**-leading)


def noise_like(key: jax.Array, volume: jax.Array) -> jax.Array:
    """Noise in [0, 1), uniform and independent per element, of the shape and dtype of `volume`."""
    (bits,) = random_bits(key, 1, volume.size)
    return fraction(bits).astype(volume.dtype).reshape(volume.shape)
