"""What training changes: one pytree of arrays."""

from typing import Any

import flax.struct
import jax


class TrainState(flax.struct.PyTreeNode):
    """The arrays of a run; with the config, all that the next step depends on.

    Attributes:
      step: int32 scalar, steps taken.
      seed: int32 scalar, of the run's root key; an array, so that runs of several seeds share one
        compiled program.
      params, batch_stats: the network's variables; {}: it keeps no statistics.
      opt_state: of the optax optimiser.
      plateau: of `optax.contrib.reduce_on_plateau`; its `scale` multiplies the learning rate.
    """

    step: jax.Array
    seed: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    plateau: Any

    @property
    def root_key(self) -> jax.Array:
        """The key that everything random in the run comes from."""
        return jax.random.key(self.seed)

    @property
    def variables(self) -> dict[str, Any]:
        """What `Module.apply` takes; only batch normalisation has statistics."""
        statistics = {'batch_stats': self.batch_stats} if self.batch_stats else {}
        return {'params': self.params, **statistics}
