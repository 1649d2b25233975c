"""The steps of training: make examples of a batch, let the network answer, learn from its loss.

Needs JAX, Flax and optax and nothing else of what a run takes (data, logs, checkpoints).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from genesis_jax import parallel
from genesis_jax.models import make, name_of
from genesis_jax.models.initialisers import redraw
from genesis_jax.models.network import Network
from genesis_jax.training import losses, optim
from genesis_jax.training.deep_supervision import DeepSupervision
from genesis_jax.training.state import TrainState
from genesis_jax.transforms import corrupt_batch, registry
from genesis_jax.transforms.augment import augment_batch
from genesis_jax.transforms.pipeline import corrupt_batch_and_tell, flip_alike
from genesis_jax.transforms.window import normalise

Batch = Mapping[str, jax.Array]


class Steps:
    """The programs of one device, and those mapped over all devices.

    The key of example `position` at step `step` is `fold_in(fold_in(key, step), position)`: it
    depends on neither the number of devices nor on what was run before.

    Args:
      make_examples: `corrupted` or `augmented`, with its options.
      loss: one of `training.losses`.
      channels: of an example.
      window: (low, high), what becomes 0 and 1; None: the records' own.
    """

    def __init__(
        self, network: Network, optimisation, make_examples, loss, channels=1, window=None
    ):
        self._network, self._optimisation = network, optimisation
        self._make_examples, self._loss = make_examples, loss
        self._channels, self._window = channels, window
        self.train = parallel.spmd(self._train, donate=True)
        self.evaluate = parallel.spmd(self._evaluate, out_axes=(None, 0))
        self.end_epoch = optimisation.end_epoch
        self.conclude = loss.conclude

    def init(self, seed: int | jax.Array = 0, loaded=None) -> TrainState:
        """A train state: parts that are `loaded` (`{collection: {part: tree}}`), others random."""
        key = jax.random.fold_in(jax.random.key(seed), 0)
        smallest = jnp.zeros(self._network.smallest_input(self._channels))
        variables = self._network.init(key, smallest, train=False)
        variables['params'] = redraw(variables['params'], key, self._network.initialiser)
        return self._optimisation.init(merge(variables, loaded or {}), seed)

    def _examples(self, key, batch, train):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch['position'])
        return self._make_examples(keys, normalise(batch, self._window), batch, train)

    def _train(self, state, batch):
        key = jax.random.fold_in(jax.random.fold_in(state.root_key, 1), state.step)
        inputs, batch = self._examples(key, batch, train=True)

        def loss_of(params):
            variables = {'params': params, 'batch_stats': state.batch_stats}
            logits, updated = self._network.apply(
                variables, inputs, train=True, mutable=['batch_stats']
            )
            # (only batch normalisation keeps statistics)
            return self._loss.of_step(logits, batch), updated.get('batch_stats', {})

        return self._optimisation.update(state, loss_of)

    def _evaluate(self, state, batch):
        """Totals over the weighted examples of all devices, and this device's pictures."""
        key = jax.random.fold_in(state.root_key, 2)
        inputs, batch = self._examples(key, batch, train=False)
        logits = self._network.predict(state.variables, inputs)
        terms = self._loss.terms(logits, batch)
        totals = {name: jnp.tensordot(batch['weight'], v, axes=1) for name, v in terms.items()}
        answers = self._loss.answers(logits)
        target = [batch['target']] if 'target' in batch else []
        return jax.lax.psum(totals, parallel.AXIS), (*target, inputs, answers)


def corrupted(keys, patches, batch, train, where='all', **transforms) -> tuple[jax.Array, Batch]:
    """Examples of restoration, also in evaluation: `transforms` are options of `corrupt`.

    Args:
      where: one of `voxel_losses.WHERE`: `valid` says where the loss is taken.
    """
    others = parallel.next_examples(patches) if registry.mix(transforms) else None
    batch = {**batch}
    if 'valid' in batch:  # lies on the target, which is mirrored
        flip = jax.vmap(lambda key, valid: flip_alike(key, valid, transforms))
        batch['valid'] = flip(keys, batch['valid'].astype(patches.dtype))
    if where == 'corrupted':
        inputs, target, changed = corrupt_batch_and_tell(keys, patches, others, **transforms)
        batch['valid'] = changed.astype(patches.dtype) * batch.get('valid', 1)
    else:
        inputs, target = corrupt_batch(keys, patches, others, **transforms)
    return inputs, batch | {'corrupted': inputs, 'target': target}


def augmented(keys, patches, batch, train, **options) -> tuple[jax.Array, Batch]:
    """Labelled examples, in training augmented: `options` are those of `augment`."""
    if not train:
        return patches, batch
    patches, mask = augment_batch(keys, patches, batch.get('mask'), **options)
    return patches, {**batch, 'mask': mask}


def merge(variables: Mapping[str, Any], loaded: Mapping[str, Any]) -> dict[str, Any]:
    """`variables` with the loaded parts in the place of their own."""
    return {name: {**tree, **loaded.get(name, {})} for name, tree in variables.items()}


def make_network(config: Any, out_channels: int) -> Network:
    """The network that `config` trains."""
    return make(
        name_of(config.task, config.dimensions),
        config.model.to_dict(),
        out_channels=out_channels,
        freeze=config.get('freeze', 'none'),
        axis_name=parallel.AXIS,
    )


def make_steps(
    config: Any, network: Network, channels: int, steps_per_epoch: int, scales=None
) -> Steps:
    """The steps of `network` that `config` describes, on examples of so many channels.

    Args:
      scales: of `layer_rates.make_scales`.
    """
    if config.task == 'restoration':
        transforms = config.transforms.to_dict()
        make_examples = partial(corrupted, where=config.loss.where, **transforms)
    else:
        make_examples = partial(augmented, **config.augment.to_dict())
    optimisation = optim.Optimisation(config, steps_per_epoch, scales)
    restores = config.task == 'restoration'
    options = (config.loss.name, config.loss.where) if restores else ()
    loss: losses.Loss = losses.LOSSES[config.task](*options)
    if config.model.get('deep_supervision'):
        loss = DeepSupervision(loss)
    return Steps(network, optimisation, make_examples, loss, channels, config.data.window)
