"""3D convolution for CPUs, some planes at a time.

XLA's CPU backend runs 3D convolutions many times slower than a good library, and matrix products
as fast as one. Here a few planes of the first axis are unrolled into a matrix (all taps of the
other axes become columns) that stays in the cache, and one product with the kernel gives what these
planes add to the planes of the result around them.
"""

import math

import jax
import jax.numpy as jnp

_ROWS = 2048  # of one matrix, about: enough to keep the cores busy, few enough for the cache


@jax.custom_vjp
def convolve_planes(x, kernel):
    """Convolution `[B, X, Y, Z, C]` with `[a, b, c, C, O]`, odd sides, 'same' padding."""
    blocks = _blocks(x)
    taps, outputs = kernel.shape[0], kernel.shape[-1]
    flat = jnp.moveaxis(kernel, 0, 3).reshape(-1, taps * outputs)

    def step(begun, block):
        planes = block.shape[1]
        parts = (_columns(block, kernel.shape[1:3]) @ flat).reshape(
            *block.shape[:-1], taps, outputs
        )
        # The last tap of a plane's kernel falls on the plane that comes first.
        sums = jnp.pad(begun, _along_planes(0, planes))
        for tap in range(taps):
            after = taps - 1 - tap
            sums += jnp.pad(parts[..., tap, :], _along_planes(after, taps - 1 - after))
        return sums[:, planes:], sums[:, :planes]

    begun = jnp.zeros((x.shape[0], taps - 1, *x.shape[2:-1], outputs), x.dtype)
    last, done = jax.lax.scan(step, begun, blocks)
    whole = jnp.concatenate([_joined(done), last], axis=1)
    return jax.lax.slice_in_dim(whole, taps // 2, taps // 2 + x.shape[1], axis=1)


def _forward(x, kernel):
    return convolve_planes(x, kernel), (x, kernel)


def _backward(saved, gradient):
    x, kernel = saved
    mirrored = jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4)
    return convolve_planes(gradient, mirrored), _kernel_gradient(x, gradient, kernel.shape)


convolve_planes.defvjp(_forward, _backward)


def _kernel_gradient(x, gradient, shape):
    blocks = _blocks(x)
    taps, planes, outputs = shape[0], blocks.shape[2], shape[-1]
    gradient = jnp.pad(gradient, _along_planes(taps // 2, taps // 2))

    def step(total, numbered):
        number, block = numbered
        near = jax.lax.dynamic_slice_in_dim(gradient, number * planes, planes + taps - 1, axis=1)
        reached = [near[:, taps - 1 - tap :][:, :planes] for tap in range(taps)]
        reached = jnp.concatenate(reached, axis=-1).reshape(-1, taps * outputs)
        return total + _columns(block, shape[1:3]).T @ reached, None

    total = jnp.zeros((math.prod(shape[1:4]), taps * outputs), x.dtype)
    total, _ = jax.lax.scan(step, total, (jnp.arange(len(blocks)), blocks))
    return jnp.moveaxis(total.reshape(*shape[1:4], taps, outputs), 3, 0)


def _blocks(x):
    """`[blocks, B, planes, Y, Z, C]`, with as many planes in a block as make a good matrix."""
    batch, count, *plane, channels = x.shape
    wanted = -(-_ROWS // (batch * math.prod(plane)))
    planes = min((n for n in range(1, count + 1) if count % n == 0 and n >= wanted), default=count)
    return jnp.moveaxis(x.reshape(batch, count // planes, planes, *plane, channels), 1, 0)


def _joined(blocks):
    """The inverse of `_blocks`."""
    joined = jnp.moveaxis(blocks, 0, 1)
    return joined.reshape(joined.shape[0], -1, *joined.shape[3:])


def _columns(block, taps):
    """Every voxel's neighbours in its plane as a row: `[B * planes * Y * Z, b * c * C]`."""
    sides = block.shape[2:4]
    padding = [(0, 0), (0, 0), *((n // 2, n // 2) for n in taps), (0, 0)]
    padded = jnp.pad(block, padding)
    shifted = [
        padded[:, :, i : i + sides[0], j : j + sides[1]]
        for i in range(taps[0])
        for j in range(taps[1])
    ]
    return jnp.concatenate(shifted, axis=-1).reshape(-1, math.prod(taps) * block.shape[-1])


def _along_planes(before, after):
    return ((0, 0), (before, after), *((0, 0),) * 3)
