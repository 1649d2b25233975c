"""The card of a network: what an export tells of itself, in whatever format it travels.

Cards travel in files that anyone may edit: what decides an output is checked when they are read.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Self

from genesis_jax.card_rules import WHOLE, wrong
from genesis_jax.errors import UserError
from genesis_jax.provenance import Provenance, Source
from genesis_jax.topology import name_of

VERSION = 2  # rises when what reads earlier cards would misunderstand the next
EXAMPLES = {3: ('patch', 'patches'), 2: ('image', 'images')}  # one and several, by dimensions
_RENAMED = {'outputs': 'out_channels', 'statistics_momentum': 'batch_norm_momentum'}
_NATIVE = ('spacing', 'window', 'view')  # of which null tells something, where the data are known


class CardError(UserError):
    """What is wrong with the values of a card, in words."""


@dataclasses.dataclass(frozen=True, eq=False)
class Card(Mapping):
    """What is known of a network; what is unknown is None.

    Also a mapping of its JSON: `card['config']['model']`.

    Attributes:
      network: one of WHOLE; `parts`: those at hand.
      in_channels, out_channels: of the input, of the logits.
      config: of the training; of weights from elsewhere, of the network alone.
      task, classes: that a fine-tuned network tells.
      channels, modality, spacing, full_range, window: of the scans that it takes; see data_prep.
      cube_shape, record_shape, view: of an example `[X, Y(, Z), C]`, of the record that a view
        reads, the view.
      scans, folds, cubes, examples, patients: of the data, by split.
      trained_on: fingerprints of the patients in training and validation.
      seed, fold, step, epochs, validation_loss, baselines, device, examples_per_second,
        config_hash: of the training.
      provenance: what the network began with.
      source: the file of another program that it was before.
      assumed: names of options that such a file does not tell.
      pytorch: `epoch` and counters of a PyTorch file.
    """

    network: str
    parts: list[str]
    in_channels: int
    out_channels: int
    config: dict[str, Any]
    task: str | None = None
    classes: list[str] | None = None
    channels: list[str] | None = None
    modality: str | None = None
    spacing: list[float] | None = None
    full_range: bool | None = None
    window: list[float] | None = None
    cube_shape: list[int] | None = None
    record_shape: list[int] | None = None
    view: str | None = None
    scans: dict[str, int] | None = None
    folds: dict[str, list[int]] | None = None
    cubes: dict[str, int] | None = None
    examples: dict[str, int] | None = None
    patients: dict[str, int] | None = None
    trained_on: list[str] | None = None
    seed: int | None = None
    fold: int | None = None
    step: int | None = None
    epochs: int | None = None
    validation_loss: float | None = None
    baselines: dict[str, float] | None = None
    device: str | None = None
    examples_per_second: float | None = None
    config_hash: str | None = None
    provenance: Provenance | None = None
    source: Source | None = None
    assumed: list[str] | None = None
    pytorch: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if faults := list(wrong(self)):
            raise CardError('; '.join(faults))

    @classmethod
    def from_dict(cls, content: Any, source: object = 'the network') -> Self:
        """The card in JSON of this or an earlier version; `source` is for the error.

        Raises:
          UserError: an entry is missing, or none that a network has.
        """
        if isinstance(content, cls):
            return content
        try:
            return cls(**_fields(content))
        except CardError as error:
            raise UserError(
                f'the card of {source} is damaged: {error}; mend it, or export or convert the '
                'network again'
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without what is unknown."""
        known = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        about_data = _NATIVE if self.modality else ()
        known = {n: v for n, v in known.items() if v is not None or n in about_data}
        if self.source:
            known['source'] = {n: v for n, v in dataclasses.asdict(self.source).items() if v}
        if self.provenance:
            known |= {'provenance': self.provenance.to_dict(), 'start': [*self.provenance.lines]}
        # `outputs` is for who reads the earlier name
        return {'version': VERSION, **known, 'outputs': self.out_channels}

    def __getitem__(self, name: str) -> Any:
        return self.to_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    @property
    def model(self) -> dict[str, Any]:
        """The options of the network."""
        return self.config['model']

    @property
    def kind(self) -> str:
        """'unet' or 'classifier'."""
        return split(self.network)[0]

    @property
    def dimensions(self) -> int:
        """Spatial axes: 2 or 3."""
        return split(self.network)[1]

    @property
    def topology(self) -> str:
        """Its row in `topology.NETWORKS`; of an outside network (`module`) none is its."""
        return name_of(self.model, self.dimensions)

    @property
    def module(self) -> str | None:
        """Where an outside network is, such as 'my_lab.net:MyUNet'; None: it is one of ours."""
        return self.model.get('module')

    @property
    def dataset(self) -> str | None:
        """What it was trained on; None: unknown."""
        data = self.config.get('data')
        return data.get('name') if isinstance(data, dict) else None

    @property
    def objective(self) -> str | None:
        """What it was trained for, 'restoration' included; None: unknown."""
        return self.task or self.config.get('task')

    @property
    def output_classes(self) -> list[str]:
        """Of each output of a fine-tuned network: its class or finding."""
        return (self.classes or [])[-self.out_channels :]

    @property
    def of_images(self) -> bool:
        """Whether it was trained on 2D records, instead of on 3D ones that a view reads."""
        return len(self.record_shape or self.cube_shape or ()) == 3

    @property
    def is_foreign_resnet(self) -> bool:
        """Whether it is the ResNet-18 of another program, as a rule of ImageNet."""
        return bool(self.source) and self.parts == ['encoder'] and self.dimensions == 2

    def called(self) -> tuple[str, str, str]:
        """An example, several, and what they were taken from: `('patch', 'patches', 'scan')`."""
        source = 'scan' if self.dimensions == 3 or self.view else 'image'
        return *EXAMPLES[self.dimensions], source

    def origin(self, known: Mapping[str, Any] | tuple[str, ...] = ()) -> Provenance:
        """Of the weights that this card is of: their file, and what it does not tell.

        Args:
          known: names of options whose values were given instead.
        """
        names = [n for n in self.assumed or () if n in self.model and n not in known]
        return Provenance(source=self.source, assumed={n: self.model[n] for n in names})

    def check_whole(self, what: str) -> None:
        """Raises UserError if the network lacks a part that it computes with.

        Args:
          what: takes whole networks only, for the error.
        """
        missing = [part for part in WHOLE[self.network] if part not in self.parts]
        if missing:
            raise UserError(
                f'the source holds {", ".join(self.parts)} of a {self.network} and no '
                f'{" and no ".join(missing)}, and {what} takes the whole network; name the run, or '
                'its export encoder_decoder or model'
            )


