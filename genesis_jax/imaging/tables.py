"""CSV files whose rows name scans and places in them."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import Scan


def read_rows(
    table: Path, columns: Sequence[str], instead: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with its line; they hold at least these columns.

    Args:
      instead: columns that will do as well, all of them.

    Raises:
      PrepareError: the file is not there, not text, or lacks a column or a value.
    """
    try:
        with table.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, ())]
            if instead and set(instead) <= set(header):
                columns = instead
            if missing := [name for name in columns if name not in header]:
                raise PrepareError(
                    f'{table} lacks the column {missing[0]} (found: '
                    f'{", ".join(header) or "none"}); its first line must name {", ".join(columns)}'
                    + (f', or {", ".join(instead)}' if instead else '')
                )
            for values in filter(None, reader):
                values += [''] * (len(header) - len(values))
                row = dict(zip(header, map(str.strip, values), strict=False))
                for name in columns:
                    if not row.get(name):
                        raise PrepareError(
                            f'{table}, row {reader.line_num}: the column {name} is empty; '
                            'fill it in or remove the row'
                        )
                yield reader.line_num, row
    except OSError as error:
        raise PrepareError(f'{table} cannot be read ({error.strerror}); check its name') from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PrepareError(f'{table} is not a CSV file ({error}); export it again') from None


def find_table(source: Path, names: Sequence[str]) -> Path:
    """The first of these files that is below the source; PrepareError if none is."""
    for name in names:
        if (source / name).is_file():
            return source / name
    raise PrepareError(f'{source} holds no {names[0]}; put it there, or give --csv')


def with_scans(
    rows, scans: Sequence[Scan], table: Path, option, column='scan', kind='scan', absent=None
) -> Iterator[tuple[int, Mapping[str, str], Scan]]:
    """Every row with the scan that its column `column` names.

    Args:
      rows: of `read_rows`.
      option: of the command line, which gave the folder of the scans, without --.
      kind: what a scan is called.
      absent: takes the names of scans that are not there, whose rows are then skipped.

    Raises:
      PrepareError: there are several such scans, or none and nothing takes its name.
    """
    named = _scans_by_name(scans)
    for line, row in rows:
        matches = named.get(row[column].replace('\\', '/').removeprefix('./'), [])
        if not matches and absent is not None:
            absent.append(row[column])
            continue
        if not matches:
            raise PrepareError(
                f'{table}, row {line}: the {option} has no {kind} {row[column]!r}; add it, correct '
                'the name or remove the row'
            )
        if len(matches) > 1:
            paths = ' and '.join(scan.shown for scan in matches[:2])
            raise PrepareError(
                f'{table}, row {line}: the {option} has {len(matches)} {kind}s {row[column]!r} '
                f'({paths}); name the path of one below --{option}'
            )
        yield line, row, matches[0]


def parse_position(table: Path, line: int, row: Mapping[str, str], names: Sequence[str]) -> list:
    """The three coordinates of a row."""
    try:
        position = [float(row[name]) for name in names]
    except ValueError:
        position = [math.nan]
    if not all(map(math.isfinite, position)):
        values = ', '.join(row[name] for name in names)
        raise PrepareError(
            f'{table}, row {line}: {", ".join(names)} are {values}, but must be numbers; correct it'
        )
    return position


def _scans_by_name(scans: Sequence[Scan]) -> dict[str, list[Scan]]:
    """The scans of every name that a table may give: a path, or its last part."""
    paths: dict[str, list[Scan]] = {}
    lasts: dict[str, list[Scan]] = {}
    for scan in scans:
        folder = [scan.scan_id.rpartition('/')[0]] if scan.is_dicom else []
        names = {scan.scan_id, scan.shown, *folder}
        for name in names:
            paths.setdefault(name, []).append(scan)
        for name in {name.rpartition('/')[2] for name in names}:
            lasts.setdefault(name, []).append(scan)
    return lasts | paths  # a path means that file, whatever lies deeper
