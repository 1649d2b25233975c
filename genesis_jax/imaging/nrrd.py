"""What a NRRD header says that ITK does not heed: units, spaces without anatomy, encodings."""

import math
import re
from itertools import compress
from pathlib import Path

from genesis_jax.errors import ScanError
from genesis_jax.imaging.integrity import (
    HEADER_LIMIT,
    Checked,
    check_spacing,
    floats,
    millimetres,
    no_spacing,
    other_unit,
)

_ENCODINGS = ('raw', 'gzip', 'gz', 'ascii', 'text', 'txt', 'hex')  # that ITK reads
_SPACE_KINDS = ('domain', 'space', '???', 'none')
# The spaces that ITK turns to LPS.
_ANATOMICAL = re.compile(
    r'(left|right)-(anterior|posterior)-superior(-time)?|RAST?|LAST?|LPST?', re.IGNORECASE
)


def checked_nrrd(path: Path) -> Checked:
    """A NRRD file, whose spacing is usable.

    Raises:
      ScanError: ITK would read it wrongly, or not at all.
    """
    fields = _fields(path)
    encoding = fields.get('encoding', 'raw')
    if encoding.lower() not in _ENCODINGS:
        raise ScanError(
            f'is compressed by {encoding}, which is not read; save it with the encoding gzip or raw'
        )
    vectors = [
        floats(vector.replace(',', ' '))
        for vector in re.findall(r'\(([^)]*)\)', fields.get('space directions', ''))
    ]
    if vectors := [vector for vector in vectors if not all(map(math.isnan, vector))]:  # of lists
        check_spacing([math.hypot(*vector) for vector in vectors[:3]])
        unit = millimetres(_quoted(fields.get('space units', ''))[:3])
        return Checked(path, unit, other_unit(unit) + _remarks(fields.get('space', '')))
    if 'spacings' not in fields:
        return Checked(path, remarks=(no_spacing('spacings or space directions'),))
    kinds = fields.get('kinds', '').lower().split() or ['domain'] * 16
    spatial = [kind in _SPACE_KINDS for kind in kinds]
    check_spacing(list(compress(floats(fields['spacings']), spatial))[:3])
    unit = millimetres(list(compress(_quoted(fields.get('units', '')), spatial))[:3])
    return Checked(path, unit, other_unit(unit) + _remarks(''))


def _fields(path: Path) -> dict[str, str]:
    """The header's fields by their lower-case names."""
    with path.open('rb') as file:
        if file.read(4) != b'NRRD':
            raise ScanError('does not start with a NRRD header; export it again')
        text = re.split(rb'\r?\n\r?\n', file.read(HEADER_LIMIT), maxsplit=1)[0]
    lines = text.decode('utf-8', 'replace').splitlines()
    pairs = (line.split(': ', 1) for line in lines if ': ' in line and line[0] != '#')
    return {key.strip().lower(): value.strip() for key, value in pairs}


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _remarks(space: str) -> tuple[str, ...]:
    if _ANATOMICAL.fullmatch(space):
        return ()
    named = f'has the space {space!r}, which does' if space else 'does'
    return (
        f'{named} not say how it lies in the patient: its axes were taken for LPS (to the left, '
        'to the back, to the head)',
    )
