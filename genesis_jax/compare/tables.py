"""A comparison as Markdown, LaTeX and CSV. Fractions are shown in per cent; CSV has them as is."""

from collections.abc import Sequence

from genesis_jax.compare import writers
from genesis_jax.compare.analysis import Comparison, Row
from genesis_jax.compare.writers import Section, p_value, percent, signed, spread_text, tex

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
_HEAD = ('method', 'labels', 'runs', 'mean ± sd', 'difference', 'p')
_PATIENT_HEAD = ('method', 'labels', 'patients', 'difference', '95 % interval', 'p')


def title(metric: str) -> str:
    """What readers call a metric, with its unit."""
    name = _TITLES.get(metric)
    if name is None:
        kind, _, detail = metric.partition('_')
        name = f'{_TITLES.get(kind, kind)}, {detail}' if detail else metric
    return f'{name} ({_UNITS.get(metric, "%")})'


def factor(metric: str) -> int:
    """What a stored value is multiplied by to be shown."""
    return 1 if metric in _UNITS else 100


def runs(row: Row) -> str:
    """How many runs a mean rests on, and over how many folds each: `3`, `2 of 3`, `3 x 5 folds`."""
    complete = f'{row.runs}' if row.runs == row.planned else f'{row.runs} of {row.planned}'
    folds = f' x {row.folds} fold{"s" * (row.folds > 1)}' if row.folds else ''
    return complete + folds


def markdown(comparison: Comparison, plots: Sequence[str] = ()) -> str:
    """The report."""
    lines = [f'# {comparison.dataset}: {comparison.task}, compared with {comparison.baseline}', '']
    lines += [
        f'Mean ± sd over runs; p of the {comparison.test} against {comparison.baseline}. ' + _A_RUN,
        '',
    ]
    for metric in comparison.metrics:
        section = _section(comparison, metric)
        lines += [f'## {section.heading}', '', *writers.markdown(_HEAD, section.rows)]
        p = _published_p(comparison, metric)
        lines += [f'Published p, best against scratch: {p:.3g}.', ''] if p else []
        lines += [section.note, ''] if section.note else []
    if comparison.patients:
        what, tested = _paired_measures(comparison)
        lines += [
            '## By patient',
            '',
            f'Difference of {what} from {comparison.baseline} with its 95 % bootstrap interval '
            f"over patients; p of Wilcoxon's signed-rank test of the patients' {tested}, averaged "
            'over runs.',
            '',
            *writers.markdown(_PATIENT_HEAD, _patient_cells(comparison)),
        ]
    lines += writers.bullets(comparison.notes)
    lines += writers.bullets(
        comparison.recipes,
        'The configs differ in more than start and labels, which may explain a part:',
    )
    for plot in plots:
        lines += [f'![{plot.removesuffix(".png")}]({plot})', '']
    return '\n'.join(lines)


def latex(comparison: Comparison) -> str:
    """Tables for a paper."""
    dataset, baseline = tex(comparison.dataset), tex(comparison.baseline)
    text = '% \\usepackage{booktabs}\n' + writers.latex(
        rf'{dataset}: mean $\pm$ sd over runs; p of the {tex(comparison.test)} against '
        rf'{baseline}. {_A_RUN}',
        'llrrrr',
        _HEAD,
        [_section(comparison, metric) for metric in comparison.metrics],
        [f'configs differ: {line}' for line in comparison.recipes],
    )
    if comparison.patients:
        what, tested = _paired_measures(comparison)
        text += '\n' + writers.latex(
            f'{dataset}, by patient: difference of {what} from {baseline} with its bootstrap '
            f'interval; p of the signed-rank test of {tested}.',
            'llrrrr',
            [name.replace('95 %', '95\u202f%') for name in _PATIENT_HEAD],
            [Section(list(_patient_cells(comparison)))],
        )
    return text


def csv_text(comparison: Comparison) -> str:
    """One row for a metric of a method; the test by patient is in rows of its own."""
    measured = (
        'metric',
        'method',
        'label_fraction',
        'runs',
        'planned',
        'folds',
        'mean',
        'sd',
        'difference',
        'p',
    )
    rows = [
        _fields(row, measured) | {'source': 'measured', 'test': row.p_note or comparison.test}
        for row in comparison.rows
    ]
    segmented = comparison.task == 'segmentation'
    what, tested = ('dice', 'Dice') if segmented else ('auc', 'Brier scores')
    rows += [
        {'metric': what, 'source': 'measured', 'test': f'Wilcoxon of {tested} by patient'}
        | _fields(row, ('method', 'label_fraction'))
        | _fields(row.paired, ('patients', 'difference', 'low', 'high', 'p'))
        for row in comparison.patients
    ]
    rows += [
        {'metric': metric, 'method': number.method, 'source': number.source, 'label_fraction': 1.0}
        | number.fractions
        for metric in comparison.metrics
        for number in _published(comparison, metric)
    ]
    return writers.csv_text((*measured, 'source', 'test', 'patients', 'low', 'high'), rows)


def _section(comparison: Comparison, metric: str) -> Section:
    """The rows of a metric, measured and published, and what is not alike in them."""
    published = _published(comparison, metric)
    rows = [*_cells(comparison, metric)]
    rows += [
        (
            f'published: {number.method}, {number.source}',
            *('100 %', '', spread_text(number.mean, number.sd), '', ''),
        )
        for number in published
    ]
    return Section(
        rows, title(metric), comparison.published.note if comparison.published and published else ''
    )


def _cells(comparison, metric):
    scale = factor(metric)
    for row in comparison.rows:
        if row.metric == metric:
            yield (
                row.method,
                percent(row.label_fraction),
                runs(row),
                spread_text(row.mean * scale, row.sd * scale),
                signed(row.difference * scale),
                row.p_note or p_value(row.p),
            )


def _patient_cells(comparison):
    for row in comparison.patients:
        paired, tested = row.paired, ''
        if comparison.task != 'segmentation':  # p is of another measure than the interval
            tested = f' (Brier score {paired.tested:+.3f})'.replace('-', '−')
        yield (
            row.method,
            percent(row.label_fraction),
            str(paired.patients),
            signed(100 * paired.difference),
            f'{signed(100 * paired.low)} to {signed(100 * paired.high)}',
            p_value(paired.p) + tested,
        )


def _published(comparison, metric):
    return comparison.published.numbers.get(metric, ()) if comparison.published else ()


def _published_p(comparison, metric):
    """It was published of one metric, that with the most numbers."""
    several = len(_published(comparison, metric)) > 2
    return comparison.published.p if several else None


def _paired_measures(comparison):
    if comparison.task == 'segmentation':
        return 'mean Dice (percentage points)', 'mean Dice'
    return 'AUC (percentage points)', 'Brier scores'


def _fields(row, names):
    return {name: getattr(row, name) for name in names}
