"""One run, as pre-training and fine-tuning share it: resume, train, export the best state."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import ml_collections
import numpy as np

from genesis_jax import parallel
from genesis_jax.card import Card
from genesis_jax.checkpoints import Checkpoints, Progress, export
from genesis_jax.data import reading
from genesis_jax.runs import pictures
from genesis_jax.runs.logs import Log
from genesis_jax.training.loop import train
from genesis_jax.training.profile import Profile
from genesis_jax.training.state import TrainState
from genesis_jax.training.steps import Steps


class Picture(Protocol):
    """A picture of some validation examples, drawn while the split is validated."""

    name: str  # in TensorBoard

    def offer(self, batch: Mapping[str, np.ndarray], outputs: tuple[jax.Array, ...]) -> None:
        """Looks at a batch of the split and what `Steps.evaluate` shows of it."""

    def draw(self) -> np.ndarray | None:
        """The RGB image, once the whole split was offered; None: this process saw nothing."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What a pre-training and a fine-tuning decide each for itself.

    Attributes:
      train, validation: random-access sources of records.
      loaded: `{collection: {part: tree}}` of weights that were trained before.
      opening: `(state, resumed step or None)` to the lines that say what is about to run.
      picture: makes a `Picture`; None: the task has none.
      cards: the progress of the finished training to `{name of an export: its card}`.
    """

    steps: Steps
    steps_per_epoch: int
    train: Any
    validation: Any
    loaded: Mapping[str, Any]
    opening: Callable[[TrainState, int | None], Iterator[str]]
    picture: Callable[[], Picture] | None
    cards: Callable[[Progress], dict[str, Card]]


def run(config: ml_collections.ConfigDict, workdir: Path, job: Job) -> tuple[Progress, Any]:
    """Trains, or resumes, in a workdir that is open; returns its progress and best variables."""
    main = parallel.is_main_process()
    state = parallel.create(job.steps.init, np.int32(config.seed), job.loaded)
    progress = Progress()
    batches = reading.train_batches(job.train, config.batch_size, config.seed)

    with Log(workdir, main) as log, Checkpoints(workdir / 'checkpoints') as checkpoints:
        # --- Where an earlier run stopped, or the start.
        resumed = checkpoints.latest_step
        if resumed is not None:
            state, position, progress = checkpoints.load(resumed, like=state)
            batches.set_state(position)
        for line in job.opening(state, resumed):
            log.say(line)
        if progress.epochs_without_gain >= config.patience:
            count = config.patience
            log.say(f'stopped early, after {count} epochs without gain: raise config.patience')
        log.start(resumed or 0, config.epochs * job.steps_per_epoch)

        # --- Training.
        profile = Profile(workdir / 'profile', config.get('profile_steps') if main else None)
        if profile.is_past(resumed or 0):
            log.say(f'config.profile_steps traces nothing: step {resumed} is done already')
        validate = partial(_validate, config, job, log, progress)
        kept = (state, progress, batches, checkpoints, log)
        state = train(job.steps, validate, *kept, config, job.steps_per_epoch, profile)

        # --- The best state leaves the run.
        best, _, _ = checkpoints.load(progress.best_step, like=state)
        for name, card in job.cards(progress).items():
            export(workdir / 'export' / name, best.variables, card.parts, card)
    return progress, best.variables


def _validate(config, job, log, progress, state, epoch, step):
    """Loss and metrics over the validation split; now and then a picture."""
    picture = job.picture() if job.picture and _is_pictured(config, progress, epoch) else None
    totals = []
    for batch in reading.validation_batches(job.validation, config.batch_size):
        batch_totals, outputs = job.steps.evaluate(state, parallel.shard(batch))
        totals.append(batch_totals)
        if picture:
            picture.offer(batch, outputs)
    image = picture.draw() if picture else None
    if image is not None:
        log.picture(step, image, picture.name)
    summed = jax.tree.map(lambda *parts: sum(np.float64(part) for part in parts), *totals)
    return job.steps.conclude(summed)


def _is_pictured(config, progress, epoch):
    """Whether this epoch's validation leaves a picture: the first, some between, the last."""
    last = epoch == config.epochs or progress.epochs_without_gain + 1 >= config.patience
    due = epoch == 1 or epoch % config.picture_epochs == 0 or last
    return config.pictures and due and parallel.is_main_process() and pictures.available()
