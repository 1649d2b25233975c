"""What a preparation did: counted while it runs, printed at its end, stored in the metadata."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.build.records import dataset_folder
from data_prep.types import Job, Result, counted

_LISTED = 10  # scans with few patches, or remarks; the metadata has them all


@dataclass
class Summary:
    """Counts of one preparation; `skipped` maps what is shown of a scan to the reason.

    Attributes:
      config: of configs/, trains on the dataset.
      splits: in the order of their listing.
      task: decides what is counted per class: patches of it, or patches that hold it.
      classes: names by class index.
      parts, sources: what patches and scans are called.
      per_scan: patches wanted of a scan; `few` has those that gave fewer, by scan id.
      volumes: scans are stored whole.
      notes: lines on what was skipped before any scan was read.
      read: scans that could be used, with whatever they gave.
      scans, patients, folds, counts: by split, of those that gave patches; and of patches.
      per_class: patches by split, then by class name.
      tried, air, tissue: places looked at, and how many were refused.
      remarks: on what is probably not meant, with the number of scans.
      told: what else is to be known of a scan, by what is shown of it.
    """

    config: str
    splits: Sequence[str]
    task: str | None = None
    classes: Sequence[str] = ()
    parts: str = 'patches'
    sources: str = 'scans'
    per_scan: int = 1
    volumes: bool = False
    notes: Sequence[str] = ()
    read: int = 0
    scans: dict[str, int] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    folds: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    per_class: dict[str, dict[str, int]] = field(default_factory=dict)
    tried: int = 0
    air: int = 0
    tissue: int = 0
    few: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split in self.splits:
            self.scans[split] = self.patients[split] = self.counts[split] = 0
            self.folds[split] = []
            self.per_class[split] = dict.fromkeys(self.classes, 0)

    def skip(self, shown: str, reason: str) -> None:
        """Counts a scan that could not be used, one of whose files the reason may name."""
        self.skipped[shown] = _without_name(shown, reason)

    def count(self, job: Job, result: Result) -> None:
        """Counts a scan that was read, with whatever patches it gave."""
        split, number = job.split, result.count
        self.read += 1
        self.counts[split] += number
        if number:
            self.scans[split] += 1
            self.folds[split] = sorted({*self.folds[split], job.fold})
        if number < self.per_scan:
            self.few[job.scan_id] = number
        for index in (index for patch in result.patches for index in patch.held):
            self.per_class[split][self.classes[index]] += 1
        self.tried += result.tried
        self.air += result.air
        self.tissue += result.tissue
        if result.remark:
            self.remarks[result.remark] = self.remarks.get(result.remark, 0) + 1
        if result.told:
            self.told[job.shown] = [_without_name(job.shown, text) for text in result.told]

    @property
    def missing_splits(self) -> list[str]:
        """The splits without a patch; if there is one, no dataset is written."""
        return [split for split in self.splits if not self.counts[split]]

    def text(self, dataset: Path) -> str:
        """The closing summary of a preparation into the folder `dataset`."""
        return '\n'.join(
            [
                f'{self.sources.capitalize()} read: {self.read}, skipped: {len(self.skipped)}',
                *map(self._split_line, self.splits),
                *self._refused(),
                *self._few(),
                *self.notes,
                *(
                    f'{self.sources.capitalize()} that {text}: {count}'
                    for text, count in self.remarks.items()
                ),
                *self._told(),
                *(['Skipped:'] if self.skipped else []),
                *(f'  {shown} {why}' for shown, why in sorted(self.skipped.items())),
                *self._closing(dataset),
            ]
        )

    def _split_line(self, split: str) -> str:
        of = 'of' if self.task == 'classification' else 'with'
        classes = self.classes[self.task == 'segmentation' :]  # without the background
        held = ', '.join(f'{self.per_class[split][name]} {of} {name}' for name in classes)
        return (
            f'  {split}: {counted(self.counts[split], self.parts)}{f" ({held})" * bool(held)} from '
            f'{counted(self.scans[split], self.sources)} of '
            f'{counted(self.patients[split], "patients")}' + ', stored whole' * self.volumes
        )

    def _refused(self) -> list[str]:
        if not self.tried:
            return []
        air, tissue = (f'{count / self.tried:.1%}' for count in (self.air, self.tissue))
        refused = f'{self.parts.capitalize()} refused of {self.tried} looked at: {air} as air'
        return [refused + f', {tissue} as tissue' * bool(self.tissue)]

    def _few(self) -> list[str]:
        if not self.few:
            return []
        none = sum(count == 0 for count in self.few.values())
        few = f'with fewer than {self.per_scan} {self.parts}: {len(self.few)}, {none} without any'
        if self.per_scan == 1:
            few = f'without {self.parts}: {none}'
        lines = [f'  {scan_id}: {count}' for scan_id, count in sorted(self.few.items())]
        return [f'{self.sources.capitalize()} {few}', *_first(lines)]

    def _told(self) -> list[str]:
        lines = [f'  {shown} {text}' for shown, told in sorted(self.told.items()) for text in told]
        return ['To be looked at:', *_first(lines)] if lines else []

    def _closing(self, dataset: Path) -> list[str]:
        if self.missing_splits == list(self.splits):
            return [f'No {self.parts} are left, so no dataset was written.']
        if self.missing_splits:
            return [
                f'The {self.missing_splits[0]} split has no {self.parts}, because its '
                f'{self.sources} were skipped or gave none, so no dataset was written; correct '
                f'those listed, add {self.sources} or choose another --seed'
            ]
        data_dir, name = dataset.parents[1], dataset.parent.name
        written = f'Dataset: {dataset} (this summary: its metadata.json)'
        whole = dataset_folder(data_dir, f'{name}_cases')
        if whole.exists():
            written += f'; whole scans for the evaluation: {whole}'
        command = ['python', 'main.py', f'--config=configs/{self.config}.py']
        command += [f'--config.data.dir={data_dir}']
        command += [] if name == self.config else [f'--config.data.name={name}']
        command += ['--config.data.sampling=volumes'] if self.volumes else []
        return [written, f'Next: {shlex.join([*command, f"--workdir=runs/{name}"])}']


def _without_name(shown: str, text: str) -> str:
    """A clause on the one file that `shown` names, without naming it again."""
    return text.removeprefix(f'has the file {shown.rpartition("/")[2]}, which ')


def _first(lines: Sequence[str]) -> list[str]:
    more = [f'  and {len(lines) - _LISTED} more'] if len(lines) > _LISTED else []
    return [*lines[:_LISTED], *more]
