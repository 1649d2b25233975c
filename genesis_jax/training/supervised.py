"""The steps of fine-tuning."""

import functools

import jax
import jax.numpy as jnp

from genesis_jax import parallel
from genesis_jax.models import NETWORKS, name_of, probabilities
from genesis_jax.training import optim
from genesis_jax.training.losses import LOSSES
from genesis_jax.transfer import merge
from genesis_jax.transforms.augment import augment
from genesis_jax.transforms.window import normalise


class Steps:
    """The programs of one device, and those mapped over all devices.

    As in pre-training, the key of example `position` at step `step` is
    `fold_in(fold_in(key, step), position)`.
    """

    def __init__(self, config, network, shape, steps_per_epoch, scales):
        self._config, self._network, self._shape = config, network, shape
        self._loss = LOSSES[config.task]()
        self._optimisation = optim.Optimisation(config, steps_per_epoch, scales)
        self.train = parallel.spmd(self._train, donate=True)
        self.evaluate = parallel.spmd(self._evaluate, out_axes=(None, 0))
        self.end_epoch = self._optimisation.end_epoch

    def init(self, seed, loaded):
        """A train state with the loaded parts (`Start.variables`) and the others at random."""
        key = jax.random.fold_in(jax.random.key(seed), 0)
        smallest = jnp.zeros(self._network.smallest_input(self._shape[-1]))
        variables = self._network.init(key, smallest, train=False)
        return self._optimisation.init(merge(variables, loaded), seed)

    def _train(self, state, batch):
        key = jax.random.fold_in(jax.random.fold_in(state.root_key, 1), state.step)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch['position'])
        cubes = normalise(batch, self._config.data.window)
        turn = functools.partial(augment, **self._config.augment.to_dict())
        cubes, mask = jax.vmap(turn)(keys, cubes, batch.get('mask'))
        batch = {**batch, 'mask': mask}

        def loss_of(params):
            variables = {'params': params, 'batch_stats': state.batch_stats}
            logits, updated = self._network.apply(
                variables, cubes, train=True, mutable=['batch_stats']
            )
            terms = self._loss.terms(logits, batch)
            totals = jax.lax.psum({k: v.sum(axis=0) for k, v in terms.items()}, parallel.AXIS)
            return self._loss.loss(totals), updated['batch_stats']

        return self._optimisation.update(state, loss_of)

    def _evaluate(self, state, batch):
        """Totals over the weighted examples of all devices, and this device's probabilities."""
        cubes = normalise(batch, self._config.data.window)
        logits = self._network.predict(state.variables, cubes)
        terms = self._loss.terms(logits, batch)
        totals = {name: jnp.tensordot(batch['weight'], v, axes=1) for name, v in terms.items()}
        answers = probabilities(logits, self._config.task)
        return jax.lax.psum(totals, parallel.AXIS), (cubes, answers)

    def conclude(self, totals):
        """Loss and metrics of totals over a whole split."""
        values = {'loss': self._loss.loss(totals)} | self._loss.metrics(totals)
        return {name: float(value) for name, value in values.items()}


def make_network(config, classes):
    """The network that `config` trains to tell `classes` apart."""
    return NETWORKS[name_of(config.task, config.dimensions)](
        out_channels=_outputs(config, classes),
        frozen_encoder=config.freeze == 'encoder',
        axis_name=parallel.AXIS,
        **config.model.to_dict(),
    )


def _outputs(config, classes):
    """One logit tells two classes apart; findings that do not exclude each other have one each."""
    return 1 if len(classes) == 2 and config.task != 'multilabel' else len(classes)
