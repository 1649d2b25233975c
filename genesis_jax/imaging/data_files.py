"""The files that a header of NRRD or MetaImage names for its voxels: one, a list or a pattern."""

import re
from pathlib import Path

from genesis_jax.errors import ScanError
from genesis_jax.imaging.integrity import HEADER_LIMIT

_LIMIT = 100_000  # files; no scan has as many slices
_LINES = re.compile(
    rb'^[ \t]*(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*(.*)$', re.MULTILINE | re.IGNORECASE
)


def is_several(target: str) -> bool:
    """Whether a header's field names files by a list or a pattern; what else it says is a name."""
    return target.startswith('LIST') or '%' in target


def data_files(target: str, after: str, folder: Path, count: int = 1) -> list[Path]:
    """The files of a header's field, in order.

    Args:
      target: the field: a name, LIST, or a pattern with its first number, last number and step.
      after: the lines that follow it, which are the names of a LIST.
      folder: of the header.
      count: of the files, where a pattern comes without a range.

    Raises:
      ScanError: it is no such pattern.
    """
    if target.startswith('LIST'):
        return [folder / name for line in after.splitlines() if (name := line.strip())]
    if '%' not in target:
        return [folder / target]
    pattern, *words = target.split()
    try:
        first, last, step, *_ = [*map(int, words), *(1, count, 1)[len(words) :]]
        if len(words) == 1:
            last = first + count - 1
        numbers = range(first, last + (1 if step > 0 else -1), step)[:_LIMIT]
        return [folder / (pattern % number) for number in numbers]
    except (TypeError, ValueError):
        raise ScanError(
            f'has {target!r} as its data files, but a pattern with its first number, last number '
            'and step is expected, such as slice%03d.raw 1 40 1; correct its header'
        ) from None


def named_by(header: Path) -> list[Path]:
    """The files beside a header that hold its voxels, as far as it tells; LOCAL data have none."""
    try:
        with header.open('rb') as file:
            start = file.read(HEADER_LIMIT)
        match = _LINES.search(start)
        target = match[1].decode('utf-8', 'replace').strip() if match else 'LOCAL'
        if target == 'LOCAL' or match is None:
            return []
        after = ''
        if target.startswith('LIST'):
            after = header.read_bytes()[match.end() :].decode('utf-8', 'replace')
        return data_files(target, after, header.parent)
    except (OSError, ScanError):  # which reading it tells
        return []
