"""A report as Markdown, LaTeX (booktabs) and CSV, and numbers as its cells.

pandas and tabulate have no headings and notes between the rows, pad every cell, and would spare
fewer lines than they need: of the three formats only the table of Markdown, three lines here.
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
    """Rows below a heading and above a note, where there are any; in Markdown a table each."""

    rows: Sequence[Sequence[str]]
    heading: str = ''
    note: str = ''
    aside: str = ''  # a note in Markdown alone


@dataclass(frozen=True)
class Table:
    """One table in LaTeX; in Markdown one for each section, below `heading` and `about`."""

    head: Sequence[str]
    sections: list[Section]
    caption: str  # LaTeX already
    left: int = 1  # columns that are aligned to the left
    heading: str = ''
    about: str = ''


@dataclass(frozen=True)
class Report:
    """All that is written of a comparison.

    Attributes:
      lists: `(title, mark, lines)`: in Markdown a list below its title, in LaTeX comments that
        start with the mark (none if that is empty).
      columns, records: of the CSV file.
    """

    title: str
    about: str
    tables: list[Table]
    lists: list[tuple[str, str, Sequence[str]]]
    columns: Sequence[str]
    records: list[dict[str, object]]


def markdown(report: Report, plots: Iterable[str] = ()) -> str:
    """The report to read, with these plots beside it."""
    lines = [f'# {report.title}', '', report.about, '']
    for table in report.tables:
        if table.heading:
            lines += [f'## {table.heading}', '', table.about, '']
        for section in table.sections:
            lines += [f'## {section.heading}', ''] if section.heading else []
            lines += table_lines(table.head, section.rows)
            for text in filter(None, (section.aside, section.note)):
                lines += [text, '']
    for title, _, listed in report.lists:
        if listed:
            lines += [title, ''] if title else []
            lines += [*(f'- {line}' for line in listed), '']
    for plot in plots:
        lines += [f'![{plot.removesuffix(".png")}]({plot})', '']
    return '\n'.join(lines)


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown and an empty line."""
    lines = [f'| {" | ".join(cells)} |' for cells in (head, *rows)]
    return [lines[0], f'|{" --- |" * len(head)}', *lines[1:], '']


def latex(report: Report) -> str:
    """The tables for a paper; comments stand in the first."""
    comments = [f'% {mark}: {line}' for _, mark, lines in report.lists if mark for line in lines]
    texts = ['% \\usepackage{booktabs}']
    for table in report.tables:
        head = [name.replace(' %', '\u202f%') for name in table.head]
        span = rf'\multicolumn{{{len(table.head)}}}'
        columns = 'l' * table.left + 'r' * (len(table.head) - table.left)
        texts += [r'\begin{table}', r'\centering', rf'\caption{{{table.caption}}}']
        texts += [rf'\begin{{tabular}}{{{columns}}}', r'\toprule', _tex_row(head)]
        for section in table.sections:
            texts += [r'\midrule']
            if section.heading:
                texts += [rf'{span}{{l}}{{\emph{{{tex(section.heading)}}}}} \\']
            texts += map(_tex_row, section.rows)
            if section.note:
                texts += [rf'{span}{{p{{\linewidth}}}}{{{tex(section.note)}}} \\']
        texts += [*comments, r'\bottomrule', r'\end{tabular}', r'\end{table}', '']
        comments = []
    return '\n'.join(texts)


def csv_text(report: Report) -> str:
    """The records; what is absent, None or NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, report.columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in report.records:
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
