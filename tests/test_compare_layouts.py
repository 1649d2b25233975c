"""2D against 3D, and several findings at once: comparisons of made-up runs."""

import csv

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from genesis_jax.compare.__main__ import main
from genesis_jax.compare.runs import read_tests, read_workdir
from genesis_jax.compare.statistics import auc_of_draws
from tests.compared import (
    PATIENTS,
    make_classifier,
    make_findings,
    make_in,
    make_workdir,
    values_of,
    write_config,
)

IMAGENET = {
    'loaded': ['encoder'],
    'source': {'file': 'x', 'sha256': '0a1b', 'format': 'pytorch'},
}
OF_CT = {
    'loaded': ['encoder'],
    'task': 'restoration',
    'dataset': 'my_slices',
    'modality': 'ct',
}
OF_XRAY = {'loaded': ['encoder'], 'task': 'restoration', 'dataset': 'chestxray'}
OF_A_TASK = {'loaded': ['encoder'], 'task': 'multilabel', 'dataset': 'dxc'}


@pytest.fixture
def five(tmp_path):
    """NCC: scratch, ImageNet and Genesis in 2D, scratch and Genesis in 3D (an earlier version)."""
    starts = [('scratch', 0.5, ()), ('x', 0.8, IMAGENET), ('runs/genesis_ct_2d', 0.9, OF_CT)]
    paths = [
        make_in(tmp_path, 2, i, make_classifier, init=init, gain=gain, start=start)
        for i, (init, gain, start) in enumerate(starts)
    ]
    paths.append(make_in(tmp_path, 3, 'scratch', make_classifier, gain=0.7))
    paths.append(make_classifier(tmp_path / 'earlier', init='runs/genesis_ct', gain=1.4))
    return paths


