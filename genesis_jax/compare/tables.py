"""A comparison as Markdown, LaTeX and CSV. Fractions are shown in per cent; CSV has them as is."""

import csv
import io
import math

_TITLES = {
    'auc': 'AUC',
    'average_precision': 'Average precision',
    'accuracy': 'Accuracy',
    'luna16_score': 'LUNA16 score',
    'dice': 'Dice',
    'iou': 'Foreground IoU',
    'mean_iou_paper': 'IoU as published, mean_iou_paper',
    'hd95': 'HD95',
    'surface_dice': 'Surface Dice',
}
_A_RUN = 'A run is one seed; where the task has folds, the mean over its folds.'
_UNITS = {'hd95': 'mm'}
_TEX = str.maketrans(
    {character: f'\\{character}' for character in '_%&#${}'}
    | {'\\': r'\textbackslash{}', '^': r'\^{}', '~': r'\~{}'}
    | {'±': r'$\pm$', '−': r'$-$', '–': '--', '<': '$<$', '>': '$>$'}
)


def title(metric):
    """What readers call a metric, with its unit."""
    name = _TITLES.get(metric)
    if name is None:
        kind, _, detail = metric.partition('_')
        name = f'{_TITLES.get(kind, kind)}, {detail}' if detail else metric
    return f'{name} ({_UNITS.get(metric, "%")})'


def factor(metric):
    """What a stored value is multiplied by to be shown."""
    return 1 if metric in _UNITS else 100


def runs(row):
    """How many runs a mean rests on, and over how many folds each: `3`, `2 of 3`, `3 x 5 folds`."""
    complete = f'{row.runs}' if row.runs == row.planned else f'{row.runs} of {row.planned}'
    folds = f' x {row.folds} fold{"s" * (row.folds > 1)}' if row.folds else ''
    return complete + folds


def markdown(comparison, plots=()):
    """The report."""
    lines = [f'# {comparison.dataset}: {comparison.task}, compared with {comparison.baseline}', '']
    lines += [
        f'Mean ± sd over runs; p of the {comparison.test} against {comparison.baseline}. ' + _A_RUN,
        '',
    ]
    for metric in comparison.metrics:
        lines += [f'## {title(metric)}', '']
        lines += _grid(('method', 'labels', 'runs', 'mean ± sd', 'difference', 'p'))
        lines += [f'| {" | ".join(cells)} |' for cells in _cells(comparison, metric)]
        lines += [f'| {" | ".join(cells)} |' for cells in _published_cells(comparison, metric)]
        lines += ['']
        p = _published_p(comparison, metric)
        lines += [f'Published p, best against scratch: {p:.3g}.', ''] if p else []
        note = _published_note(comparison, metric)
        lines += [note, ''] if note else []
    if comparison.patients:
        what, tested = _paired_measures(comparison)
        lines += [
            '## By patient',
            '',
            f'Difference of {what} from {comparison.baseline} with its 95 % bootstrap interval '
            f"over patients; p of Wilcoxon's signed-rank test of the patients' {tested}, averaged "
            'over runs.',
            '',
        ]
        lines += _grid(('method', 'labels', 'patients', 'difference', '95 % interval', 'p'))
        lines += [f'| {" | ".join(cells)} |' for cells in _patient_cells(comparison)] + ['']
    lines += [f'- {note}' for note in comparison.notes] + [''] * bool(comparison.notes)
    if comparison.recipes:
        lines += ['The configs differ in more than start and labels, which may explain a part:', '']
        lines += [f'- {line}' for line in comparison.recipes] + ['']
    for plot in plots:
        lines += [f'![{plot.removesuffix(".png")}]({plot})', '']
    return '\n'.join(lines)


def latex(comparison):
    """Tables for a paper (booktabs)."""
    lines = [
        r'% \usepackage{booktabs}',
        r'\begin{table}',
        r'\centering',
        rf'\caption{{{tex(comparison.dataset)}: mean $\pm$ sd over runs; p of the '
        rf'{tex(comparison.test)} against {tex(comparison.baseline)}. {_A_RUN}}}',
        r'\begin{tabular}{llrrrr}',
        r'\toprule',
        r'method & labels & runs & mean $\pm$ sd & difference & p \\',
    ]
    for metric in comparison.metrics:
        lines += [r'\midrule', rf'\multicolumn{{6}}{{l}}{{\emph{{{tex(title(metric))}}}}} \\']
        cells = [*_cells(comparison, metric), *_published_cells(comparison, metric)]
        lines += [rf'{" & ".join(map(tex, row))} \\' for row in cells]
        note = _published_note(comparison, metric)
        lines += [rf'\multicolumn{{6}}{{p{{\linewidth}}}}{{{tex(note)}}} \\'] if note else []
    lines += [rf'% configs differ: {line}' for line in comparison.recipes]
    lines += [r'\bottomrule', r'\end{tabular}', r'\end{table}']
    if comparison.patients:
        what, tested = _paired_measures(comparison)
        lines += [
            '',
            r'\begin{table}',
            r'\centering',
            rf'\caption{{{tex(comparison.dataset)}, by patient: difference of {what} from '
            rf'{tex(comparison.baseline)} with its bootstrap interval; p of the signed-rank test '
            rf'of {tested}.}}',
            r'\begin{tabular}{llrrrr}',
            r'\toprule',
            r'method & labels & patients & difference & 95\,\% interval & p \\',
            r'\midrule',
            *(rf'{" & ".join(map(tex, row))} \\' for row in _patient_cells(comparison)),
            r'\bottomrule',
            r'\end{tabular}',
            r'\end{table}',
        ]
    return '\n'.join(lines) + '\n'


