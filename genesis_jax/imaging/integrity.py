"""What ITK does not check: that a file holds the voxels its header promises, and a real spacing.

ITK reads a truncated NIfTI or a corrupted compressed file without a word, makes zeros of a
NIfTI's NaNs, and replaces spacings it cannot use. Compressed payloads are therefore unpacked
here, which verifies their checksum, and ITK reads the unpacked copy. nibabel would be a
second reader, of NIfTI alone.
"""

import math
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genesis_jax.errors import ScanError, in_full

_CHUNK = 1 << 20
_HEADER_LIMIT = 1 << 16  # bytes; a text header is a few hundred
_META_BYTES = {
    'MET_CHAR': 1, 'MET_UCHAR': 1, 'MET_SHORT': 2, 'MET_USHORT': 2, 'MET_INT': 4, 'MET_UINT': 4,
    'MET_LONG': 4, 'MET_ULONG': 4, 'MET_LONG_LONG': 8, 'MET_ULONG_LONG': 8, 'MET_FLOAT': 4,
    'MET_DOUBLE': 8,
}  # fmt: skip
_NIFTI_FLOATS = {16: 'f4', 64: 'f8'}


def checked_copy(path: Path, scratch: Path) -> Path:
    """The file ITK should read: `path` itself, or its unpacked copy in the folder `scratch`.

    Raises:
      ScanError: the spacing is unusable, bytes are missing, or a compressed stream is corrupted.
    """
    name = path.name.lower()
    if name.endswith(('.mhd', '.mha')):
        return _checked_metaimage(path, scratch)
    if name.endswith('.nii.gz'):
        unpacked = scratch / 'scan.nii'
        with path.open('rb') as packed:
            _unpack(packed, unpacked)
        _check_nifti(unpacked)
        return unpacked
    if name.endswith('.nii'):
        _check_nifti(path)
    if name.endswith(('.nrrd', '.nhdr')):
        _check_nrrd_spacing(path)
    return path


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


def _checked_metaimage(path: Path, scratch: Path) -> Path:
    fields, header_bytes = _metaimage_header(path)
    spacing = fields.get('elementspacing') or fields.get('elementsize')
    if spacing:
        check_spacing(_floats(spacing))
    target = fields['elementdatafile']
    if target.upper().startswith('LIST') or '%' in target:
        return path  # one file per slice: ITK reports a missing or short one itself
    payload, offset = (path, header_bytes) if target == 'LOCAL' else (path.parent / target, 0)
    if not payload.is_file():
        raise ScanError(f'names {target} as its data file, which is missing; put it beside it')
    sides = [int(side) for side in fields.get('dimsize', '').split()]
    channels = int(fields.get('elementnumberofchannels', 1))
    expected = math.prod(sides) * channels * _META_BYTES.get(fields.get('elementtype', ''), 0)
    if fields.get('compresseddata', 'false').lower() != 'true':
        _check_bytes(payload.stat().st_size - offset, expected)
        return path
    unpacked = scratch / 'scan.raw'
    with payload.open('rb') as packed:
        packed.seek(offset)
        _unpack(packed, unpacked)
    _check_bytes(unpacked.stat().st_size, expected)
    return _plain_metaimage(path, header_bytes, scratch)


def _metaimage_header(path: Path) -> tuple[dict[str, str], int]:
    """Fields of a MetaImage header by lower-case name, and the header's length in bytes."""
    fields, length = {}, 0
    with path.open('rb') as file:
        for line in file.read(_HEADER_LIMIT).splitlines(keepends=True):
            length += len(line)
            key, _, value = line.decode('latin-1').partition('=')
            fields[key.strip().lower()] = value.strip()
            if key.strip() == 'ElementDataFile':
                return fields, length
    raise ScanError('has no ElementDataFile line, so it is not a MetaImage header; export it again')


def _plain_metaimage(path: Path, header_bytes: int, scratch: Path) -> Path:
    """Writes the header again, now for the unpacked scan.raw beside it."""
    header = path.read_bytes()[:header_bytes].decode('latin-1').splitlines()
    replaced = ('CompressedData', 'ElementDataFile')  # also CompressedDataSize
    lines = [line for line in header if not line.startswith(replaced)]
    plain = scratch / 'scan.mhd'
    plain.write_text('\n'.join([*lines, 'ElementDataFile = scan.raw', '']), encoding='latin-1')
    return plain


def _check_nifti(path: Path) -> None:
    with path.open('rb') as file:
        header = file.read(540)
    layouts = {348: ('8h', 40, 72, '8f', 76, 'f', 108), 540: ('8q', 16, 14, '8d', 104, 'q', 168)}
    for order in '<>':
        size = struct.unpack_from(f'{order}i', header)[0] if len(header) >= 348 else 0
        if size in layouts:
            break
    else:
        raise ScanError('does not start with a NIfTI header; export it again')
    dims, dims_at, bits_at, pixdims, pixdims_at, start, start_at = layouts[size]
    if len(header) < size:
        raise ScanError('ends within its NIfTI header; copy or export it again')
    sides = struct.unpack_from(order + dims, header, dims_at)
    datatype, bits = struct.unpack_from(f'{order}2h', header, bits_at - 2)
    pixdim = struct.unpack_from(order + pixdims, header, pixdims_at)
    (offset,) = struct.unpack_from(order + start, header, start_at)
    rank = min(max(sides[0], 0), 7)
    count = math.prod(sides[1 : 1 + rank])
    if not rank or min(sides[1 : 1 + rank]) < 1:
        raise ScanError('has a NIfTI header without usable sides; export it again')
    check_spacing(pixdim[1 : 1 + min(rank, 3)])
    _check_bytes(path.stat().st_size - int(offset), count * bits // 8)
    if datatype in _NIFTI_FLOATS:  # ITK would make zeros of NaN and infinity
        kind = np.dtype(order + _NIFTI_FLOATS[datatype])
        check_finite(np.memmap(path, kind, 'r', int(offset), (count,)))


def _check_nrrd_spacing(path: Path) -> None:
    with path.open('rb') as file:
        header = file.read(_HEADER_LIMIT).partition(b'\n\n')[0].decode('latin-1')
    if match := re.search(r'^spacings:(.*)$', header, re.MULTILINE):
        check_spacing(_floats(match[1]))
    if match := re.search(r'^space directions:(.*)$', header, re.MULTILINE):
        vectors = re.findall(r'\(([^)]*)\)', match[1])
        check_spacing([math.hypot(*_floats(vector.replace(',', ' '))) for vector in vectors])


def _floats(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise ScanError(
            f'has the spacing {text.strip()!r}, which is not a list of numbers'
        ) from None


def _check_bytes(size: int, expected: int) -> None:
    if size < expected:
        raise ScanError(
            f'is truncated: its header promises {expected} bytes of voxels and {max(size, 0)} are '
            'there; copy or download it again'
        )


def _unpack(packed: BinaryIO, target: Path) -> None:
    """Unpacks a zlib stream or any number of gzip members, whose checksums zlib verifies."""
    decoder = zlib.decompressobj(wbits=47)  # 32 + 15: either header, largest window
    try:
        with target.open('wb') as plain:
            while chunk := packed.read(_CHUNK):
                while chunk:
                    if decoder.eof:
                        decoder = zlib.decompressobj(wbits=47)
                    plain.write(decoder.decompress(chunk))
                    chunk = decoder.unused_data
    except zlib.error as error:
        raise ScanError(
            f'holds corrupted compressed data ({error}); copy or download it again'
        ) from None
    if not decoder.eof:
        raise ScanError('is truncated: its compressed data ends early; copy or download it again')
