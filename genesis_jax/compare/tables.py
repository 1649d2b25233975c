"""A comparison as a report. Fractions are shown in per cent; its CSV file has them as they are."""

from collections.abc import Iterator

from genesis_jax.compare import published, statistics
from genesis_jax.compare.analysis import Comparison, PatientRow, Row
from genesis_jax.compare.writers import (
    Report,
    Section,
    Table,
    p_value,
    percent,
    signed,
    spread_text,
    tex,
)

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
_HEAD = ('method', 'labels', 'runs', 'mean ± sd', 'difference', 'p', 'p (Holm)')
_PATIENT_HEAD = ('method', 'labels', 'patients', 'difference', '95 % interval', 'p', 'p (Holm)')
_SAVING_HEAD = ('method', 'labels', 'saved', '95 % interval')
_SAVING_FIELDS = ('method', 'label_fraction', 'low', 'high', 'at_least', 'at_most')
_OF_RUNS = ('metric', 'method', 'label_fraction', 'runs', 'planned', 'folds', 'mean', 'sd')
_FIELDS = (*_OF_RUNS, 'difference', 'p')
_PATIENT_FIELDS = ('patients', 'difference', 'low', 'high', 'p')


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


def spread_of(row: Row) -> str:
    """Mean and sd of a row as they are shown."""
    scale = factor(row.metric)
    return spread_text(row.mean * scale, row.sd * scale)


def runs(row: Row) -> str:
    """How many runs a mean rests on, and over how many folds each: `3`, `2 of 3`, `3 x 5 folds`."""
    complete = f'{row.runs}' if row.runs == row.planned else f'{row.runs} of {row.planned}'
    folds = f' x {row.folds} fold{"s" * (row.folds > 1)}' if row.folds else ''
    return complete + folds


def report(comparison: Comparison) -> Report:
    """The tables by metric, the test by patient, and what limits them."""
    dataset, baseline, test = comparison.dataset, comparison.baseline, comparison.test
    by_metric = Table(
        _HEAD,
        [_section(comparison, metric) for metric in comparison.metrics],
        rf'{tex(dataset)}: mean $\pm$ sd over runs; p of {tex(test)}, against {tex(baseline)}. '
        + _A_RUN,
        left=2,
    )
    return Report(
        title=f'{dataset}: {comparison.task}, compared with {baseline}',
        about=f'Mean ± sd over runs; p of {test}, against {baseline}, and corrected by Holm for '
        f'the number of tests of a metric. {_A_RUN}',
        tables=[by_metric, *_by_patient(comparison), *_savings(comparison)],
        lists=[
            ('', '', comparison.notes),
            (
                'The configs differ in more than start and labels, which may explain a part:',
                'configs differ',
                comparison.recipes,
            ),
        ],
        columns=(
            *_FIELDS,
            'p_holm',
            'source',
            'test',
            'patients',
            'low',
            'high',
            'at_least',
            'at_most',
        ),
        records=[*_records(comparison)],
    )


def _section(comparison: Comparison, metric: str) -> Section:
    """The rows of a metric, measured and published, and what is not alike in them."""
    scale, numbers = factor(metric), _published(comparison, metric)
    rows = [
        (
            row.method,
            percent(row.label_fraction),
            runs(row),
            spread_of(row),
            signed(row.difference * scale),
            row.p_note or p_value(row.p),
            '' if row.p_note else p_value(corrected),
        )
        for row, corrected in _corrected(comparison, metric)
    ]
    rows += [
        (f'published: {n.method}, {n.source}', '100 %', '', spread_text(n.mean, n.sd), '', '', '')
        for n in numbers
    ]
    known, aside = comparison.published, ''
    if p := _published_p(comparison, metric):
        aside = f'Published p, best against scratch: {p} ({_published_test(comparison)}).'
    return Section(rows, title(metric), known.note if known and numbers else '', aside)


def _corrected(comparison: Comparison, metric: str) -> list[tuple[Row, float]]:
    """The rows of a metric, each with its p corrected by Holm for their number."""
    rows = [row for row in comparison.rows if row.metric == metric]
    return [*zip(rows, statistics.holm([row.p for row in rows]), strict=True)]


def _corrected_by_patient(comparison: Comparison) -> list[tuple[PatientRow, float]]:
    rows = comparison.patients
    return [*zip(rows, statistics.holm([row.paired.p for row in rows]), strict=True)]


