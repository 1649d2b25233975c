"""Grey values from the unit of the scan to [0, 1]."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def normalise(
    batch: Mapping[str, jax.Array], window: tuple[float, float] | None = None
) -> jax.Array:
    """Patches as float32 in [0, 1]: `window` (low, high), by default each scan's own, fills it.

    A scan's own window is `[2]`, or `[C, 2]` with one for each channel.
    """
    windows = batch['window'] if window is None else jnp.asarray(window, jnp.float32)[None, :]
    spatial = [1] * (batch['cube'].ndim - 2)
    shape = (windows.shape[0], *spatial, *(windows.shape[1:-1] or (1,)))
    low, high = (windows[..., i].reshape(shape) for i in (0, 1))
    return jnp.clip((batch['cube'].astype(jnp.float32) - low) / (high - low), 0, 1)
