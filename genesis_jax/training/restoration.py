"""The steps of pre-training: corrupt a batch of cubes, restore it, learn from the difference.

Needs JAX, Flax and optax and nothing else of what a run takes (data, logs, checkpoints).
"""

import jax
import jax.numpy as jnp

from genesis_jax import parallel
from genesis_jax.training.losses import squared_error
from genesis_jax.transforms import corrupt_batch
from genesis_jax.transforms.window import normalise


class Steps:
    """The programs of one device, and those mapped over all devices.

    The key of example `position` at step `step` is `fold_in(fold_in(key, step), position)`: it
    depends on neither the number of devices nor on what was run before.

    Args:
      network: a U-Net with as many outputs as the cubes have channels.
      optimisation: an `optim.Optimisation`.
      transforms: arguments of `transforms.corrupt`.
      cube_shape: `(X, Y, Z, C)`.
      window: (low, high), what becomes 0 and 1; None: the records' own.
      seed: of the run.
    """

    def __init__(self, network, optimisation, transforms, cube_shape, window=None, seed=0):
        self._network, self._optimisation = network, optimisation
        self._transforms, self._cube_shape = transforms, cube_shape
        self._window, self._seed = window, seed
        self.train = parallel.spmd(self._train, donate=True)
        self.evaluate = parallel.spmd(self._evaluate, out_axes=(None, 0))
        self.end_epoch = optimisation.end_epoch

    def init(self):
        """A new train state."""
        smallest = jnp.zeros(self._network.smallest_input(self._cube_shape[-1]))
        key = jax.random.fold_in(jax.random.key(self._seed), 0)
        variables = self._network.init(key, smallest, train=True)
        return self._optimisation.init(variables, self._seed)

    def _corrupt(self, key, batch):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch['position'])
        cubes = normalise(batch, self._window)
        return corrupt_batch(keys, cubes, **self._transforms)

    def _train(self, state, batch):
        key = jax.random.fold_in(jax.random.fold_in(state.root_key, 1), state.step)
        corrupted, target = self._corrupt(key, batch)

        def loss_of(params):
            variables = {'params': params, 'batch_stats': state.batch_stats}
            logits, updated = self._network.apply(
                variables, corrupted, train=True, mutable=['batch_stats']
            )
            return jnp.mean(squared_error(jax.nn.sigmoid(logits), target)), updated['batch_stats']

        return self._optimisation.update(state, loss_of)

    def _evaluate(self, state, batch):
        """Sums over the weighted examples of all devices, and this device's images."""
        corrupted, target = self._corrupt(jax.random.fold_in(state.root_key, 2), batch)
        restored = jax.nn.sigmoid(self._network.predict(state.variables, corrupted))
        mean = jnp.mean(target, axis=tuple(range(1, target.ndim)), keepdims=True)
        losses = {
            'loss': squared_error(restored, target),
            'unchanged': squared_error(corrupted, target),
            'cube_mean': squared_error(mean, target),
            'examples': jnp.ones_like(batch['weight']),
        }
        sums = {name: jnp.sum(values * batch['weight']) for name, values in losses.items()}
        return jax.lax.psum(sums, parallel.AXIS), (target, corrupted, restored)
