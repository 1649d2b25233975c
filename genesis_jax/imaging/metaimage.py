"""What a MetaImage header says that ITK does not heed.

ITK reads a truncated or corrupted MetaImage without a word, replaces spacings it cannot use and
takes every unit for mm. Compressed payloads are therefore unpacked here, which verifies their
checksum, files of slices are joined, and ITK reads the copy.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from genesis_jax.errors import ScanError
from genesis_jax.imaging.data_files import data_files, is_several
from genesis_jax.imaging.integrity import (
    HEADER_LIMIT,
    Checked,
    check_bytes,
    check_spacing,
    floats,
    millimetres,
    no_spacing,
    other_unit,
    unpack,
)

_META_BYTES = {
    'MET_CHAR': 1, 'MET_UCHAR': 1, 'MET_SHORT': 2, 'MET_USHORT': 2, 'MET_INT': 4, 'MET_UINT': 4,
    'MET_LONG': 4, 'MET_ULONG': 4, 'MET_LONG_LONG': 8, 'MET_ULONG_LONG': 8, 'MET_FLOAT': 4,
    'MET_DOUBLE': 8,
}  # fmt: skip
_LISTS = {  # and the power of NDims that is their length
    'elementnumberofchannels': 0, 'elementtointensityfunctionslope': 0,
    'elementtointensityfunctionoffset': 0, 'dimsize': 1, 'elementspacing': 1, 'elementsize': 1,
    'offset': 1, 'position': 1, 'origin': 1, 'centerofrotation': 1, 'transformmatrix': 2,
    'rotation': 2, 'orientation': 2,
}  # fmt: skip


def checked_metaimage(path: Path, scratch: Path) -> Checked:
    """A MetaImage, or its unpacked copy in the folder `scratch`.

    Raises:
      ScanError: the header promises what ITK cannot keep, bytes are missing, or a compressed
        stream is corrupted.
    """
    fields, header_bytes = _metaimage_header(path)
    _check_lengths(fields)
    spacing = fields.get('elementspacing') or fields.get('elementsize')
    if spacing:
        check_spacing(floats(spacing))
    slope = floats(fields.get('elementtointensityfunctionslope', '1'))
    offset = floats(fields.get('elementtointensityfunctionoffset', '0'))
    if slope != [1] or offset != [0]:
        raise ScanError(
            'scales its voxels by ElementToIntensityFunctionSlope and -Offset, which readers '
            'ignore; apply them to the voxels and remove both lines'
        )
    unit = millimetres([fields['distanceunits']] if 'distanceunits' in fields else [])
    payload = _checked_payload(path, fields, header_bytes, scratch)
    remarks = other_unit(unit) if spacing else (no_spacing('ElementSpacing'),)
    return Checked(payload, unit, remarks)


def _check_lengths(fields: dict[str, str]) -> None:
    """Refuses lists that are shorter or longer than the dimensions, at which ITK may crash."""
    rank = fields.get('ndims', '')
    if rank not in ('2', '3', '4'):
        raise ScanError(f'has the NDims {rank!r}, but 3 is expected; export it again')
    for name, power in _LISTS.items():
        if name in fields and len(floats(fields[name])) != int(rank) ** power:
            raise ScanError(
                f'has {fields[name]!r} as its {name}, but {int(rank) ** power} numbers are '
                'expected; correct its header'
            )


def _checked_payload(path: Path, fields: dict[str, str], header_bytes: int, scratch: Path) -> Path:
    """The header, whose voxels are all there, or one in `scratch` beside a plain copy of them."""
    target = fields['elementdatafile']
    packed = fields.get('compresseddata', 'false').lower() == 'true'
    skipped = _header_size(fields, packed)
    voxels = _voxel_bytes(fields)
    if is_several(target):
        files = _listed_files(path, fields, header_bytes)
        _join(files, voxels // len(files), skipped, packed, scratch / 'scan.raw')
        return _plain_metaimage(path, header_bytes, scratch)
    local = target == 'LOCAL'
    payload = path if local else path.parent / target
    _check_there(payload, target)
    size = payload.stat().st_size
    start = size - voxels if skipped < 0 else skipped or header_bytes * local
    if local and start != header_bytes and size >= header_bytes + voxels:
        raise ScanError(
            f'has the HeaderSize {skipped}, by which its voxels begin at byte {start}, but its '
            f'header ends at byte {header_bytes}; remove the line HeaderSize'
        )
    if not packed:
        check_bytes(size - (header_bytes if local else max(start, 0)), voxels)
        return path
    _join([payload], voxels, header_bytes if local else start, packed, scratch / 'scan.raw')
    return _plain_metaimage(path, header_bytes, scratch)


def _header_size(fields: dict[str, str], packed: bool) -> int:
    """Bytes before the voxels of a data file; -1: these are its last bytes."""
    text = fields.get('headersize', '0')
    if not re.fullmatch(r'-1|\+?\d+', text) or (packed and text == '-1'):
        expected = 'bytes before its compressed voxels' if packed else 'bytes, or -1,'
        raise ScanError(
            f'has the HeaderSize {text!r}, but a number of {expected} is expected; correct it'
        )
    return int(text)


def _voxel_bytes(fields: dict[str, str]) -> int:
    (channels,) = floats(fields.get('elementnumberofchannels', '1'))
    kind = fields.get('elementtype', '')
    if kind not in _META_BYTES:
        raise ScanError(
            f'has {kind!r} as its ElementType, but one such as MET_SHORT or MET_FLOAT is expected; '
            'export it again'
        )
    return int(math.prod(floats(fields.get('dimsize', ''))) * channels * _META_BYTES[kind])


def _listed_files(path: Path, fields: dict[str, str], header_bytes: int) -> list[Path]:
    """The files of a LIST or a pattern, of which there are as many as the sides ask for."""
    target, sides = fields['elementdatafile'], floats(fields.get('dimsize', ''))
    held = len(sides) - 1  # dimensions of a file
    if target.startswith('LIST') and (match := re.search(r'\d+', target)):
        held = min(int(match[0]) or held, len(sides))
    expected = int(math.prod(sides[held:]))
    after = path.read_bytes()[header_bytes:].decode() if target.startswith('LIST') else ''
    files = data_files(target, after, path.parent, expected)
    if len(files) != expected or not files:
        raise ScanError(
            f'names {len(files)} data files ({target}), but its DimSize of '
            f'{fields.get("dimsize", "")} is that of {expected}; correct its header or add the '
            'missing ones'
        )
    for file in files:
        _check_there(file, file.name)
    return files


def _check_there(file: Path, name: str) -> None:
    if not file.is_file():
        raise ScanError(f'names {name} as its data file, which is missing; put it beside it')


def _join(files: Sequence[Path], each: int, skipped: int, packed: bool, target: Path) -> None:
    """Writes the voxels of all files, `each` bytes of one, after the `skipped` bytes of it."""
    with target.open('wb') as plain:
        for number, file in enumerate(files):
            name = file.name if len(files) > 1 else ''
            with file.open('rb') as source:
                if packed:
                    source.seek(skipped)
                    unpack(source, plain)
                    check_bytes(plain.tell() - number * each, each, name)
                    plain.truncate((number + 1) * each)
                    plain.seek((number + 1) * each)
                    continue
                size = file.stat().st_size
                source.seek(max(size - each, 0) if skipped < 0 else skipped)
                check_bytes(size - max(skipped, 0), each, name)
                plain.write(source.read(each))


def _metaimage_header(path: Path) -> tuple[dict[str, str], int]:
    """Fields of a MetaImage header by lower-case name, and the header's length in bytes."""
    fields, length = {}, 0
    with path.open('rb') as file:
        for line in file.read(HEADER_LIMIT).splitlines(keepends=True):
            length += len(line)
            key, _, value = line.decode('latin-1').partition('=')
            fields[key.strip().lower()] = value.strip()
            if key.strip() == 'ElementDataFile':
                return fields, length
    raise ScanError('has no ElementDataFile line, so it is not a MetaImage header; export it again')


def _plain_metaimage(path: Path, header_bytes: int, scratch: Path) -> Path:
    """Writes the header again, now for the unpacked scan.raw beside it."""
    header = path.read_bytes()[:header_bytes].decode('latin-1').splitlines()
    replaced = ('CompressedData', 'ElementDataFile', 'HeaderSize')  # also CompressedDataSize
    lines = [line for line in header if not line.startswith(replaced)]
    plain = scratch / 'scan.mhd'
    plain.write_text('\n'.join([*lines, 'ElementDataFile = scan.raw', '']), encoding='latin-1')
    return plain
