"""Non-linear intensity map: a random monotone Bézier curve over the grey values."""

import jax
import jax.numpy as jnp

from genesis_jax.transforms.registry import corruption

_HALVINGS = 12
_NEWTON_STEPS = 3


def bezier_map(
    volume: jax.Array, control_points: jax.Array, decreasing: bool | jax.Array
) -> jax.Array:
    """Maps every grey value through a cubic Bézier curve (MedIA 2021, section 3.1).

    The curve runs from (0, 0) to (1, 1), or, when `decreasing`, from (0, 1) to (1, 0) with the
    heights of its control points exchanged.

    Args:
      volume: values in [0, 1]; values outside are clipped first.
      control_points: `[2, 2]`, the points P1 and P2 as (x, y), all in [0, 1]. With the end points
        at 0 and 1 that makes both coordinates monotone in the curve's parameter.
      decreasing: bool scalar.
    """
    (x1, y1), (x2, y2) = control_points.astype(volume.dtype)
    parameter = _solve(jnp.clip(volume, 0, 1), x1, x2)
    first, second = jnp.where(decreasing, y2, y1), jnp.where(decreasing, y1, y2)
    start, end = jnp.where(decreasing, 1.0, 0.0), jnp.where(decreasing, 0.0, 1.0)
    left = 1 - parameter
    return (
        left**3 * start
        + 3 * left**2 * parameter * first
        + 3 * left * parameter**2 * second
        + parameter**3 * end
    ).astype(volume.dtype)


@corruption('nonlinear', probability=0.9, kinds='non-linear')
def random_bezier_map(key: jax.Array, volume: jax.Array) -> jax.Array:
    """`bezier_map` with control points uniform in the unit square, decreasing half of the time."""
    key_points, key_direction = jax.random.split(key)
    control_points = jax.random.uniform(key_points, (2, 2), volume.dtype)
    return bezier_map(volume, control_points, jax.random.bernoulli(key_direction))


def _solve(x, x1, x2):
    """The parameter at which the curve's abscissa, with control values x1 and x2, reaches x.

    Bisection brackets the root; Newton steps, kept inside the bracket, sharpen it. Neither sorts
    nor looks up, so it vectorises on every device.
    """

    def abscissa(t):
        return t * (3 * x1 + t * (3 * x2 - 6 * x1 + t * (1 + 3 * x1 - 3 * x2)))

    def slope(t):
        left = 1 - t
        return 3 * (left * left * x1 + 2 * left * t * (x2 - x1) + t * t * (1 - x2))

    # Spelled out, all steps of a voxel stay in registers; a loop would go through memory each time.
    low, width = jnp.zeros_like(x), 1.0
    for _ in range(_HALVINGS):
        width /= 2
        low = jnp.where(abscissa(low + width) < x, low + width, low)
    t = low + width / 2
    for _ in range(_NEWTON_STEPS):
        step = (abscissa(t) - x) / jnp.maximum(slope(t), 1e-6)
        t = jnp.clip(t - step, low, low + width)
    return t