def _by_patient(comparison: Comparison) -> Iterator[Table]:
    """The table of the test by patient, if there is one."""
    segments, rows = comparison.task == 'segmentation', []
    for row, corrected in _corrected_by_patient(comparison):
        paired, tested = row.paired, ''
        if not segments:  # p is of another measure than the interval
            tested = f' (Brier score {paired.tested:+.3f})'.replace('-', '−')
        rows.append(
            (
                row.method,
                percent(row.label_fraction),
                str(paired.patients),
                signed(100 * paired.difference),
                f'{signed(100 * paired.low)} to {signed(100 * paired.high)}',
                p_value(paired.p) + tested,
                p_value(corrected),
            )
        )
    what, tested = ('mean Dice', 'mean Dice') if segments else ('AUC', 'Brier scores')
    what = f'difference of {what} (percentage points) from '
    if rows:
        yield Table(
            _PATIENT_HEAD,
            [Section(rows)],
            f'{tex(comparison.dataset)}, by patient: {what}{tex(comparison.baseline)} with its '
            f'bootstrap interval; p of the signed-rank test of {tested}.',
            left=2,
            heading='By patient',
            about=f'D{what[1:]}{comparison.baseline} with its 95 % bootstrap interval over '
            f"patients; p of Wilcoxon's signed-rank test of the patients' {tested}, averaged over "
            'runs, and corrected by Holm for the number of rows.',
        )


def _savings(comparison: Comparison) -> Iterator[Table]:
    """The table of labels saved, where several shares of them were tried."""
    rows = [
        (
            saving.method,
            percent(saving.label_fraction),
            '≥ ' * saving.at_least + '≤ ' * saving.at_most + signed(100 * saving.share),
            '≤ ' * saving.low_at_most
            + f'{signed(100 * saving.low)} to '
            + '≥ ' * saving.high_at_least
            + signed(100 * saving.high),
        )
        for saving in comparison.savings
    ]
    score, baseline = ('Dice', 'AUC')[comparison.task != 'segmentation'], comparison.baseline
    if rows:
        yield Table(
            _SAVING_HEAD,
            [Section(rows)],
            f'{tex(comparison.dataset)}: share of the labels (in per cent) that is saved at equal '
            f'{score} against {tex(baseline)}.',
            left=2,
            heading='Labels saved',
            about=f'Saved: the share (in per cent) of the labels that {baseline} needs for the '
            f'same {score}, read off its curve over the logarithm of the share; ≥ where it does '
            'not reach that with any of its shares, ≤ where it does better with the smallest. 95 % '
            'interval over draws of patients and of runs.',
        )


def _records(comparison: Comparison) -> Iterator[dict[str, object]]:
    """One for a metric of a method; of the test by patient and what was published, too."""
    for metric in comparison.metrics:
        for row, corrected in _corrected(comparison, metric):
            test = {'source': 'measured', 'test': row.p_note or comparison.test}
            yield _fields(row, _FIELDS) | {'p_holm': corrected} | test
    segments = comparison.task == 'segmentation'
    what, tested = ('dice', 'Dice') if segments else ('auc', 'Brier scores')
    test = {'metric': what, 'source': 'measured', 'test': f'Wilcoxon of {tested} by patient'}
    for tried, corrected in _corrected_by_patient(comparison):
        about = _fields(tried, ('method', 'label_fraction')) | {'p_holm': corrected}
        yield test | about | _fields(tried.paired, _PATIENT_FIELDS)
    for saving in comparison.savings:
        yield {'metric': 'labels_saved', 'source': 'measured', 'mean': saving.share} | _fields(
            saving, _SAVING_FIELDS
        )
    for metric in comparison.metrics:
        for number in _published(comparison, metric):
            about = {'metric': metric, 'method': number.method, 'source': number.source}
            yield about | {'label_fraction': 1.0} | number.fractions
        if p := _published_p(comparison, metric):
            source = f'{published.EDITIONS["miccai"]}, table 2'
            about = {'metric': metric, 'method': 'best against scratch', 'source': source}
            yield about | {'p': p, 'test': _published_test(comparison)}


def _published(comparison: Comparison, metric: str) -> tuple[published.Published, ...]:
    return comparison.published.numbers.get(metric, ()) if comparison.published else ()


def _published_p(comparison: Comparison, metric: str) -> str:
    """Of the best approach against scratch: of one metric, that with the most numbers."""
    numbers = _published(comparison, metric)
    return comparison.published.p if comparison.published and len(numbers) > 2 else ''


def _published_test(comparison: Comparison) -> str:
    fits = comparison.published and 'table2' not in comparison.published.unexplained
    return published.PUBLISHED_TEST if fits else 'no t-test of the published means gives it'


def _fields(row: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(row, name) for name in names}
