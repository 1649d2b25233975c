"""In-painting and out-painting: boxes, or all but boxes, replaced by noise or by a constant."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from genesis_jax.errors import OptionError
from genesis_jax.transforms.bits import noise_like
from genesis_jax.transforms.registry import corruption

FILLS = ('noise', 'constant')
_BOXES = 5  # at most
_MORE = 0.95  # the probability that there is one more box
_MARGIN = 3  # voxels between a box and the border


def paint(volume: jax.Array, mask: jax.Array, fill: jax.typing.ArrayLike) -> jax.Array:
    """Replaces the voxels under `mask` (bool, spatial shape) by `fill` (a volume or a scalar)."""
    return jnp.where(mask[..., None], fill, volume).astype(volume.dtype)


def random_in_painting(key: jax.Array, volume: jax.Array, *, fill: str = 'noise') -> jax.Array:
    """Paints up to five boxes of a sixth to a third of each side (MedIA 2021, section 3.4).

    Args:
      fill: 'noise', uniform and independent per voxel (published code), or 'constant', one uniform
        value per box (paper); where boxes overlap the later one shows.
    """
    _check_fill(fill)
    key_boxes, key_fill = jax.random.split(key)
    shape = volume.shape[:-1]
    sides = [(n // 6, n // 3) for n in shape]
    boxes = random_boxes(key_boxes, shape, sides, at_least_one=False)
    if fill == 'noise':
        return paint(volume, jnp.any(boxes, axis=0), noise_like(key_fill, volume))
    for box, value in zip(boxes, jax.random.uniform(key_fill, (_BOXES,)), strict=True):
        volume = paint(volume, box, value)
    return volume


def random_out_painting(key: jax.Array, volume: jax.Array, *, fill: str = 'noise') -> jax.Array:
    """Paints all but the union of one to five boxes (MedIA 2021, section 3.3).

    A box is as long as a side of the volume less three to four sevenths of it.

    Args:
      fill: 'noise', uniform and independent per voxel (published code), or 'constant', one uniform
        value for the whole surrounding (paper).
    """
    _check_fill(fill)
    key_boxes, key_fill = jax.random.split(key)
    shape = volume.shape[:-1]
    sides = [(n - 4 * n // 7, n - 3 * n // 7) for n in shape]
    boxes = random_boxes(key_boxes, shape, sides, at_least_one=True)
    surrounding = noise_like(key_fill, volume) if fill == 'noise' else jax.random.uniform(key_fill)
    return paint(volume, ~jnp.any(boxes, axis=0), surrounding)


def _kinds(outpaint_probability, fill):
    return {'out-painting': outpaint_probability, 'in-painting': 1 - outpaint_probability}


@corruption('paint', probability=0.9, kinds=_kinds, prefix='')
def random_painting(
    key: jax.Array, volume: jax.Array, *, outpaint_probability: float = 0.8, fill: str = 'noise'
) -> jax.Array:
    """Out-painting with this probability, otherwise in-painting."""
    # One key for both: where XLA computes both, it draws the noise once.
    key_choice, key_paint = jax.random.split(key)
    return jax.lax.cond(
        jax.random.bernoulli(key_choice, outpaint_probability),
        partial(random_out_painting, fill=fill),
        partial(random_in_painting, fill=fill),
        key_paint,
        volume,
    )


def _check_fill(fill):
    if fill not in FILLS:
        raise OptionError(f'fill is {fill!r}; expected one of {FILLS}')


def random_boxes(
    key: jax.Array, shape: Sequence[int], sides: Sequence[tuple[int, int]], *, at_least_one: bool
) -> jax.Array:
    """Masks `[5, *shape]` of up to five boxes; one that was not drawn is empty.

    Args:
      sides: of a box along each axis, the shortest and the longest.
    """
    key_more, *keys = jax.random.split(key, 1 + len(shape))
    more = jax.random.bernoulli(key_more, _MORE, (_BOXES,))
    if at_least_one:
        more |= jnp.arange(_BOXES) == 0
    drawn = jnp.cumprod(more).astype(bool)
    boxes = drawn.reshape((_BOXES,) + (1,) * len(shape))
    for axis, (axis_key, n, (least, most)) in enumerate(zip(keys, shape, sides, strict=True)):
        interval = _random_intervals(axis_key, n, max(least, 1), max(most, 1))
        others = [1 + other for other in range(len(shape)) if other != axis]
        boxes = boxes & jnp.expand_dims(interval, others)
    return boxes


def _random_intervals(key, n, least, most):
    """Masks `[_BOXES, n]` of intervals whose length and start are uniform, both ends included."""
    key_side, key_start = jax.random.split(key)
    side = jax.random.randint(key_side, (_BOXES, 1), least, most + 1)
    margin = jnp.minimum(_MARGIN, (n - side) // 2)
    start = jax.random.randint(key_start, (_BOXES, 1), margin, n - side - margin + 1)
    position = jnp.arange(n)[None, :]
    return (position >= start) & (position < start + side)