def csv_text(comparison):
    """One row for a metric of a method; the test by patient is in rows of its own."""
    text = io.StringIO()
    measured = ('metric', 'method', 'label_fraction', 'runs', 'planned', 'folds', 'mean', 'sd')
    measured += ('difference', 'p')
    columns = (*measured, 'source', 'test', 'patients', 'low', 'high')
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in comparison.rows:
        writer.writerow(
            _known(row, measured) | {'source': 'measured', 'test': row.p_note or comparison.test}
        )
    segmented = comparison.task == 'segmentation'
    what, tested = ('dice', 'Dice') if segmented else ('auc', 'Brier scores')
    for row in comparison.patients:
        writer.writerow(
            {'metric': what, 'source': 'measured', 'test': f'Wilcoxon of {tested} by patient'}
            | _known(row, ('method', 'label_fraction'))
            | _known(row.paired, ('patients', 'difference', 'low', 'high', 'p'))
        )
    for metric in comparison.metrics:
        for number in _published(comparison, metric):
            sd = '' if number.sd is None else round(number.sd / 100, 6)
            values = {'mean': round(number.mean / 100, 6), 'sd': sd}
            writer.writerow(
                {'metric': metric, 'method': number.method, 'source': number.source, **values}
                | {'label_fraction': 1.0}
            )
    return text.getvalue()


def _cells(comparison, metric):
    scale = factor(metric)
    for row in comparison.rows:
        if row.metric == metric:
            yield (
                row.method,
                _percent(row.label_fraction),
                runs(row),
                spread_text(row.mean * scale, row.sd * scale),
                _signed(row.difference * scale),
                row.p_note or p_value(row.p),
            )


def _published_cells(comparison, metric):
    for number in _published(comparison, metric):
        yield (
            f'published: {number.method}, {number.source}',
            '100 %',
            '',
            spread_text(number.mean, number.sd),
            '',
            '',
        )


def _patient_cells(comparison):
    for row in comparison.patients:
        paired, tested = row.paired, ''
        if comparison.task != 'segmentation':  # p is of another measure than the interval
            tested = f' (Brier score {paired.tested:+.3f})'.replace('-', '−')
        yield (
            row.method,
            _percent(row.label_fraction),
            str(paired.patients),
            _signed(100 * paired.difference),
            f'{_signed(100 * paired.low)} to {_signed(100 * paired.high)}',
            p_value(paired.p) + tested,
        )


def _published(comparison, metric):
    return comparison.published.numbers.get(metric, ()) if comparison.published else ()


def _published_p(comparison, metric):
    """It was published of one metric, that with the most numbers."""
    several = len(_published(comparison, metric)) > 2
    return comparison.published.p if several else None


def _published_note(comparison, metric):
    """What is not alike in the published numbers of a metric, if there are any."""
    return comparison.published.note if _published(comparison, metric) else ''


def _paired_measures(comparison):
    if comparison.task == 'segmentation':
        return 'mean Dice (percentage points)', 'mean Dice'
    return 'AUC (percentage points)', 'Brier scores'


def _grid(names):
    return [f'| {" | ".join(names)} |', f'|{" --- |" * len(names)}']


def _known(row, names):
    values = {name: getattr(row, name) for name in names}
    return {name: '' if value != value else value for name, value in values.items()}


def _percent(fraction):
    return f'{100 * fraction:g} %'


def spread_text(mean, sd):
    """`12.34 ± 0.56`; without sd (None or NaN) the mean alone, without mean a dash."""
    if math.isnan(mean):
        return '–'
    return f'{mean:.2f}' if sd is None or math.isnan(sd) else f'{mean:.2f} ± {sd:.2f}'


def _signed(value):
    return '–' if math.isnan(value) else f'{value:+.2f}'.replace('-', '−')


def p_value(p):
    """A p-value as readers expect it."""
    if math.isnan(p):
        return '–'
    return f'{p:.1e}' if p < 1e-3 else f'{p:.3f}'


def tex(text):
    """Text as LaTeX shows it."""
    return text.translate(_TEX)
