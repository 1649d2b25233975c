"""What a preparation did: counted while it runs, printed at its end, stored in the metadata."""

from dataclasses import dataclass, field
from pathlib import Path

from data_prep.cubes import Cubes
from data_prep.records import SPLITS
from data_prep.volumes import Scan

_LISTED = 10  # scans with few cubes; the metadata has them all


@dataclass
class Summary:
    """Counts of one preparation; `skipped` maps files to reasons, `few` scan ids to cubes."""

    per_scan: int
    read: int = 0
    cubes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    tried: int = 0
    air: int = 0
    tissue: int = 0
    few: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, scan: Scan, reason: str) -> None:
        """Counts a scan that could not be used."""
        self.skipped[scan.shown] = reason

    def count(self, split: str, scan_id: str, cubes: Cubes) -> None:
        """Counts a scan that was read, with whatever cubes it gave."""
        found = len(cubes.origins)
        self.read += 1
        self.cubes[split] += found
        self.tried += cubes.tried
        self.air += cubes.air
        self.tissue += cubes.tissue
        if found < self.per_scan:
            self.few[scan_id] = found

    @property
    def is_empty(self) -> bool:
        """Whether no cube was found, so that no dataset was written."""
        return not any(self.cubes.values())

    def text(self, dataset: Path) -> str:
        """The closing summary of a preparation into the folder `dataset`."""
        closing = self._closing(dataset)
        return '\n'.join([*self._counts(), *self._few(), *self._skipped(), *closing])

    def _counts(self) -> list[str]:
        air, tissue = (count / max(self.tried, 1) for count in (self.air, self.tissue))
        cubes = ', '.join(f'{split} {count}' for split, count in self.cubes.items())
        return [
            f'Scans read: {self.read}, skipped: {len(self.skipped)}',
            f'Cubes: {cubes}',
            f'Cubes refused of {self.tried} looked at: {air:.1%} as air, {tissue:.1%} as tissue',
        ]

    def _few(self) -> list[str]:
        if not self.few:
            return []
        none = sum(count == 0 for count in self.few.values())
        listed = sorted(self.few.items())[:_LISTED]
        more = [f'  and {len(self.few) - _LISTED} more'] if len(self.few) > _LISTED else []
        return [
            f'Scans with fewer than {self.per_scan} cubes: {len(self.few)}, {none} of them without',
            *(f'  {scan_id}: {count}' for scan_id, count in listed),
            *more,
        ]

    def _skipped(self) -> list[str]:
        if not self.skipped:
            return []
        return ['Skipped:', *(f'  {file} {why}' for file, why in sorted(self.skipped.items()))]

    def _closing(self, dataset: Path) -> list[str]:
        if self.is_empty:
            return ['No cubes are left, so no dataset was written.']
        empty = [
            f'The {split} split has no cubes, because its scans were skipped or gave none, so this '
            'dataset cannot train: delete it and prepare it again without the scans listed, with '
            'more scans or with another --seed'
            for split, count in self.cubes.items()
            if not count
        ]
        data_dir, name = dataset.parents[1], dataset.parent.name
        written = f'Dataset: {dataset} (this summary: its metadata.json)'
        if empty:
            return [written, *empty]
        return [
            written,
            f'Next: python main.py --config=configs/genesis_ct.py --config.data.dir={data_dir} '
            f'--config.data.name={name} --workdir=runs/{name}',
        ]
