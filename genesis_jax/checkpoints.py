"""Orbax: saving, resuming, the best state, and exports that outlive the run."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import tensorstore
from absl import logging
from orbax.checkpoint import v1 as ocp

from genesis_jax import parallel
from genesis_jax.card import Card
from genesis_jax.errors import UserError
from genesis_jax.paths import absolute, as_path, is_url

# What Orbax and TensorStore raise about files that are missing, cut short or overwritten.
_DAMAGE = (OSError, ValueError, LookupError, AttributeError, TypeError)
_ANY = 'an export, such as WORKDIR/export/encoder or WORKDIR/seed_0/export/model'
# Where exports lie in what a user may name instead: a run, the workdir of several, its exports.
_INSIDE = ('export/*', 'seed_*/export/model', 'encoder', 'model')


@dataclasses.dataclass
class Progress:
    """What a resumed run must know beyond its arrays and its data iterator.

    Attributes:
      best_loss, best_step: the lowest validation loss so far and where it was.
      epochs_without_gain: counted towards early stopping.
      loss_sum, loss_count: training losses of the epoch under way.
      seconds, timed_steps: time spent on steps and how many those were, compilation left out.
      last: the metrics of the last validation.
    """

    best_loss: float = math.inf
    best_step: int = 0
    epochs_without_gain: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    timed_steps: int = 0
    last: dict = dataclasses.field(default_factory=dict)

    def speed(self, batch_size: int) -> float:
        """Examples a second."""
        return self.timed_steps * batch_size / max(self.seconds, 1e-9)

    def card(self, batch_size: int) -> dict[str, Any]:
        """What the card of an export tells of the training."""
        timed = {'examples_per_second': self.speed(batch_size)} if self.timed_steps else {}
        return {
            'step': self.best_step,
            'validation_loss': self.best_loss,
            'epochs': self.last['epoch'],
            'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
            **timed,
        }


class Checkpoints:
    """The last three checkpoints of a run and the best, saved in the background; a context."""

    def __init__(self, directory: str | Path):
        policies = ocp.training.preservation_policies
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics['loss'],
            reverse=True,  # the lowest is the best
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        self._checkpointer = ocp.training.Checkpointer(
            absolute(as_path(directory)),
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(3), best]),
            cleanup_tmp_directories=True,  # left by a run that was killed while saving
        )
        self._saving = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._checkpointer.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        latest = self._checkpointer.latest
        return latest.step if latest else None

    def save(self, state: Any, iterator_state, progress: Progress, loss=None) -> None:
        """Saves everything; `loss` (validation) makes it a candidate for the best."""
        step = int(state.step)
        if step == self.latest_step:
            return
        self._saving = self._checkpointer.save_async(
            step,
            parallel.to_global(state),
            metrics=None if loss is None else {'loss': loss},
            custom_metadata={'iterator': iterator_state, 'progress': dataclasses.asdict(progress)},
            force=True,
        )

    def load(self, step: int, like: Any) -> tuple[Any, Any, Progress]:
        """Returns `(state, iterator state, progress)`; `like` is a state of the same structure."""
        if self._saving is not None:
            self._saving.result()
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            parallel.to_global(like),
        )
        state = parallel.to_local(self._checkpointer.load(step, abstract))
        saved = self._checkpointer.metadata(step).custom_metadata
        return state, saved['iterator'], Progress(**saved['progress'])


def export(
    directory: str | Path, variables: Any, parts: Sequence[str], card: Card | Mapping[str, Any]
) -> None:
    """Writes the named parts of a network's variables, with its card, or that as JSON."""
    chosen = {
        collection: {part: tree[part] for part in parts if part in tree}
        for collection, tree in variables.items()
    }
    ocp.save(
        absolute(as_path(directory)),
        parallel.to_global(chosen),
        overwrite=True,
        custom_metadata=card.to_dict() if isinstance(card, Card) else dict(card),
    )


def load_export(directory: str | Path, expected: str = _ANY) -> tuple[dict[str, Any], Card]:
    """Reads an export: `(variables as NumPy arrays, card)`.

    Args:
      expected: what should have been named, for the error where it is none.

    Raises:
      UserError: it is none, or damaged.
    """
    path = absolute(as_path(directory))
    if not path.exists():
        raise UserError(f'there is no folder {directory}; expected {expected}')
    try:
        metadata = _metadata(path)
        entries = metadata.custom_metadata or {}
    except ocp.errors.InvalidLayoutError:
        entries = {}
    except _DAMAGE:
        raise _damaged(directory) from None
    if 'network' not in entries:
        folder = as_path(directory)
        inside = (export for pattern in _INSIDE for export in sorted(folder.glob(pattern)))
        if example := next(inside, None):
            expected = f'a folder such as {example}'
        raise UserError(f'{directory} is no exported network; expected {expected}')
    card = Card.from_dict(entries, directory)
    if not isinstance(metadata.metadata, dict):
        raise _damaged(directory)
    try:
        return _load(path, metadata.metadata), card
    except _DAMAGE:
        raise _damaged(directory) from None


def load_variables(directory: str | Path) -> dict[str, Any]:
    """The network's variables, as NumPy arrays, in one of the `Checkpoints` of a training.

    Raises:
      UserError: it is none, or damaged.
    """
    path = absolute(as_path(directory))
    context = ocp.Context()
    context.pytree.loading.partial_load = True  # the optimiser's state, as large, stays there
    try:
        saved = _metadata(path).metadata
        with context:
            return _load(
                path, {name: saved[name] for name in ('params', 'batch_stats') if name in saved}
            )
    except (ocp.errors.InvalidLayoutError, *_DAMAGE):
        raise _damaged(directory) from None


def _metadata(path):
    """What Orbax tells of a checkpoint; an error of _DAMAGE, or Orbax's own, if it cannot."""
    if (path / 'state' / 'manifest.ocdbt').exists():
        _check_data(path / 'state')
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)  # what Orbax warns of is told in one sentence
    try:
        return ocp.metadata(path)
    finally:
        logging.set_verbosity(before)


def _load(path, metadata):
    """The arrays of a checkpoint that its metadata name, in NumPy.

    On no device: JAX would take most of the memory of an accelerator, of those too who want the
    weights for PyTorch.
    """
    abstract = jax.tree.map(
        lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), metadata
    )
    return ocp.load(path, abstract)


def _check_data(folder):
    """Reads all that TensorStore keeps here; an error of _DAMAGE if that cannot be done.

    Orbax reads the arrays side by side, and after the first that fails it leaves the others to
    fail in pages of tracebacks that nobody can catch.
    """
    base = f'{folder}/' if is_url(folder) else {'driver': 'file', 'path': f'{folder}/'}
    store = tensorstore.KvStore.open({'driver': 'ocdbt', 'base': base}).result()
    for reading in [store.read(key) for key in store.list().result()]:
        reading.result()


def _damaged(directory):
    return UserError(f'{directory} is damaged; copy or export it again')
