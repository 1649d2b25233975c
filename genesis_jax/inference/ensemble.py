"""What predicts: one fine-tuned network or the mean of several, of mirror images too if asked."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genesis_jax.card import Card
from genesis_jax.errors import UserError
from genesis_jax.inference.sliding import answers, on_devices
from genesis_jax.models import from_card
from genesis_jax.runs.cards import card_hash, check_agreement, load_model, runs_in


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Fine-tuned networks whose probabilities are averaged; as a rule it is one.

    Attributes:
      predict: maps batches to mean probabilities (`sliding.on_devices`).
      names: the run or the export of each member.
      cards: of each member; they agree in what the network takes and tells.
      axes: of each member, the axes along which its mirror images are averaged.
    """

    predict: Callable[[Any], Any]
    names: list[str]
    cards: list[Card]
    axes: list[tuple[int, ...]]

    @property
    def card(self) -> Card:
        """The first member's, for what all agree in."""
        return self.cards[0]

    @property
    def called(self) -> str:
        """What a message calls the whole."""
        return ','.join(self.names)

    @property
    def lines(self) -> list[str]:
        """What the closing summary of a prediction says of it; nothing of one plain network."""
        lines = []
        if len(self.names) > 1:
            lines.append(f'Mean of {len(self.names)} networks: {", ".join(self.names)}')
        if any(self.axes):
            own = sorted({'-'.join(map(str, axes)) or 'none' for axes in self.axes})
            lines.append(f'Mean over mirror images along axes {", ".join(own)}')
        return lines

    @property
    def members(self) -> list[dict[str, Any]]:
        """As JSON, for `results.json` of an evaluation."""
        described = zip(self.names, self.cards, self.axes, strict=True)
        return [
            {'model': name, 'card_hash': card_hash(card), 'mirrored_axes': list(axes)}
            for name, card, axes in described
        ]


def load(folders: Sequence[Path], mirror: bool | None = None) -> Ensemble:
    """The networks that a user names: each a run or its export, or a workdir, for all its runs.

    Weights go to the devices one network after the other, so that the host holds one at a time;
    members of equal networks share one compiled program.

    Args:
      mirror: average over mirror images too; None: as in the test of each member's training.

    Raises:
      UserError: one is no fine-tuned network, has not ended or was named twice; two disagree; or
        mirror images are asked of a network that learned from none.
    """
    runs = [run for folder in folders for run in runs_in(folder)]
    names = [str(run) for run in runs]
    places = [_place(run) for run in runs]
    if twice := [name for n, name in enumerate(names) if places[n] in places[:n]]:
        raise UserError(f'--model names {twice[0]} twice; name each network once')
    cards: list[Card] = []
    axes: list[tuple[int, ...]] = []

    def checked():
        for name, run in zip(names, runs, strict=True):
            variables, card = load_model(run)
            if cards:
                check_agreement((names[0], cards[0]), (name, card))
            cards.append(card)
            axes.append(mirrored_axes(card, name, mirror))
            yield _answers(card, axes[-1]), variables

    return Ensemble(on_devices(checked()), names, cards, axes)


def _place(run):
    """The run of a run or of its export, however it is written."""
    path = run.resolve() if isinstance(run, Path) else run
    return path.parent.parent if path.parts[-2:] == ('export', 'model') else path


def predictor(variables: Any, card: Card) -> Callable[[Any], Any]:
    """`predict` of one network, with the mirror images that its config asks for."""
    return on_devices([(_answers(card, mirrored_axes(card)), variables)])


def mirrored_axes(
    card: Card, name: str = 'the network', mirror: bool | None = None
) -> tuple[int, ...]:
    """The spatial axes along which mirror images are averaged: those that the training mirrored.

    Args:
      mirror: whether to; None: as `config.mirror` of the training says.

    Raises:
      UserError: the network learned from no mirror images, or does not tell.
    """
    if not (card.config.get('mirror', False) if mirror is None else mirror):
        return ()
    augment = card.config.get('augment') or {}
    if not augment.get('flip_probability'):
        why = 'learned from no mirror images' if augment else 'does not tell its augmentation'
        raise UserError(f'{name} {why}, so they are nothing that it knows; leave out --mirror')
    axes = augment.get('flip_axes')
    return tuple(range(card.dimensions)) if axes is None else tuple(sorted(set(axes)))


def _answers(card, axes):
    return answers(from_card(card), card.task, axes)
