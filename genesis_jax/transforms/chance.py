"""Whether something happens to an example, with a probability known when tracing."""

from collections.abc import Callable
from typing import Any

import jax


def sometimes(
    random_op: Callable[[jax.Array, Any], Any], key: jax.Array, value: Any, probability: float
) -> Any:
    """`random_op(key, value)` with that probability, else `value`: a volume or a tree of arrays.

    What never happens is not compiled and draws nothing.
    """
    if probability <= 0:
        return value
    key_happens, key_op = jax.random.split(key)
    happens = jax.random.bernoulli(key_happens, probability)
    return jax.lax.cond(happens, random_op, lambda _, same: same, key_op, value)
