"""What a scan file must hold, whatever its format: its voxels, whole and finite, and a spacing."""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genesis_jax.errors import ScanError, in_full

_CHUNK = 1 << 20
_ANY_HEADER = 47  # of zlib's wbits: 32 + 15, zlib's or gzip's, the largest window
HEADER_LIMIT = 1 << 16  # bytes; a text header is a few hundred
_UNITS = {
    'mm': 1.0, 'millimeter': 1.0, 'millimetre': 1.0, 'millimeters': 1.0, 'millimetres': 1.0,
    '': 1.0, '?': 1.0, '???': 1.0, 'none': 1.0, 'unknown': 1.0,
    'um': 1e-3, '\N{MICRO SIGN}m': 1e-3, '\N{GREEK SMALL LETTER MU}m': 1e-3, 'micron': 1e-3,
    'microns': 1e-3, 'micrometer': 1e-3, 'micrometre': 1e-3, 'micrometers': 1e-3,
    'cm': 10.0, 'centimeter': 10.0, 'centimetre': 10.0,
    'm': 1e3, 'meter': 1e3, 'metre': 1e3, 'meters': 1e3, 'metres': 1e3,
}  # fmt: skip  # mm


@dataclass(frozen=True)
class Checked:
    """A file for ITK, whose header was checked.

    Attributes:
      path: the file itself, or an unpacked copy.
      unit: mm in the unit of its geometry, which ITK takes for mm.
      remarks: what is probably not meant, should it be used.
    """

    path: Path
    unit: float = 1.0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """What a file holds, for those who want 3D scans: sides, numbers per voxel and their type."""

    sides: Sequence[int]
    numbers: int
    kind: str

    def check(self, channels: int) -> None:
        """Refuses all but 3D of one number per voxel; or 4D, of several channels."""
        shape, rank = ' x '.join(map(str, self.sides)), len(self.sides)
        if rank < 3 or self.sides[2] == 1:
            raise ScanError(
                f'is a 2D image of {shape} pixels where a 3D volume is expected; remove it'
            )
        if channels > 1 and (rank != 4 or self.sides[3] != channels):
            raise ScanError(
                f'has {rank} dimensions ({shape}) where 4 are expected, the last of '
                f'the {channels} channels; correct it'
            )
        if channels == 1 and rank > 3 and tuple(self.sides[3:]) != (1,):
            raise ScanError(
                f'has {rank} dimensions ({shape}) where 3 are expected; '
                'split it into one file per volume'
            )
        if self.numbers > 1:
            raise ScanError(
                f'holds {self.numbers} numbers per voxel ({self.kind}) where one is '
                'expected; split it into one file per channel'
            )


def check_spacing(spacing: Sequence[float]) -> None:
    """Refuses a spacing (mm) that is not positive and finite along every axis."""
    if not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        values = ' x '.join(in_full(mm) for mm in spacing)
        raise ScanError(
            f'has a voxel spacing of {values} mm, but every side must be positive and finite; '
            'correct its header'
        )


def check_finite(voxels: np.ndarray) -> None:
    """Refuses floating-point voxels that are NaN or infinite."""
    if not np.isfinite(voxels).all():
        raise ScanError('holds NaN or infinite voxels; repair or remove it')


def millimetres(units: Iterable[str]) -> float:
    """Millimetres in the unit that a header names for its axes; without one, it is mm.

    Raises:
      ScanError: the unit is unknown, or the axes have several.
    """
    names = set(units) or {'mm'}
    lengths = {_UNITS.get(name.strip().lower()) for name in names}
    if len(lengths) > 1 or None in lengths:
        shown = ', '.join(sorted(names))
        raise ScanError(
            f'gives its geometry in {shown}, but one unit for all axes is expected, of mm, cm, m '
            'and um; convert it to mm'
        )
    return lengths.pop() or 1.0


def other_unit(unit: float) -> tuple[str, ...]:
    """A remark on geometry in another unit than mm."""
    if unit == 1:
        return ()
    return (
        f'gives its geometry in units of {unit:g} mm and was read so, but many programs take '
        'every unit for mm; results are in mm',
    )


def no_spacing(field: str) -> str:
    """A remark on a header that does not say how large its voxels are."""
    return f'does not give the size of its voxels ({field}): 1 x 1 x 1 mm is assumed'


def floats(text: str) -> list[float]:
    """The numbers of a header's field."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise ScanError(
            f'has {text.strip()!r} in its header, which is not a list of numbers; correct it'
        ) from None


def check_bytes(size: int, expected: int, name: str = '') -> None:
    """Refuses a file, or the one so named, with fewer bytes of voxels than a header promises."""
    if size < expected:
        within = f' in {name}' if name else ''
        raise ScanError(
            f'is truncated: its header promises {expected} bytes of voxels{within} and '
            f'{max(size, 0)} are there; copy or download it again'
        )


def unpack(packed: BinaryIO, target: BinaryIO) -> None:
    """Unpacks a zlib stream, or any number of gzip members and zeros after them.

    zlib verifies their checksums; gzip of the standard library is slower by a third.

    Raises:
      ScanError: the stream is corrupted or ends early.
    """
    decoder = zlib.decompressobj(_ANY_HEADER)
    try:
        while chunk := packed.read(_CHUNK):
            while chunk:
                if decoder.eof:
                    if not (chunk := chunk.lstrip(b'\0')):
                        break
                    decoder = zlib.decompressobj(_ANY_HEADER)
                target.write(decoder.decompress(chunk))
                chunk = decoder.unused_data
    except zlib.error as error:
        raise ScanError(
            f'holds corrupted compressed data ({error}); copy or download it again'
        ) from None
    if not decoder.eof:
        raise ScanError('is truncated: its compressed data ends early; copy or download it again')
