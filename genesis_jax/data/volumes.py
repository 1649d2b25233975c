"""Patches of scans that are stored whole: those fixed by the preparation, and others every epoch.

The preparation stores which patches its rule accepts (`data_prep/sampling/starts.py`), so that
nothing is read to be refused. Records are as those of fixed patches: `cube` int16 `[X, Y, Z, C]`,
`window`, `scan_id`, `patient`, `origin`, `spacing`, `fold`, and perhaps `valid`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from genesis_jax.errors import UserError
from genesis_jax.imaging.stored import StoredScan

SAMPLING = ('patches', 'volumes')
_OF_SCAN = ('window', 'scan_id', 'patient', 'spacing', 'fold')


class StoredPatches:
    """What both sources of patches share: the scans of a split.

    Args:
      records: of the split, one of each scan.
      folder: of the dataset.
      size: of a patch along x, y, z.
      arrays: of a scan, by the field of a patch's record.
    """

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        folder: Any,
        size: Sequence[int],
        arrays: Mapping[str, str],
    ):
        self._records = [dict(record) for record in records]
        self._scans = [
            StoredScan(folder / record['volume'].decode(), record['starts'])
            for record in self._records
        ]
        self._size, self._arrays = tuple(size), arrays

    def cut(self, scan: int, origin: Sequence[int]) -> dict[str, Any]:
        """The record of the patch of a scan that begins at this voxel."""
        record, stored = self._records[scan], self._scans[scan]
        patch = {name: record[name] for name in _OF_SCAN}
        patch['origin'] = np.asarray(origin, np.int32)
        for field, array in self._arrays.items():
            patch[field] = stored.part(array, origin, self._size)
        return patch


class FixedPatches(StoredPatches):
    """The patches that the preparation chose, as one random-access source, scan by scan."""

    def __init__(self, *of_stored: Any):
        super().__init__(*of_stored)
        self._places = [
            (scan, origin)
            for scan, record in enumerate(self._records)
            for origin in record['origins']
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.cut(*self._places[index])


class DrawnPatches(StoredPatches):
    """As many places for patches of each scan, where every epoch draws other ones."""

    def __init__(self, *of_stored: Any, per_scan: int):
        super().__init__(*of_stored)
        self._per_scan = per_scan

    def __len__(self) -> int:
        return len(self._scans) * self._per_scan

    def draw(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A patch for this place, each that the rule accepts being equally likely."""
        scan = index // self._per_scan
        stored = self._scans[scan]
        return self.cut(scan, stored.start(int(rng.integers(stored.count))))


def draws(source: Any) -> bool:
    """Whether a source, or what it is a view of, draws its records anew in every epoch."""
    return isinstance(getattr(source, 'source', source), DrawnPatches)


def open_splits(builder: Any, data: ConfigDict) -> tuple[Any, Any, tuple[int, ...]]:
    """`reading.open_splits` of a dataset of whole scans.

    Raises:
      UserError: the folder of the scans is missing.
    """
    folder, recipe = builder.data_path, builder.info.metadata['recipe']
    rule, arrays = recipe['rule'], {'cube': 'voxels'}
    if recipe.get('leave_out'):
        arrays['valid'] = 'valid'
    if not (folder / 'volumes').exists():
        raise UserError(
            f'{folder} has records of whole scans and no folder volumes; copy that, too, or '
            'prepare the dataset again'
        )
    train, validation = (
        (builder.as_data_source(split), folder, rule['size'], arrays)
        for split in ('train', 'validation')
    )
    drawn = data.sampling == 'volumes'
    count = data.patches_per_scan or rule['per_scan']
    return (
        DrawnPatches(*train, per_scan=count) if drawn else FixedPatches(*train),
        FixedPatches(*validation),  # the same in every epoch, and with either sampling
        (*rule['size'], builder.info.features['window'].shape[0]),
    )
