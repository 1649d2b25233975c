"""A table as Markdown, LaTeX (booktabs) and CSV, and numbers as their cells.

pandas has no headings and notes between the rows, pads Markdown, and takes tabulate and Jinja2 too.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TEX = str.maketrans(
    {character: f'\\{character}' for character in '_%&#${}'}
    | {'\\': r'\textbackslash{}', '^': r'\^{}', '~': r'\~{}'}
    | {'±': r'$\pm$', '−': r'$-$', '–': '--', '<': '$<$', '>': '$>$'}
    | {'\u202f': r'\,'}  # a narrow space
)


@dataclass(frozen=True)
class Section:
    """Rows of a table, in LaTeX below a heading and above a note where there are any."""

    rows: list[Sequence[str]]
    heading: str = ''
    note: str = ''


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table and an empty one."""
    lines = [f'| {" | ".join(cells)} |' for cells in (head, *rows)]
    return [lines[0], f'|{" --- |" * len(head)}', *lines[1:], '']


def bullets(lines: Sequence[str], title: str = '') -> list[str]:
    """A Markdown list below its title, or nothing if it is empty."""
    if not lines:
        return []
    return [title, ''] * bool(title) + [f'- {line}' for line in lines] + ['']


def latex(
    caption: str,
    columns: str,
    head: Sequence[str],
    sections: Iterable[Section],
    comments: Sequence[str] = (),
) -> str:
    """A table whose columns are aligned as in `llr`; the caption is LaTeX already."""
    lines = [r'\begin{table}', r'\centering', rf'\caption{{{caption}}}']
    lines += [rf'\begin{{tabular}}{{{columns}}}', r'\toprule', _tex_row(head)]
    span = rf'\multicolumn{{{len(head)}}}'
    for section in sections:
        lines += [r'\midrule']
        if section.heading:
            lines += [rf'{span}{{l}}{{\emph{{{tex(section.heading)}}}}} \\']
        lines += map(_tex_row, section.rows)
        if section.note:
            lines += [rf'{span}{{p{{\linewidth}}}}{{{tex(section.note)}}} \\']
    lines += [f'% {comment}' for comment in comments]
    return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}', r'\end{table}', ''])


def csv_text(columns: Sequence[str], rows: Iterable[dict[str, object]]) -> str:
    """Rows by the names of the columns; what is absent, None or NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in rows:
        writer.writerow({name: '' if value != value else value for name, value in row.items()})
    return text.getvalue()


def tex(text: str) -> str:
    """Text as LaTeX shows it."""
    return text.translate(_TEX)


def _tex_row(cells: Sequence[str]) -> str:
    return rf'{" & ".join(map(tex, cells))} \\'


def spread_text(mean: float, sd: float | None) -> str:
    """`12.34 ± 0.56`; without sd (None or NaN) the mean alone, without mean a dash."""
    if math.isnan(mean):
        return '–'
    return f'{mean:.2f}' if sd is None or math.isnan(sd) else f'{mean:.2f} ± {sd:.2f}'


def signed(value: float) -> str:
    """`+1.23`, `−1.23`, or a dash."""
    return '–' if math.isnan(value) else f'{value:+.2f}'.replace('-', '−')


def percent(fraction: float) -> str:
    """`20 %`."""
    return f'{100 * fraction:g} %'


def p_value(p: float) -> str:
    """A p-value as readers expect it."""
    if math.isnan(p):
        return '–'
    return f'{p:.1e}' if p < 1e-3 else f'{p:.3f}'
