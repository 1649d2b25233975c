"""Where the weights of a network came from: fields, and the sentences that are made from them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

_PARTS_OF_A_RUN = {'export', 'checkpoints', 'best', 'encoder', 'encoder_decoder', 'model'}


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of another program.

    Attributes:
      file: its name.
      sha256: its checksum.
      format: one of `convert.FORMATS`.
      left_out: names of its arrays that no network here has.
    """

    file: str
    sha256: str = ''
    format: str = ''
    left_out: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What a network began with; what is unknown is None or empty.

    Attributes:
      init: what the user named; 'scratch': nothing.
      folder: the file or folder that was read.
      format: of it, one of `convert.FORMATS`.
      source: the file of another program that these weights were before.
      task, dataset, modality: what they were trained for.
      corruptions: what they were trained to undo, kinds of `transforms.registry`; `['none']` of an
        autoencoder.
      assumed: options that the file does not tell, and the values taken.
      loaded, parameters: names of the loaded parts, and how many numbers these have.
      unused: parts that are there and were not loaded.
      absent: parts that were asked for and are not there.
      new: parts that are randomly initialised.
      channels: of the input, there and here, if they differ.
      heads: output channels of a head that restores, there and here, if they differ.
      views: what the channels show (`data.views`), there and here, if that differs.
      before: what the loaded weights began with, unless that was nothing.
      told: the sentences of an earlier version, which kept no fields.
    """

    init: str | None = None
    folder: str = ''
    format: str = ''
    source: Source | None = None
    task: str | None = None
    dataset: str | None = None
    modality: str | None = None
    corruptions: list[str] = dataclasses.field(default_factory=list)
    assumed: dict[str, Any] = dataclasses.field(default_factory=dict)
    loaded: list[str] = dataclasses.field(default_factory=list)
    parameters: int = 0
    unused: list[str] = dataclasses.field(default_factory=list)
    absent: list[str] = dataclasses.field(default_factory=list)
    new: list[str] = dataclasses.field(default_factory=list)
    channels: list[int] = dataclasses.field(default_factory=list)
    heads: list[int] = dataclasses.field(default_factory=list)
    views: list[str] = dataclasses.field(default_factory=list)
    before: Self | None = None
    told: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """That of a card or of a run's results, whose earlier versions have sentences only."""
        fields = {field.name for field in dataclasses.fields(cls)}
        known = {n: v for n, v in (content.get('provenance') or {}).items() if n in fields}
        if 'source' in known:
            known['source'] = Source(**known['source'])
        if 'before' in known:
            known['before'] = cls.from_dict({'provenance': known['before']})
        if not known:
            known = {'init': content.get('init'), 'told': list(content.get('start') or ())}
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without what is unknown."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value}
        return known | ({'before': self.before.to_dict()} if self.before else {})

    def public(self) -> Self:
        """Without the folders of a machine, which earlier sentences have, too."""
        init = self.init and short_name(self.init)
        before = self.before and self.before.public()
        folder = short_name(self.folder)
        return dataclasses.replace(self, init=init, folder=folder, before=before, told=[])

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is known, in words."""
        return tuple(self.told) or tuple(self._lines())

    def _lines(self):
        if self.init == 'scratch':
            yield f'from scratch: {", ".join(self.new)} are randomly initialised'
            return
        yield from self._origin()
        if self.before:
            yield from self.before._as_before()
        if self.source and self.source.left_out:
            yield f'skipped: {", ".join(self.source.left_out)}'
        if self.assumed:
            values = ', '.join(f'{name}={value}' for name, value in self.assumed.items())
            file = self.source.file if self.source else 'the file'
            yield f'assumed, as {file} has no card: {values}'
        if self.channels:
            there, here = self.channels
            how = 'summed' if here == 1 else 'repeated and rescaled'
            yield f'first kernel: {there} input channels there, {here} here: {how}'
        if self.heads:
            there, here = self.heads
            yield f'head: {there} output channels there, {here} here: starts anew'
        if self.views:
            there, here = self.views
            yield f'channels: as of config.data.view={there} there, {here} here'
        if self.absent:
            yield f'a ResNet-18 has no {self.absent[0]}, which starts anew'
        if self.unused:
            yield f'not loaded from there: {", ".join(self.unused)}'
        if self.new:
            yield f'randomly initialised: {", ".join(self.new)}'

    def _origin(self):
        """Which weights they are."""
        if self.folder:
            count = f' ({self.parameters:,} parameters)' if self.parameters else ''
            *most, last = self.loaded or ['']
            parts = f'{", ".join(most)} and {last}' if most else last
            yield f'from {self.folder}: {parts}{count}'
        if self.format not in ('', 'orbax'):
            known = f', sha256 {self.source.sha256[:12]}' if self.source else ''
            yield f'converted from {self.format}{known}'
        if self.task == 'restoration' and self.dataset:
            kind = f' ({self.modality})' if self.modality else ''
            after = f' after {", ".join(self.corruptions)}' * (self.corruptions != ['none'])
            yield f'pre-trained to restore {self.dataset}{kind}{after if self.corruptions else ""}'
        elif self.task and self.dataset:
            yield f'trained for {self.task} of {self.dataset}'

    def _as_before(self):
        """Of weights from which others began, and of those before them."""
        if known := self.told or [*self._origin()]:
            yield f'which began {", ".join(known)}'
        if self.before:
            yield from self.before._as_before()


def short_name(init: str) -> str:
    """What a start is called: `scratch`, or the run that a path leads to."""
    parts = [part for part in Path(init).parts if part not in _PARTS_OF_A_RUN]
    return parts[-1] if parts else init
