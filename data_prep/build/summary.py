"""What a preparation did: counted while it runs, printed at its end, stored in the metadata."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.build.records import dataset_folder
from data_prep.types import SPLITS, Cubes, listed
from genesis_jax.imaging.volumes import Scan

_LISTED = 10  # scans with few cubes; the metadata has them all


@dataclass
class Summary:
    """Counts of one preparation; `skipped` maps files to reasons, `few` scan ids to cubes.

    `scans` and `folds` are those that gave cubes, by split.

    Attributes:
      sources, parts: what scans and cubes are called.
      config: of configs/, trains on the dataset.
      notes: lines on what was left out before any scan was read.
      remarks: on what is probably not meant, with the number of scans.
    """

    per_scan: int
    sources: str = 'scans'
    parts: str = 'cubes'
    config: str = 'genesis_ct'
    notes: list[str] = field(default_factory=list)
    read: int = 0
    cubes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    scans: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    folds: dict[str, list[int]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    tried: int = 0
    air: int = 0
    tissue: int = 0
    few: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    def skip(self, scan: Scan, reason: str) -> None:
        """Counts a scan that could not be used."""
        self.skipped[scan.shown] = reason

    def count(self, split: str, fold: int, scan_id: str, cubes: Cubes) -> None:
        """Counts a scan that was read, with whatever cubes it gave."""
        found = len(cubes.origins)
        self.read += 1
        self.cubes[split] += found
        if found:
            self.scans[split] += 1
            self.folds[split] = sorted({*self.folds[split], fold})
        self.tried += cubes.tried
        self.air += cubes.air
        self.tissue += cubes.tissue
        if found < self.per_scan:
            self.few[scan_id] = found

    @property
    def missing_splits(self) -> list[str]:
        """The splits without a cube; if there is one, no dataset is written."""
        return [split for split, count in self.cubes.items() if not count]

    def text(self, dataset: Path) -> str:
        """The closing summary of a preparation into the folder `dataset`."""
        closing = self._closing(dataset)
        skipped = _skipped_lines(self.skipped)
        notes = [*self.notes, *_remark_lines(self.remarks, self.sources)]
        return '\n'.join([*self._counts(), *self._few(), *notes, *skipped, *closing])

    def _counts(self) -> list[str]:
        air, tissue = (count / max(self.tried, 1) for count in (self.air, self.tissue))
        cubes = ', '.join(f'{split} {count}' for split, count in self.cubes.items())
        parts = self.parts.capitalize()
        refused = f'{parts} refused of {self.tried} looked at: {air:.1%} as air'
        refused += f', {tissue:.1%} as tissue' * (self.parts == 'cubes')
        return [
            f'{self.sources.capitalize()} read: {self.read}, skipped: {len(self.skipped)}',
            f'{parts}: {cubes}',
            *([refused] if self.tried else []),
        ]

    def _few(self) -> list[str]:
        if not self.few:
            return []
        none = sum(count == 0 for count in self.few.values())
        first = sorted(self.few.items())[:_LISTED]
        more = [f'  and {len(self.few) - _LISTED} more'] if len(self.few) > _LISTED else []
        few = (
            f'with fewer than {self.per_scan} {self.parts}: {len(self.few)}, {none} of them without'
        )
        if self.per_scan == 1:
            few = f'without {self.parts}: {none}'
        return [
            f'{self.sources.capitalize()} {few}',
            *(f'  {scan_id}: {count}' for scan_id, count in first),
            *more,
        ]

    def _closing(self, dataset: Path) -> list[str]:
        if len(self.missing_splits) == len(self.cubes):
            return [f'No {self.parts} are left, so no dataset was written.']
        if self.missing_splits:
            return [
                f'The {self.missing_splits[0]} split has no {self.parts}, because its {self.sources} were '
                'skipped or gave none, so no dataset was written; correct those listed, add '
                f'{self.sources} or choose another --seed'
            ]
        data_dir, name = dataset.parents[1], dataset.parent.name
        written = f'Dataset: {dataset} (this summary: its metadata.json)'
        return [
            written,
            f'Next: python main.py --config=configs/{self.config}.py --config.data.dir={data_dir} '
            f'--config.data.name={name} --workdir=runs/{name}',
        ]


@dataclass
class LabelledSummary:
    """Counts of one labelled preparation; `skipped` maps cases to reasons.

    Attributes:
      config: of configs/, trains on the dataset.
      task: decides what is counted per class: records of it, or records that hold it.
      classes: names by class index.
      splits: in the order of their listing.
      notes: lines on what was left out before any case was read.
      cases, patients, records: by split; patients are those with records.
      per_class: records by split, then by class name.
      without: ids of cases that were read and gave no record.
      remarks: on what is probably not meant, with the number of cases.
    """

    config: str
    task: str
    classes: list[str]
    splits: list[str]
    notes: list[str] = field(default_factory=list)
    cases: dict[str, int] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    per_class: dict[str, dict[str, int]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        for counts in (self.cases, self.patients, self.records):
            counts.update(dict.fromkeys(self.splits, 0))
        self.per_class.update({split: dict.fromkeys(self.classes, 0) for split in self.splits})

    def skip(self, shown: str, reason: str) -> None:
        """Counts a case that could not be used, one of whose files the reason may name."""
        own = f'has the file {shown.rpartition("/")[2]}, which '  # the one that `shown` names
        self.skipped[shown] = reason.removeprefix(own)

    def count(self, split: str, case_id: str, held: Sequence[Sequence[int]]) -> None:
        """Counts a case that was read; per record, the class indices it is of or holds."""
        self.cases[split] += 1
        self.records[split] += len(held)
        if not held:
            self.without.append(case_id)
        for index in (index for indices in held for index in indices):
            self.per_class[split][self.classes[index]] += 1

    @property
    def missing_splits(self) -> list[str]:
        """The splits without a record; if there is one, no dataset is written."""
        return [split for split in self.splits if not self.records[split]]

    def text(self, dataset: Path) -> str:
        """The closing summary of a preparation into the folder `dataset`."""
        return '\n'.join(
            [
                f'Cases read: {sum(self.cases.values())}, skipped: {len(self.skipped)}',
                *(self._split_line(split) for split in self.splits),
                *self._without(),
                *self.notes,
                *_remark_lines(self.remarks, 'cases'),
                *_skipped_lines(self.skipped),
                *self._closing(dataset),
            ]
        )

    def _split_line(self, split: str) -> str:
        of = 'of' if self.task == 'classification' else 'with'
        shown = self.classes[self.task == 'segmentation' :]  # without the background
        counts = ', '.join(f'{self.per_class[split][name]} {of} {name}' for name in shown)
        return (
            f'  {split}: {self.records[split]} records ({counts}) from {self.cases[split]} cases '
            f'of {self.patients[split]} patients'
        )

    def _without(self) -> list[str]:
        if not self.without:
            return []
        return [f'Cases without a record: {listed(sorted(self.without))}']

    def _closing(self, dataset: Path) -> list[str]:
        if self.missing_splits == self.splits:
            return ['No records are left, so no dataset was written.']
        if self.missing_splits:
            return [
                f'The split {self.missing_splits[0]} has no records, because its cases were skipped or '
                'gave none, so no dataset was written; correct those listed, or add cases'
            ]
        data_dir, name = dataset.parents[1], dataset.parent.name
        written = f'Dataset: {dataset} (this summary: its metadata.json)'
        if cases := [path for path in [dataset_folder(data_dir, f'{name}_cases')] if path.exists()]:
            written += f'; whole scans for the evaluation: {cases[0]}'
        named = '' if name == self.config else f' --config.data.name={name}'
        return [
            written,
            f'Next: python main.py --config=configs/{self.config}.py '
            f'--config.data.dir={data_dir}{named} --workdir=runs/{name}',
        ]


def remark(remarks: dict[str, int], text: str) -> None:
    """Counts a remark, if there is one."""
    if text:
        remarks[text] = remarks.get(text, 0) + 1


def _remark_lines(remarks: dict[str, int], what: str) -> list[str]:
    return [f'{count} {what} {text}' for text, count in remarks.items()]


def _skipped_lines(skipped: dict[str, str]) -> list[str]:
    if not skipped:
        return []
    return ['Skipped:', *(f'  {file} {why}' for file, why in sorted(skipped.items()))]
