"""What a MetaImage header says that ITK does not heed.

ITK reads a truncated or corrupted MetaImage without a word, replaces spacings it cannot use and
takes every unit for mm. Compressed payloads are therefore unpacked here, which verifies their
checksum, and ITK reads the unpacked copy.
"""

import math
from pathlib import Path

from genesis_jax.errors import ScanError
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
    target = fields['elementdatafile']
    if target.upper().startswith('LIST') or '%' in target:
        return path  # one file per slice: ITK reports a missing or short one itself
    payload, offset = (path, header_bytes) if target == 'LOCAL' else (path.parent / target, 0)
    if not payload.is_file():
        raise ScanError(f'names {target} as its data file, which is missing; put it beside it')
    (channels,) = floats(fields.get('elementnumberofchannels', '1'))
    voxel = channels * _META_BYTES.get(fields.get('elementtype', ''), 0)
    expected = int(math.prod(floats(fields.get('dimsize', ''))) * voxel)
    if fields.get('compresseddata', 'false').lower() != 'true':
        check_bytes(payload.stat().st_size - offset, expected)
        return path
    unpacked = scratch / 'scan.raw'
    with payload.open('rb') as packed, unpacked.open('wb') as plain:
        packed.seek(offset)
        unpack(packed, plain)
    check_bytes(unpacked.stat().st_size, expected)
    return _plain_metaimage(path, header_bytes, scratch)


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
    replaced = ('CompressedData', 'ElementDataFile')  # also CompressedDataSize
    lines = [line for line in header if not line.startswith(replaced)]
    plain = scratch / 'scan.mhd'
    plain.write_text('\n'.join([*lines, 'ElementDataFile = scan.raw', '']), encoding='latin-1')
    return plain
