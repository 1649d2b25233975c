"""Whole scans on disk, of which a part is read without the rest: Zarr 3, through TensorStore.

A scan is a folder of arrays, each one file of compressed blocks (a Zarr shard), which other readers
of Zarr open, too: `voxels` int16 [X, Y, Z, C], `starts` bool [X, Y, Z], true at the first voxel of
each patch that may be drawn, and where parts are left out `valid` uint8 [X, Y, Z, 1].
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorstore

BLOCK = (32, 32, 16)  # voxels along x, y, z that are read together
# Remembers blocks, and where they lie in their files, of all scans.
_CONTEXT = tensorstore.Context({'cache_pool': {'total_bytes_limit': 64 << 20}})


def write_array(folder: Path, name: str, array: np.ndarray, blocks: Sequence[int]) -> None:
    """Stores an array as `folder/name`, compressed; blocks of its lowest value take no space."""
    sides = zip(array.shape, blocks, strict=True)
    codec = {'cname': 'zstd', 'clevel': 3, 'shuffle': 'shuffle', 'typesize': array.itemsize}
    inner = [{'name': 'bytes'}, {'name': 'blosc', 'configuration': codec | {'blocksize': 0}}]
    sharding = {'chunk_shape': list(blocks), 'codecs': inner}
    metadata = {
        'shape': array.shape,
        'data_type': array.dtype.name,
        'fill_value': array.min().item(),
        'chunk_grid': {
            'name': 'regular',
            'configuration': {'chunk_shape': [-(-side // block) * block for side, block in sides]},
        },
        'codecs': [{'name': 'sharding_indexed', 'configuration': sharding}],
    }
    spec = {'driver': 'zarr3', 'kvstore': _place(folder / name), 'metadata': metadata}
    tensorstore.open(spec, create=True, delete_existing=True).result().write(array).result()


class StoredScan:
    """The arrays of a scan's folder, opened when they are first read.

    Args:
      folder: of the scan; may be of a bucket.
      starts: int64 [Z], how many patches may start in each slice.
    """

    def __init__(self, folder: Path, starts: np.ndarray):
        self._folder = folder
        self._arrays: dict[str, tensorstore.TensorStore] = {}
        self._ends = np.cumsum(starts)

    @property
    def count(self) -> int:
        """How many patches it has."""
        return int(self._ends[-1])

    def start(self, number: int) -> tuple[int, int, int]:
        """The first voxel of a patch, by its number below `count`; reads one slice of `starts`."""
        z = int(np.searchsorted(self._ends, number, side='right'))
        plane = self._array('starts')[:, :, z].read().result()
        before = self._ends[z - 1] if z else 0
        x, y = np.unravel_index(np.flatnonzero(plane)[number - before], plane.shape)
        return int(x), int(y), z

    def part(self, name: str, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """The region of an array that begins at `start`."""
        region = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        return self._array(name)[region].read().result()

    def _array(self, name: str) -> tensorstore.TensorStore:
        if name not in self._arrays:
            spec = {'driver': 'zarr3', 'kvstore': _place(self._folder / name)}
            opened = tensorstore.open(spec, read=True, context=_CONTEXT, recheck_cached_data=False)
            self._arrays[name] = opened.result()
        return self._arrays[name]


def _place(folder: Path) -> str | dict[str, str]:
    """Where TensorStore finds a folder: a URL as it is."""
    url = '://' in str(folder)
    return f'{folder}/' if url else {'driver': 'file', 'path': f'{folder.absolute()}/'}
