"""What a table of candidates or images says: rows, classes, columns that nobody asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from genesis_jax.errors import PrepareError
from genesis_jax.imaging.tables import read_rows

Rows = Sequence[tuple[int, Mapping[str, str]]]

_SPLIT_NAMES = ('split', 'fold', 'set', 'subset', 'partition')


def read_table(table: Path, columns: Sequence[str], split_column: str | None) -> Rows:
    """The rows of the table, each with its line; none of these columns is empty.

    Raises:
      PrepareError: it is not such a table, or empty.
    """
    rows = list(read_rows(table, (*columns, *([split_column] if split_column else []))))
    if not rows:
        raise PrepareError(f'{table} holds no row below its header; add some')
    return rows


def classes_of(table: Path, rows: Rows) -> Sequence[str]:
    """Class names by index, as the labels of the table say.

    Raises:
      PrepareError: there is one label only, or the numbers of classes have a gap.
    """
    labels = sorted({row['label'] for _, row in rows})
    if len(labels) < 2:
        raise PrepareError(
            f'{table} has the label {labels[0]} only; add the other classes, or name all of them '
            'with --classes'
        )
    if labels == ['0', '1']:
        return ['negative', 'positive']
    if all(label.isascii() and label.isdigit() for label in labels):
        _check_numbers(table, rows, labels)
        return [str(index) for index in range(len(set(map(int, labels))))]
    return labels


def class_index(table: Path, line: int, text: str, classes: Sequence[str]) -> int:
    """The class that a label says, by its name or its number.

    Raises:
      PrepareError: it says neither.
    """
    indices = {str(index): index for index in range(len(classes))}
    indices |= {name: index for index, name in enumerate(classes)}
    if text not in indices:
        raise unknown(table, line, 'label', text, classes)
    return indices[text]


def unknown(table: Path, line: int, what: str, text: str, classes: Sequence[str]) -> PrepareError:
    """The error of a row that says something else than one of the classes."""
    return PrepareError(
        f'{table}, row {line}: the {what} is {text!r}, expected one of {", ".join(classes)}; '
        'correct it or add it to --classes'
    )


def unused_columns(table: Path, rows: Rows, split_column: str | None) -> list[str]:
    """A line on a column that looks like a split, if none was asked for."""
    named = [name for name in rows[0][1] if name.lower() in _SPLIT_NAMES]
    if split_column or not named:
        return []
    return [
        f'The column {named[0]} of {table.name} was not used, the patients were assigned to folds; '
        f'--split_column={named[0]} takes the splits from it'
    ]


def _check_numbers(table: Path, rows: Rows, labels: Sequence[str]) -> None:
    """Refuses class numbers with a gap, as a typing error makes: those classes would be empty.

    Raises:
      PrepareError: naming the first row above the gap.
    """
    numbers = set(map(int, labels))
    missing = next(index for index in range(len(labels) + 1) if index not in numbers)
    above = [(line, row['label']) for line, row in rows if int(row['label']) > missing]
    if above:
        line, label = above[0]
        names = ','.join(sorted(labels, key=int))
        raise PrepareError(
            f'{table}, row {line}: the label is {label}, but no row has the label {missing}, and '
            f'numbers must be 0, 1, ... without a gap; correct it, or give --classes={names} to '
            'take them as names'
        )
