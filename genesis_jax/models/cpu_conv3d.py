"""3D convolution for CPUs, some planes at a time.

XLA's CPU backend runs 3D convolutions many times slower than a good library, and matrix products
nearly as fast as one. Here the taps along the last axis are columns of a matrix, those along the
others are columns of the kernel: one product with it gives what a few planes add to the rows and
planes of the result around them. With all taps on one side that matrix would be several times
larger, and what these products wait for is memory.
"""

import math

import jax
import jax.numpy as jnp

_ROWS = 2048  # of one matrix, about: enough to keep the cores busy, few enough for the cache


@jax.custom_vjp
def convolve_planes(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution `[B, X, Y, Z, C]` with `[a, b, c, C, O]`, odd sides, 'same' padding.

    Sums are float32, whatever the dtype of the arrays.
    """
    blocks = _blocks(x)
    batch, planes, *sides = blocks.shape[1:-1]
    a, b, c, channels, outputs = kernel.shape
    # The last tap of a kernel falls on the plane that comes first.
    flat = jnp.flip(kernel, 0).transpose(2, 3, 0, 1, 4).reshape(c * channels, a * b * outputs)

    def step(begun, block):
        block = _pad(block, 2, b // 2)
        products = _product(_columns(block, c), flat)
        products = products.reshape(*block.shape[:-1], a, b, outputs)
        parts = sum(products[:, :, tap : tap + sides[0], :, :, tap] for tap in range(b))
        waiting = [
            jnp.concatenate([planes_before, parts[..., tap, :]], axis=1)
            for tap, planes_before in enumerate(begun)
        ]
        return [w[:, planes:] for w in waiting], sum(w[:, :planes] for w in waiting)

    # What the planes so far add, by tap: to the next one, to the next two, …
    begun = [jnp.zeros((batch, tap, *sides, outputs)) for tap in range(a)]
    begun, done = jax.lax.scan(step, begun, blocks)
    last = sum(_pad(w, 1, 0, a - 1 - w.shape[1]) for w in begun)
    whole = jnp.concatenate([_joined(done), last], axis=1).astype(x.dtype)
    return jax.lax.slice_in_dim(whole, a // 2, a // 2 + x.shape[1], axis=1)


def _forward(x, kernel):
    return convolve_planes(x, kernel), (x, kernel)


def _backward(saved, gradient):
    x, kernel = saved
    mirrored = _mirrored(kernel)
    if kernel.shape[3] < kernel.shape[4]:  # the one with fewer channels is unrolled further
        of_kernel = _mirrored(_kernel_gradient(gradient, x, mirrored.shape))
    else:
        of_kernel = _kernel_gradient(x, gradient, kernel.shape)
    return convolve_planes(gradient, mirrored), of_kernel


convolve_planes.defvjp(_forward, _backward)


def _mirrored(kernel):
    """The kernel that takes a gradient back through a convolution."""
    return jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4)


def _kernel_gradient(x, gradient, shape):
    a, b, c, channels, outputs = shape
    blocks = _blocks(x)
    planes, rows = blocks.shape[2:4]
    gradient = _pad(_pad(gradient, 1, a // 2), 2, b // 2)

    def step(total, numbered):
        number, block = numbered
        near = jax.lax.dynamic_slice_in_dim(gradient, number * planes, planes + a - 1, axis=1)
        reached = [
            near[:, a - 1 - i :, b - 1 - j :][:, :planes, :rows] for i in range(a) for j in range(b)
        ]
        reached = jnp.concatenate(reached, axis=-1).reshape(-1, a * b * outputs)
        return total + _product(_columns(block, c).T, reached), None

    total = jnp.zeros((c * channels, a * b * outputs))
    total, _ = jax.lax.scan(step, total, (jnp.arange(len(blocks)), blocks))
    total = total.astype(x.dtype).reshape(c, channels, a, b, outputs)
    return total.transpose(2, 3, 0, 1, 4)


def _blocks(x):
    """`[blocks, B, planes, Y, Z, C]`, with as many planes in a block as make a good matrix."""
    batch, count, *plane, channels = x.shape
    ideal = _ROWS / (batch * math.prod(plane))
    fitting = [n for n in range(1, count + 1) if count % n == 0]
    planes = min(fitting, key=lambda n: max(n / ideal, ideal / n))
    return jnp.moveaxis(x.reshape(batch, count // planes, planes, *plane, channels), 1, 0)


def _joined(blocks):
    """The inverse of `_blocks`."""
    joined = jnp.moveaxis(blocks, 0, 1)
    return joined.reshape(joined.shape[0], -1, *joined.shape[3:])


def _columns(block, taps):
    """Every voxel's neighbours along the last axis as a row: `[B * planes * Y * Z, taps * C]`."""
    side = block.shape[3]
    padded = _pad(block, 3, taps // 2)
    shifted = [padded[:, :, :, tap : tap + side] for tap in range(taps)]
    return jnp.concatenate(shifted, axis=-1).reshape(-1, taps * block.shape[-1])


def _product(a, b):
    return jax.lax.dot(a, b, preferred_element_type=jnp.float32)


def _pad(x, axis, before, after=None):
    """Zeros before and after (None: as many) the elements of one axis."""
    padding = [(0, 0)] * x.ndim
    padding[axis] = (before, before if after is None else after)
    return jnp.pad(x, padding)
