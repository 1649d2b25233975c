"""2D against 3D, and several findings at once: comparisons of made-up runs."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from genesis_jax import metrics
from genesis_jax.compare.__main__ import main
from genesis_jax.compare.runs import read_tests, read_workdir
from genesis_jax.compare.statistics import auc_of_draws, holm
from tests.compared import PATIENTS, make_classifier, make_workdir, write_config, write_csv

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


def make_in(folder, dimensions, name, maker, **about):
    """A workdir of a network of so many dimensions."""
    path = maker(folder / f'{maker.__name__}_{dimensions}d_{name}', **about)
    write_config(path, dimensions=dimensions, data={'view': None if dimensions == 3 else 'slices'})
    return path


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


def values_of(path, metric):
    return [json.loads(f.read_text())['metrics'][metric] for f in path.glob('*/results.json')]


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
    lines = [line for line in lines if 'scratch: drawn' not in line]
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

FINDINGS = ['Mass', 'Hernia']


def make_findings(path, *, gain=1.0, init='scratch', start=()):
    """A fine-tuned multi-label classification: two images a patient. Returns its path."""
    truth = np.random.default_rng(3)
    labels = truth.integers(0, 2, (2 * len(PATIENTS), 2))
    noise = truth.normal(size=labels.shape)
    for seed in range(3):
        logits = noise + 0.3 * np.random.default_rng([seed, 5]).normal(size=noise.shape)
        chances = 1 / (1 + np.exp(-logits - gain * (labels - 0.5)))
        rows = [
            {'patient': PATIENTS[n // 2], 'scan_id': f's{n}'}
            | {f'label_{name}': labels[n, i] for i, name in enumerate(FINDINGS)}
            | {f'p_{name}': chances[n, i] for i, name in enumerate(FINDINGS)}
            for n in range(len(labels))
        ]
        run = path / f'seed_{seed}'
        run.mkdir(parents=True)
        write_csv(run / 'predictions.csv', rows)
        results = {'task': 'multilabel', 'dataset': 'dxc', 'classes': FINDINGS, 'seed': seed}
        results |= {'fold': None, 'init': init, 'label_fraction': 1.0, 'examples': len(labels)}
        results['provenance'] = dict(start)
        results['metrics'] = metrics.findings_metrics(labels, chances, FINDINGS)
        (run / 'results.json').write_text(json.dumps(results))
    write_config(path)
    return path


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


def test_the_papers_table_against_scratch(tmp_path):
    """Classification and segmentation together; the best start of each task is tested."""
    paths, names = [], []
    for maker, skills in ((make_classifier, (0.5, 0.9, 0.8)), (make_workdir, (0.6, 0.7, 0.75))):
        option = 'gain' if maker is make_classifier else 'skill'
        about = {} if maker is make_classifier else {'dataset': 'ncs'}
        for name, skill in zip(('scratch', 'Genesis', 'other'), skills, strict=True):
            paths.append(make_in(tmp_path, 3, name, maker, **{option: skill}, **about))
            names.append(name)
    options = (f'--names={",".join(names)}', f'--out={tmp_path / "out"}', '--test=published')
    assert main([*map(str, paths), '--layout=table2', *options]) == 0
    text = (tmp_path / 'out/table2.md').read_text()
    apart = '| disease | organ | dataset | modality |'
    assert f'| task {apart} scratch | Genesis | other | p | p (Holm) |' in text
    assert '| published |  |  |  |  | 94.25 ± 5.07 | 98.20 ± 0.51 |  | 0.0180 |  |' in text
    assert '| published |  |  |  |  | 74.05 ± 1.97 | 77.62 ± 0.64 |  | 1.04e-4 |  |' in text
    expected = [
        stats.ttest_ind(
            values_of(better, metric), values_of(worse, metric), equal_var=False,
            alternative='greater',
        ).pvalue
        for better, worse, metric in (
            (paths[1], paths[0], 'auc'), (paths[5], paths[3], 'mean_iou_paper')
        )
    ]  # fmt: skip
    with (tmp_path / 'out/table2.csv').open() as stream:
        rows = [row for row in csv.DictReader(stream) if row['source'] == 'measured']
    for task, method, p in (('ncc', 'Genesis', expected[0]), ('ncs', 'other', expected[1])):
        tested = {r['method']: r for r in rows if r['task'] == task and r['p']}
        assert tested.keys() == {'scratch', method}
        assert float(tested[method]['p']) == pytest.approx(p)
        corrected = min(1, 2 * p) if p == min(expected) else max(p, min(1, 2 * min(expected)))
        assert float(tested[method]['p_holm']) == pytest.approx(corrected)


@pytest.mark.parametrize(
    ('task', 'restored', 'marks'),
    [
        ('bms', 'luna16', '× | × | × | ×'),
        ('lcs', 'luna16', '× | × | × | '),
        ('ncs', 'luna16_slices', ' |  |  | '),
        ('bms', 'my_brains', ' |  | × | '),
        ('mine', 'luna16', ' |  | × | '),
        ('mine', 'mine', ' |  |  | '),
    ],
)
def test_it_tells_how_far_a_task_is_from_its_pretraining(tmp_path, task, restored, marks):
    paths = [
        make_in(tmp_path, 3, name, make_workdir, dataset=task) for name in ('scratch', 'other')
    ]
    for file in paths[1].glob('*/results.json'):
        origin = {'loaded': ['encoder'], 'task': 'restoration', 'dataset': restored}
        file.write_text(json.dumps(json.loads(file.read_text()) | {'provenance': origin}))
    options = ('--names=scratch,Genesis', f'--out={tmp_path / "out"}')
    assert main([*map(str, paths), '--layout=table2', *options]) == 0
    text = (tmp_path / 'out/table2.md').read_text()
    (row,) = (line for line in text.splitlines() if line.startswith(f'| {task},'))
    assert row.split(' | ', 1)[1].startswith(f'{marks} | 7')


@pytest.mark.parametrize('layout', ['methods', 'table2'])
@pytest.mark.parametrize(('init', 'told'), [('glorot', 'as the tables'), ('he', 'as He')])
def test_it_tells_which_published_scratch_a_scratch_is(tmp_path, layout, init, told):
    paths = [
        make_in(tmp_path, 3, name, make_workdir, dataset='ncs') for name in ('scratch', 'other')
    ]
    for path in paths:
        write_config(path, dimensions=3, data={'view': None}, model={'init': init})
    out = tmp_path / 'out'
    options = (f'--layout={layout}', '--names=scratch,Genesis', f'--out={out}')
    assert main([*map(str, paths), *options]) == 0
    (file,) = out.glob('*.md')
    assert f'scratch: drawn {told}' in file.read_text()


def test_the_papers_table_of_approaches_tests_the_two_best(tmp_path):
    names = ('scratch', 'Distortion', 'Painting', 'Unified')
    paths = [
        make_in(tmp_path, 3, name, make_workdir, skill=skill, dataset='ecc_like')
        for name, skill in zip(names, (0.5, 0.7, 0.6, 0.8), strict=True)
    ]
    options = (f'--names={",".join(names)}', f'--out={tmp_path / "out"}')
    assert main([*map(str, paths), '--layout=table3', *options]) == 0
    with (tmp_path / 'out/table3.csv').open() as stream:
        tested = {row['method']: float(row['p']) for row in csv.DictReader(stream) if row['p']}
    values = (values_of(path, 'mean_iou_paper') for path in (paths[3], paths[1]))
    p = stats.ttest_ind(*values, equal_var=False).pvalue
    assert tested == {'Unified': pytest.approx(p), 'Distortion': pytest.approx(p)}


def test_only_a_scratch_of_its_dimensions_is_a_baseline(tmp_path):
    """Wherever it stands; where it is missing, nothing is tested."""
    paths = [
        make_in(tmp_path, 3, 'genesis', make_classifier, gain=0.9),
        make_in(tmp_path, 2, 'scratch', make_classifier, gain=0.2),
        make_in(tmp_path, 3, 'scratch', make_classifier, gain=0.5),
        make_in(tmp_path, 3, 'other', make_workdir, dataset='lcs'),
        make_in(tmp_path, 3, 'best', make_workdir, dataset='lcs', skill=0.8),
    ]
    names = '--names=Genesis,scratch,scratch,other,Genesis'
    assert main([*map(str, paths), '--layout=table2', names, f'--out={tmp_path / "out"}']) == 0
    with (tmp_path / 'out/table2.csv').open() as stream:
        tested = {(r['task'], r['method']): r['p'] for r in csv.DictReader(stream) if r['p']}
    p = stats.ttest_ind(*(values_of(path, 'auc') for path in paths[:3:2]), equal_var=False).pvalue
    options = ('--names=Genesis,scratch', f'--out={tmp_path / "two"}')
    assert main([*map(str, paths[:2]), '--layout=table2', *options]) == 0
    with (tmp_path / 'two/table2.csv').open() as stream:
        assert not any(row['p'] for row in csv.DictReader(stream))
    assert tested.keys() == {('ncc', '3D Genesis'), ('ncc', '3D scratch')}
    assert float(tested['ncc', '3D Genesis']) == pytest.approx(p)


def test_in_the_table_of_approaches_genesis_is_the_unified_one(tmp_path):
    paths = [
        make_in(tmp_path, 3, name, make_classifier, gain=gain)
        for name, gain in (('Distortion', 0.5), ('Painting', 0.8), ('Genesis', 0.7))
    ]
    names = '--names=Distortion,Painting,Genesis'
    assert main([*map(str, paths), '--layout=table3', names, f'--out={tmp_path / "out"}']) == 0
    text = (tmp_path / 'out/table3.md').read_text()
    assert '| task | Distortion | Painting | Unified |' in text
    assert '| published | 96.46 ± 1.03 | 98.20 ± 0.51 | 97.90 ± 0.57 |' in text


def test_figure_2_has_the_p_of_every_pair(tmp_path, capsys):
    starts = {'scratch': 0.5, 'ImageNet': 0.9, 'Genesis': 0.8}
    paths, names = [], []
    for view in ('slices', None):
        for name, gain in starts.items():
            maker = make_classifier if view else make_findings
            path = maker(tmp_path / f'{view}_{name}', init=name, **({'gain': gain} if view else {}))
            write_config(path, dimensions=2, data={'view': view})
            paths.append(path)
            names.append(name)
    options = (f'--names={",".join(names)}', f'--out={tmp_path / "out"}')
    assert main([*map(str, paths), '--layout=figure2', *options]) == 0
    text = (tmp_path / 'out/figure2.md').read_text()
    assert '| ncc | 2D scratch | 2D ImageNet | ' in text and '![figure2](figure2.png)' in text
    with (tmp_path / 'out/figure2.csv').open() as stream:
        pairs = [row for row in csv.DictReader(stream) if row['other']]
    assert len(pairs) == 6  # three of each task
    latex = (tmp_path / 'out/figure2.tex').read_text()
    assert latex.count(r' \\') == 2 + 4 + 6 and '| dxc | 2D scratch' in capsys.readouterr().out
    first = stats.ttest_ind(
        values_of(paths[0], 'auc'), values_of(paths[1], 'auc'), equal_var=False
    ).pvalue
    assert float(pairs[0]['p']) == pytest.approx(first)
    assert float(pairs[0]['p_holm']) >= float(pairs[0]['p'])
    assert (tmp_path / 'out/figure2.png').stat().st_size > 10_000


def test_figure_2_is_of_2d(tmp_path, five, capsys):
    with pytest.raises(SystemExit):
        main([*map(str, five), '--layout=figure2', f'--out={tmp_path / "out"}'])
    assert 'is in 3D, and figure 2 is of 2D' in capsys.readouterr().err


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_largest_of_bonferroni_steps(values):
    corrected = holm([*values, math.nan])
    assert math.isnan(corrected.pop())
    order = np.argsort(values)
    steps = np.minimum(1, np.sort(values) * np.arange(len(values), 0, -1))
    np.testing.assert_allclose(np.array(corrected)[order], np.maximum.accumulate(steps))
    assert all(p <= q for p, q in zip(values, corrected, strict=True))