def lay_out(tmp_path, paths, *options):
    assert main([*map(str, paths), '--layout=table4', f'--out={tmp_path / "out"}', *options]) == 0
    with (tmp_path / 'out/table4.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    return rows, (tmp_path / 'out/table4.md').read_text()


def test_the_papers_table_of_2d_against_3d(tmp_path, five, capsys):
    rows, text = lay_out(tmp_path, five)
    columns = (
        '| task | 2D scratch | 2D ImageNet | 2D Genesis | 3D scratch | 3D Genesis | p | p (Holm) |'
    )
    assert columns in text and columns in capsys.readouterr().out
    measured = {row['method']: row for row in rows if row['source'] == 'measured'}
    for path, method in zip(five, columns.split(' | ')[1:-2], strict=True):
        values = values_of(path, 'auc')
        assert float(measured[method]['mean']) == pytest.approx(np.mean(values))
        assert f'{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f} (3)' in text
    means = {method: float(row['mean']) for method, row in measured.items()}
    best = max((m for m in means if m[0] == '2'), key=means.get)
    values = values_of(five[4], 'auc'), values_of(five[int(best == '2D Genesis') + 1], 'auc')
    p = stats.ttest_ind(*values, equal_var=False).pvalue
    tested = {m for m, row in measured.items() if row['p']}
    assert tested == {best, '3D Genesis'}
    assert float(measured[best]['p']) == pytest.approx(p)
    published = (
        '| published | 96.03 ± 0.86 | 97.79 ± 0.71 | 97.45 ± 0.61 | 94.25 ± 5.07 | 98.20 ± 0.51 '
        '| 0.0213 |  |'
    )
    assert published in text
    latex = (tmp_path / 'out/table4.tex').read_text()
    assert r'97.79 $\pm$ 0.71' in latex and latex.count(r'\\') == 3


def test_a_row_for_each_task(tmp_path, five):
    segmented = {'dataset': 'ncs', 'init': 'scratch'}
    more = [
        make_in(tmp_path, 2, 'scratch', make_workdir, skill=0.6, **segmented),
        make_in(tmp_path, 3, 'scratch', make_workdir, **segmented),
    ]
    rows, text = lay_out(tmp_path, [*five, *more])
    lines = [line for line in text.splitlines() if line.startswith('| ncs')]
    assert len(lines) == 1 and 'mean_iou_paper' in lines[0] and lines[0].count('|  |') == 2
    assert '| published | 70.48 ± 1.07 |  |  | 74.05 ± 1.97 |  |  |' in text  # p is of others
    assert {row['task'] for row in rows} == {'ncc', 'ncs'}


def test_a_published_p_stands_only_with_the_columns_that_it_compares(tmp_path, five):
    best = [
        make_in(tmp_path, 2, 'ncs', make_workdir, dataset='ncs', init='x'),
        make_in(tmp_path, 3, 'ncs', make_workdir, dataset='ncs', init='y'),
    ]
    _, text = lay_out(tmp_path, best, '--names=ImageNet,Genesis')
    assert '| published | 72.39 ± 0.77 | 77.62 ± 0.64 | < 1e-8 |  |' in text
    latex = (tmp_path / 'out/table4.tex').read_text()
    assert r'77.62 $\pm$ 0.64 & $<$ 1e-8' in latex
    _, text = lay_out(tmp_path, [*five[:2], five[3]], '--overwrite')
    assert '| published | 96.03 ± 0.86 | 97.79 ± 0.71 | 94.25 ± 5.07 |  |  |' in text


def test_methods_are_named_by_what_was_loaded(tmp_path):
    starts = {'a': IMAGENET, 'b': OF_CT, 'c': OF_XRAY, 'runs/dxc/seed_0': OF_A_TASK}
    of = {'ncc': make_classifier, 'dxc': make_findings}
    names = {
        'ncc': ['2D ImageNet', '2D Genesis', '2D Genesis X-ray', '2D seed_0'],
        'dxc': ['2D ImageNet', '2D Genesis CT', '2D Genesis X-ray', '2D seed_0'],
    }
    for task, maker in of.items():
        paths = [
            make_in(tmp_path / task, 2, n, maker, init=init, start=start)
            for n, (init, start) in enumerate(starts.items())
        ]
        _, text = lay_out(tmp_path, paths, '--overwrite')
        assert f'| task | {" | ".join(names[task])} | p | p (Holm) |' in text
    assert '| published | 75.55 ± 0.48 | 74.99 ± 0.36 | 75.48 ± 0.13 |  |  |  |' in text


def test_views_and_widths_that_differ_within_2d_are_told(tmp_path, five):
    write_config(five[4], data={})  # an earlier version's
    _, text = lay_out(tmp_path, five)
    assert 'The configs differ' not in text
    views = ('slices', 'adjacent', 'slices', None, None)
    for path, view, width in zip(five, views, (64, 64, 32, 16, 16), strict=True):
        dimensions = 3 if view is None else 2
        write_config(path, dimensions=dimensions, data={'view': view}, model={'width': width})
    _, text = lay_out(tmp_path, five, '--overwrite')
    lines = [line for line in text.splitlines() if line.startswith('- ')]
    lines = [
        line for line in lines if 'scratch: drawn' not in line and 'pre-trained on' not in line
    ]
    assert lines == [
        '- ncc: p 0.0213',  # published, and given back by no test
        '- ncc: 2D ImageNet: slices with their neighbours (`data.view`: adjacent)',
        '- ncc: `model.width`: 64 (2D scratch, 2D ImageNet); 32 (2D Genesis)',
    ]


def test_readings_other_than_slices_are_told(tmp_path, five):
    _, text = lay_out(tmp_path, five)
    assert 'single slices' not in text
    for path, view in zip(five, ('orthogonal', 'orthogonal', 'adjacent'), strict=False):
        write_config(path, dimensions=2, data={'view': view})
    write_config(five[-1], dimensions=3, data={})
    _, text = lay_out(tmp_path, five, '--overwrite')
    told = [
        'ncc: 2D scratch, 2D ImageNet: three orthogonal planes (`data.view`: orthogonal)',
        'ncc: 2D Genesis: slices with their neighbours (`data.view`: adjacent)',
    ]
    lines = text.splitlines()
    (heading,) = [line for line in lines if 'read in 2D otherwise than as single slices' in line]
    after = lines[lines.index(heading) + 1 :]
    assert 'published' in heading and after == ['', *(f'- {line}' for line in told)]
    latex = (tmp_path / 'out/table4.tex').read_text()
    assert f'% reading: {told[0]}' in latex


def test_tasks_of_2d_alone_have_no_p(tmp_path):
    names = ('scratch', 'ImageNet', 'Genesis X-ray')
    paths = [make_in(tmp_path, 2, n, make_findings, gain=g) for g, n in enumerate(names, start=1)]
    rows, text = lay_out(tmp_path, paths, f'--names={",".join(names)}')
    assert '| task | 2D scratch | 2D ImageNet | 2D Genesis X-ray | p | p (Holm) |' in text
    assert '| published | 69.15 ± 0.77 | 75.55 ± 0.48 | 75.48 ± 0.13 |  |' in text
    assert not any(row['p'] for row in rows)


def test_what_is_no_table_is_refused(tmp_path, five, capsys):
    def refusal(*arguments):
        with pytest.raises(SystemExit):
            main([*map(str, arguments), '--layout=table4', f'--out={tmp_path / "out"}'])
        return capsys.readouterr().err

    again = make_in(tmp_path, 2, 'again', make_classifier)
    assert "are both '2D scratch'; tell them apart with --names" in refusal(*five, again)
    assert '--names has 1 names for 5 workdirs' in refusal(*five, '--names=a')
    tenth = make_in(tmp_path, 3, 'tenth', make_workdir, fraction=0.1)
    assert 'have 10 %, 100 % of the labels' in refusal(*five, tenth)
    other = make_in(tmp_path, 3, 'classes', make_classifier, init='x', classes=('a', 'b'))
    assert 'has other classes than' in refusal(five[0], other)
    assert 'leave it out' in refusal(*five, '--baseline=scratch')


def test_methods_of_both_dimensions_are_named_by_them(tmp_path, five):
    out = tmp_path / 'one'
    assert main([str(five[0]), str(five[3]), str(five[4]), f'--out={out}', '--draws=10']) == 0
    text = (out / 'comparison.md').read_text()
    assert '| 2D scratch | 100 % | 3 |' in text and '| 3D scratch |' in text
    assert '| 3D genesis_ct |' in text and 'compared with 2D scratch' in text
    assert '`dimensions`: 2 (2D scratch); 3 (3D scratch, 3D genesis_ct)' in text


# --- several findings at once ------------------------------------------------------------------


def test_findings_are_compared_each_and_on_average(tmp_path):
    paths = [make_findings(tmp_path / name, gain=gain) for name, gain in (('a', 1.0), ('b', 2.0))]
    out = tmp_path / 'out'
    assert main([*map(str, paths), '--names=a,b', f'--out={out}', '--draws=20']) == 0
    text = (out / 'comparison.md').read_text()
    for section in ('## AUC (%)', '## AUC, Mass (%)', '## AUC, Hernia (%)', '## By patient'):
        assert section in text
    assert "patients' Brier scores" in text and 'published: ImageNet, MICCAI 2019' in text
    (tested, *_) = read_tests(read_workdir(paths[0]))
    weights = np.ones((1, len(PATIENTS)))
    owners = np.unique(tested.patients, return_inverse=True)[1]
    columns = (tested.labels, tested.probabilities, owners)
    expected = roc_auc_score(tested.labels, tested.probabilities)  # mean over findings
    np.testing.assert_allclose(auc_of_draws(*columns, weights), expected)
    errors = np.mean((tested.probabilities - tested.labels) ** 2, axis=1)
    np.testing.assert_allclose(tested.values, errors)


def test_figure_2_is_of_2d(tmp_path, five, capsys):
    with pytest.raises(SystemExit):
        main([*map(str, five), '--layout=figure2', f'--out={tmp_path / "out"}'])
    assert 'is in 3D, and figure 2 is of 2D' in capsys.readouterr().err
