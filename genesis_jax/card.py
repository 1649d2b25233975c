"""The card of a network: what an export tells of itself, in whatever format it travels.

Cards travel in files that anyone may edit: what decides an output is checked when they are read.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

from genesis_jax.data.views import VIEWS
from genesis_jax.errors import UserError
from genesis_jax.provenance import Provenance, Source

VERSION = 2  # rises when what reads earlier cards would misunderstand the next
PARTS = ('encoder', 'decoder', 'hidden', 'head')
WHOLE = {  # what each network computes with
    'unet3d': ('encoder', 'decoder', 'head'),
    'classifier3d': ('encoder', 'head'),
    'unet2d': ('encoder', 'decoder', 'head'),
    'classifier2d': ('encoder', 'head'),
}
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

    def __post_init__(self):
        if wrong := list(_wrong(self)):
            raise CardError('; '.join(wrong))

    @classmethod
    def from_dict(cls, found: Any, source: object = 'the network') -> Self:
        """The card in JSON of this or an earlier version; `source` is for the error.

        Raises:
          UserError: an entry is missing, or none that a network has.
        """
        if isinstance(found, cls):
            return found
        try:
            return cls(**_fields(found))
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
    def dataset(self) -> str | None:
        """What it was trained on; None: unknown."""
        data = self.config.get('data')
        return data.get('name') if isinstance(data, dict) else None

    @property
    def objective(self) -> str | None:
        """What it was trained for, 'restoration' included; None: unknown."""
        return self.task or self.config.get('task')

    @property
    def of_images(self) -> bool:
        """Whether it was trained on 2D records, instead of on 3D ones that a view reads."""
        return len(self.record_shape or self.cube_shape or ()) == 3

    @property
    def is_foreign_resnet(self) -> bool:
        """Whether it is the ResNet-18 of another program, as a rule of ImageNet."""
        return bool(self.source) and self.parts == ['encoder'] and self.dimensions == 2

    def called(self) -> tuple[str, str]:
        """What an example is called, and what it was taken from: `('cube', 'scan')`."""
        if self.dimensions == 3:
            return 'cube', 'scan'
        return 'image', 'scan' if self.view else 'image'

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


def renamed(found: Mapping[str, Any]) -> dict[str, Any]:
    """JSON whose entries have the names of today."""
    return {_RENAMED.get(name, name): value for name, value in found.items()}


def _fields(found):
    """The arguments of a card in JSON; CardError if it is none."""
    if not isinstance(found, Mapping):
        raise CardError(f'it is {found!r}, expected entries by name')
    if found.get('version', 1) > VERSION:
        raise CardError(f'it is of version {found["version"]}, expected up to {VERSION}')
    entries = renamed(found)
    fields = {field.name: field.default for field in dataclasses.fields(Card)}
    required = [name for name, default in fields.items() if default is dataclasses.MISSING]
    if missing := [name for name in required if name not in entries]:
        raise CardError(f'it has no {", ".join(missing)}')
    known = {name: value for name, value in entries.items() if name in fields}
    if isinstance(config := known['config'], dict) and isinstance(config.get('model'), dict):
        known['config'] = config | {'model': renamed(config['model'])}
    if 'provenance' in found or 'start' in found:
        known['provenance'] = Provenance.from_dict(found)
    if isinstance(known.get('source'), Mapping):
        known['source'] = Source(**known['source'])
    return known


def _wrong(card):
    """In words, every value that no card of a network has."""
    model = card.config.get('model') if isinstance(card.config, dict) else None
    if not isinstance(model, dict) or 'width' not in model:
        yield f'config is {card.config!r}, expected that of a network, with model.width'
        return
    entries = {field.name: getattr(card, field.name) for field in dataclasses.fields(card)}
    rules = _OF_CARD | _of_arrays(2 if str(card.network).endswith('2d') else 3)
    for values, of_values in ((entries, rules), (model, _OF_MODEL)):
        for name, (fits, expected) in of_values.items():
            if name in values and not fits(values[name]):
                yield f'{name} is {values[name]!r}, expected {expected}'


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_list(value, fits):
    return isinstance(value, (list, tuple)) and all(map(fits, value))


def _one_of(*values):
    shown = ('null' if value is None else value for value in values)
    return lambda value: value in values, f'one of {", ".join(shown)}'


def _optional(fits, expected):
    return lambda value: value is None or fits(value), expected


def _of_arrays(dimensions):
    """Of the entries that tell of arrays with so many axes."""
    # (slices of scans keep the spacing of the scans)
    numbers, ranks = ('three', (3,)) if dimensions == 3 else ('two or three', (2, 3))
    size, axes = ('four', 'X, Y, Z') if dimensions == 3 else ('three', 'X, Y')
    return {
        'cube_shape': _optional(
            lambda v: _is_list(v, _is_count) and len(v) == dimensions + 1,
            f'{size} whole numbers: {axes} and channels',
        ),
        'spacing': _optional(
            lambda v: _is_list(v, lambda n: _is_number(n) and n > 0) and len(v) in ranks,
            f'{numbers} positive numbers, or null',
        ),
    }


_COUNT = (_is_count, 'a whole number from 1')
_TEXTS = _optional(lambda v: _is_list(v, lambda n: isinstance(n, str)), 'a list of names')
# What an entry must be, and how that is called.
_OF_CARD = {
    'network': _one_of(*WHOLE),
    'parts': (lambda v: _is_list(v, PARTS.__contains__), f'some of {", ".join(PARTS)}'),
    'in_channels': _COUNT,
    'out_channels': _COUNT,
    'window': _optional(
        lambda v: _is_list(v, _is_number) and len(v) == 2 and v[0] < v[1],
        'two rising numbers, or null',
    ),
    'view': _one_of(None, *VIEWS),
    'classes': _TEXTS,
    'channels': _TEXTS,
    'assumed': _TEXTS,
    'source': _optional(lambda v: isinstance(v, Source), 'names with values'),
    'pytorch': _optional(lambda v: isinstance(v, dict), 'names with values'),
}
_OF_MODEL = {
    'width': _COUNT,
    'hidden': (lambda v: _is_count(v, 0), 'a whole number from 0'),
    'upsample': _one_of('transpose', 'nearest'),
    'epsilon': (lambda v: _is_number(v) and v >= 0, 'a number from 0'),
    'batch_norm_momentum': (lambda v: _is_number(v) and 0 <= v <= 1, 'a number from 0 to 1'),
    'batch_statistics': _one_of('synchronised', 'official'),
}