def split(network: str) -> tuple[str, int]:
    """The kind and the dimensions in a network's name: `('unet', 3)`."""
    return network[:-2], int(network[-2])


def renamed(entries: Mapping[str, Any]) -> dict[str, Any]:
    """JSON whose entries have the names of today."""
    return {_RENAMED.get(name, name): value for name, value in entries.items()}


def _fields(content):
    """The arguments of a card in JSON; CardError if it is none."""
    if not isinstance(content, Mapping):
        raise CardError(f'it is {content!r}, expected entries by name')
    if content.get('version', 1) > VERSION:
        raise CardError(f'it is of version {content["version"]}, expected up to {VERSION}')
    entries = renamed(content)
    fields = {field.name: field.default for field in dataclasses.fields(Card)}
    required = [name for name, default in fields.items() if default is dataclasses.MISSING]
    if missing := [name for name in required if name not in entries]:
        raise CardError(f'it has no {", ".join(missing)}')
    known = {name: value for name, value in entries.items() if name in fields}
    if isinstance(config := known['config'], dict) and isinstance(config.get('model'), dict):
        known['config'] = config | {'model': renamed(config['model'])}
    if 'provenance' in content or 'start' in content:
        known['provenance'] = Provenance.from_dict(content)
    if isinstance(known.get('source'), Mapping):
        known['source'] = Source(**known['source'])
    return known
