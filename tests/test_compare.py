"""Comparisons of made-up runs: what is said of them, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats
from sklearn.metrics import roc_auc_score

from genesis_jax import metrics
from genesis_jax.compare import analysis, charts, statistics
from genesis_jax.compare.__main__ import main
from genesis_jax.compare.published import TASKS
from genesis_jax.compare.runs import read_workdir, short_name
from genesis_jax.finetune import finetune

_PATIENTS = [f'p{index:02d}' for index in range(24)]


def _write_csv(file, rows):
    with file.open('w', newline='') as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_run(workdir, results, table, rows):
    fold = results['fold']
    run = workdir / (f'seed_{results["seed"]}' + ('' if fold is None else f'_fold_{fold}'))
    run.mkdir(parents=True)
    _write_csv(run / table, rows)
    (run / 'results.json').write_text(json.dumps(results))
    return run


def make_workdir(path, *, init='scratch', dataset='lcs', fraction=1.0, skill=0.7, runs=3, folds=0):
    """A fine-tuned segmentation; each patient is as hard in every run. Returns its path."""
    hardness = np.random.default_rng(9).normal(0, 0.05, len(_PATIENTS))
    for seed in range(runs):
        for fold in range(folds) if folds else [None]:
            rng = np.random.default_rng([seed, fold or 0, int(100 * skill)])
            patients = _PATIENTS[fold::folds] if folds else _PATIENTS
            luck = rng.normal(0, 0.02)
            rows = []
            for patient in patients:
                value = skill + luck + hardness[_PATIENTS.index(patient)] + rng.normal(0, 0.01)
                row = dict.fromkeys(metrics.CASE_METRICS, float(np.clip(value, 0, 1)))
                rows.append({'patient': patient, 'scan_id': patient, 'class': 'liver'} | row)
                rows[-1]['hd95'] = 10 * (1 - value)
            classes = ['background', 'liver']
            results = _results('segmentation', dataset, classes, seed, fold, init, fraction)
            results['metrics'] = metrics.segmentation_metrics(rows, classes)
            _write_run(path, results, 'cases.csv', rows)
    _write_config(path)
    return path


def make_classifier(path, *, init='scratch', gain=1.0, runs=3, classes=('benign', 'nodule')):
    """A fine-tuned classification: three candidates a patient. Returns its path."""
    truth = np.random.default_rng(7)
    labels = truth.integers(0, len(classes), 3 * len(_PATIENTS))
    noise = truth.normal(size=(len(labels), len(classes)))
    for seed in range(runs):
        rng = np.random.default_rng([seed, int(10 * gain)])
        logits = noise + 0.3 * rng.normal(size=noise.shape) + gain * np.eye(len(classes))[labels]
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        shown = range(len(classes)) if len(classes) > 2 else [1]
        rows = [
            {'patient': _PATIENTS[n // 3], 'scan_id': f's{n // 3}', 'label': label}
            | {f'p_{classes[index]}': chances[n, index] for index in shown}
            for n, label in enumerate(labels)
        ]
        results = _results('classification', 'ncc', list(classes), seed, None, init, 1.0)
        results['metrics'] = metrics.classification_metrics(labels, chances)
        _write_run(path, results, 'predictions.csv', rows)
    _write_config(path)
    return path


def _results(task, dataset, classes, seed, fold, init, fraction):
    return {
        'task': task,
        'dataset': dataset,
        'classes': classes,
        'seed': seed,
        'fold': fold,
        'init': init,
        'label_fraction': fraction,
        'examples': 24,
    }


def _write_config(path, **config):
    (path / 'config.json').write_text(json.dumps({'config': config}))


def _compare(tmp_path, *workdirs, options=()):
    out = f'--out={tmp_path / "out"}'
    assert main([*map(str, workdirs), out, '--overwrite', *options]) == 0
    with (tmp_path / 'out/comparison.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    return rows, (tmp_path / 'out/comparison.md').read_text()


def _find(rows, **fields):
    found = [row for row in rows if all(row[name] == value for name, value in fields.items())]
    assert len(found) == 1, found
    return found[0]


def _refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    assert stopped.value.code != 0
    text = capsys.readouterr().err.strip()
    assert len(text.splitlines()) == 1
    return text


@pytest.fixture
def two(tmp_path):
    better = 'runs/ct/export/encoder_decoder'
    return (
        make_workdir(tmp_path / 'a'),
        make_workdir(tmp_path / 'b', init=better, skill=0.76, runs=4),
    )


# --- what is said ----------------------------------------------------------------------------


def test_means_and_t_test_are_those_of_the_runs(tmp_path, two, capsys):
    rows, text = _compare(tmp_path, *two)
    values = [
        [json.loads(f.read_text())['metrics']['dice'] for f in path.glob('*/results.json')]
        for path in two
    ]
    found = _find(rows, metric='dice', method='ct', patients='', source='measured')
    assert float(found['mean']) == pytest.approx(np.mean(values[1]))
    assert float(found['sd']) == pytest.approx(np.std(values[1], ddof=1))
    assert float(found['p']) == pytest.approx(stats.ttest_ind(values[1], values[0]).pvalue)
    assert float(found['difference']) == pytest.approx(np.mean(values[1]) - np.mean(values[0]))
    assert _find(rows, metric='dice', method='scratch', source='measured')['test'] == 'baseline'
    assert f'| ct | 100 % | 4 | {100 * np.mean(values[1]):.2f} ±' in text
    assert text.splitlines()[0] in capsys.readouterr().out
    welch, _ = _compare(tmp_path, *two, options=['--welch'])
    found = _find(welch, metric='dice', method='ct', patients='', source='measured')
    expected = stats.ttest_ind(values[1], values[0], equal_var=False).pvalue
    assert float(found['p']) == pytest.approx(expected)


def test_patients_are_paired_over_the_mean_of_all_runs(tmp_path, two):
    rows, _ = _compare(tmp_path, *two)
    dice = []
    for path in two:
        files = sorted(path.glob('*/cases.csv'))
        runs = [list(csv.DictReader(file.read_text().splitlines())) for file in files]
        dice.append(np.mean([[float(row['dice']) for row in run] for run in runs], axis=0))
    found = _find(rows, test='Wilcoxon of Dice by patient')
    assert int(found['patients']) == len(_PATIENTS)
    assert float(found['p']) == pytest.approx(stats.wilcoxon(dice[1] - dice[0]).pvalue)
    difference = np.mean(dice[1] - dice[0])
    assert float(found['difference']) == pytest.approx(difference)
    assert 0 < float(found['low']) < difference < float(found['high'])


def test_the_intervals_of_a_comparison_are_the_same_every_time(tmp_path, two):
    first, _ = _compare(tmp_path, *two)
    assert _compare(tmp_path, *two)[0] == first
    assert _compare(tmp_path, *two, options=['--seed=1'])[0] != first


@pytest.mark.parametrize('classes', [('benign', 'nodule'), ('solid', 'part-solid', 'none')])
def test_classifications_are_paired_by_brier_score_and_auc(tmp_path, classes):
    workdirs = [
        make_classifier(tmp_path / 'a', classes=classes),
        make_classifier(tmp_path / 'b', init='ct', gain=2.0, classes=classes),
    ]
    rows, text = _compare(tmp_path, *workdirs)
    found = _find(rows, test='Wilcoxon of Brier scores by patient')
    means = [
        float(_find(rows, metric='auc', method=method, patients='', source='measured')['mean'])
        for method in ('scratch', 'ct')
    ]
    assert float(found['difference']) == pytest.approx(means[1] - means[0])
    assert 0 < float(found['low']) < float(found['difference']) < float(found['high'])
    assert float(found['p']) < 0.01
    assert '(Brier score −0.' in text and 'auc_low' not in text


def test_folds_are_averaged_before_seeds(tmp_path):
    workdir = make_workdir(tmp_path / 'a', folds=3)
    other = make_workdir(tmp_path / 'b', init='ct', skill=0.8, folds=3)
    rows, _ = _compare(tmp_path, workdir, other)
    found = _find(rows, metric='dice', method='scratch', source='measured')
    dice = {
        (seed, fold): json.loads((workdir / f'seed_{seed}_fold_{fold}/results.json').read_text())
        for seed in range(3)
        for fold in range(3)
    }
    seeds = [np.mean([dice[seed, f]['metrics']['dice'] for f in range(3)]) for seed in range(3)]
    assert float(found['sd']) == pytest.approx(np.std(seeds, ddof=1))
    assert (found['runs'], found['planned'], found['folds']) == ('3', '3', '3')
    assert _find(rows, test='Wilcoxon of Dice by patient')['patients'] == '24'
    # A seed whose third fold is missing would be a mean over easier or harder patients.
    (workdir / 'seed_1_fold_2/results.json').unlink()
    rows, text = _compare(tmp_path, workdir, other)
    found = _find(rows, metric='dice', method='scratch', source='measured')
    assert float(found['mean']) == pytest.approx(np.mean([seeds[0], seeds[2]]))
    assert '| scratch | 100 % | 2 of 3 x 3 folds |' in text and '2 of 3 runs are complete' in text
    assert '| ct | 100 % | 3 x 3 folds |' in text


def test_one_seed_of_three_folds_is_one_run(tmp_path):
    workdir = make_workdir(tmp_path / 'a', folds=3, runs=1)
    rows, text = _compare(tmp_path, workdir)
    found = _find(rows, metric='dice', method='scratch', source='measured')
    assert (found['runs'], found['planned'], found['folds'], found['sd']) == ('1', '1', '3', '')
    assert '| scratch | 100 % | 1 x 3 folds |' in text
    (workdir / 'seed_0_fold_1/results.json').unlink()
    rows, text = _compare(tmp_path, workdir)
    assert '| scratch | 100 % | 1 x 2 folds |' in text and '2 of 3 folds are complete' in text


def test_unfinished_runs_are_left_out_and_said_to_be(tmp_path, two):
    (two[1] / 'seed_3/results.json').unlink()
    _, text = _compare(tmp_path, *two)
    assert '| ct | 100 % | 3 of 4 |' in text
    assert 'ct with 100 % of the labels: 3 of 4 runs are complete' in text


def test_a_t_test_needs_two_runs_but_the_paired_test_does_not(tmp_path, two):
    one = make_workdir(tmp_path / 'one', init='once', runs=1, skill=0.8)
    rows, text = _compare(tmp_path, two[0], one)
    assert text.count('needs at least 2 runs') == len(metrics.CASE_METRICS)
    found = _find(rows, metric='dice', method='once', patients='', source='measured')
    assert (found['p'], found['sd']) == ('', '')
    assert float(_find(rows, test='Wilcoxon of Dice by patient')['p']) < 0.05


def test_label_fractions_are_compared_with_the_baseline_at_the_same(tmp_path):
    workdirs = [
        make_workdir(tmp_path / f'{init}{fraction}', init=init, fraction=fraction, skill=skill)
        for init, fraction, skill in [
            ('scratch', 0.1, 0.5),
            ('scratch', 1.0, 0.7),
            ('ct', 0.1, 0.6),
            ('ct', 1.0, 0.71),
            ('ct', 0.5, 0.7),
        ]
    ]
    rows, text = _compare(tmp_path, *workdirs)
    found = _find(rows, metric='dice', method='ct', label_fraction='0.1', patients='')
    assert float(found['difference']) == pytest.approx(0.1, abs=0.04)
    alone = _find(rows, metric='dice', method='ct', label_fraction='0.5', patients='')
    assert alone['p'] == '' and alone['test'] == 'no scratch with these labels'
    assert sum('Wilcoxon' in row['test'] for row in rows) == 2
    for plot in ('bars.png', 'curves.png'):
        assert f']({plot})' in text
        assert (tmp_path / 'out' / plot).read_bytes().startswith(b'\x89PNG')


def test_names_and_baseline_are_a_choice(tmp_path, two):
    rows, _ = _compare(tmp_path, *two, options=['--names=Scratch, CT', '--baseline=CT'])
    found = _find(rows, metric='dice', method='Scratch', patients='', source='measured')
    assert float(found['difference']) < 0
    assert short_name('runs/ct/export/encoder') == short_name('/a/ct/') == 'ct'


def test_published_numbers_stand_beside_the_measured(tmp_path, two):
    rows, text = _compare(tmp_path, *two)
    found = _find(rows, metric='mean_iou_paper', method='Unified')
    assert (found['mean'], found['sd'], found['source']) == ('0.7952', '0.0477', 'MICCAI 2019')
    assert '| published: Unified, MICCAI 2019 | 100 % |  | 79.52 ± 4.77 |' in text
    assert 'Published p, best against scratch: 0.0361' in text
    note = 'on patches; those measured here, on whole scans'
    assert text.count(note) == 2  # IoU and Dice, the metrics with published numbers
    assert (tmp_path / 'out/comparison.tex').read_text().count(note) == 2
    for path in two:
        file = path / 'config.json'
        file.write_text(json.dumps({'config': {'task_name': 'own'}}))
    assert 'published:' not in _compare(tmp_path, *two)[1]
    assert set(TASKS) == {'ncc', 'ncs', 'ecc', 'lcs', 'bms', 'dxc', 'iuc'}


def test_cases_without_a_distance_are_counted(tmp_path, two):
    file = two[0] / 'seed_0/cases.csv'
    rows = list(csv.DictReader(file.read_text().splitlines()))
    rows[0] |= {'hd95': 'nan', 'dice': 0}
    _write_csv(file, rows)
    _, text = _compare(tmp_path, *two)
    assert 'HD95 is over 71 of 72 test rows; 1 have none' in text and 'Dice is over' not in text


@pytest.mark.parametrize('cell', ['nan', ''])
def test_a_class_in_neither_mask_is_left_out_and_said_to_be(cell, tmp_path, two):
    dice = []
    for path in two:
        tables = []
        for file in sorted(path.glob('*/cases.csv')):
            rows = list(csv.DictReader(file.read_text().splitlines()))
            tables.append([float(row['dice']) for row in rows[1:]])
            rows[0] |= dict.fromkeys(metrics.CASE_METRICS, cell)
            _write_csv(file, rows)
        dice.append(np.mean(tables, axis=0))
    rows, text = _compare(tmp_path, *two)
    assert 'Dice is over 69 of 72 test rows; the class of the others is neither in' in text
    assert 'HD95' not in text.partition('## By patient')[2]
    assert 'paired on 23 of 24 patients' in text
    found = _find(rows, test='Wilcoxon of Dice by patient')
    assert int(found['patients']) == 23
    assert float(found['difference']) == pytest.approx(np.mean(dice[1] - dice[0]))


def test_config_fields_that_differ_are_listed(tmp_path, two):
    other = make_workdir(tmp_path / 'c', init='less', fraction=0.5)
    common = {'task': 'segmentation', 'seed': 0, 'data': {'name': 'lcs', 'dir': 'data'}}
    schedule = {'schedule': {'name': 'step'}}
    _write_config(two[0], **common, init='scratch', epochs=1, **schedule)
    _write_config(two[1], **common | {'seed': 1}, init='ct', epochs=2, **schedule)
    _write_config(other, **common, init='less', epochs=2, schedule={'name': None})
    _, text = _compare(tmp_path, *two, other)
    listed = [line for line in text.splitlines() if line.startswith('- `')]
    assert listed == [
        '- `epochs`: 2 (less, ct); 1 (scratch)',
        '- `schedule.name`: none (less); step (scratch, ct)',
    ]
    _, text = _compare(tmp_path, *two, other, options=['--names=a,b,a'])
    assert '`epochs`: 2 (a with 50 % of the labels, b); 1 (a with 100 % of the labels)' in text
    _write_config(two[1], **common, init='ct', epochs=1, **schedule)
    assert 'configs differ' not in _compare(tmp_path, *two)[1]


def test_latex_is_a_balanced_booktabs_table(tmp_path, two):
    _compare(tmp_path, *two)
    text = (tmp_path / 'out/comparison.tex').read_text()
    assert text.count(r'\begin{') == text.count(r'\end{') == 4
    assert text.count(r'\toprule') == text.count(r'\bottomrule') == 2
    body = [line for line in text.splitlines() if line.endswith(r' \\') and ' & ' in line]
    assert all(line.count(' & ') == 5 for line in body)
    assert 'mean\\_iou\\_paper' in text and '100 \\%' in text
    assert text.isascii()


def test_without_matplotlib_there_are_tables(tmp_path, two, capsys, monkeypatch):
    monkeypatch.setattr('genesis_jax.pictures.available', lambda: False)
    _, text = _compare(tmp_path, *two)
    assert '.png' not in text and not (tmp_path / 'out/bars.png').exists()
    assert 'no plots: matplotlib is missing' in capsys.readouterr().out


def test_an_interrupted_write_leaves_the_earlier_table(tmp_path, two, monkeypatch):
    _, before = _compare(tmp_path, *two)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('os.replace', interrupted)
    with pytest.raises(KeyboardInterrupt):
        _compare(tmp_path, *two, options=['--welch'])
    assert (tmp_path / 'out/comparison.md').read_text() == before


def test_an_earlier_comparison_is_only_replaced_when_told_to(tmp_path, two, capsys):
    less = make_workdir(tmp_path / 'c', init='less', fraction=0.5)
    _compare(tmp_path, two[0], less)
    assert (tmp_path / 'out/curves.png').exists()
    out = f'--out={tmp_path / "out"}'
    assert 'comparison.md exists already; choose another --out' in _refusal(capsys, *two, out)
    _compare(tmp_path, *two)
    assert not (tmp_path / 'out/curves.png').exists()  # it showed other methods


def _comparison(tmp_path, *workdirs):
    return analysis.analyse(analysis.name_workdirs([read_workdir(path) for path in workdirs]))


def test_a_plot_has_no_error_bar_for_a_single_run_but_n_and_p(tmp_path, two, monkeypatch):
    one = make_workdir(tmp_path / 'one', init='once', runs=1)
    figures = _keep_figures(monkeypatch)
    charts.bars(_comparison(tmp_path, *two, one))
    dice = figures[0].axes[0]
    assert len(dice.containers) == 2  # error bars of scratch and ct
    texts = [text.get_text() for text in dice.texts]
    assert texts[0] == 'n = 3' and texts[1].startswith('n = 4\np = 0.') and texts[2] == 'n = 1'


def test_plots_neither_cut_bars_nor_stretch_a_small_difference(tmp_path, monkeypatch):
    near = [make_workdir(tmp_path / name, init=name, runs=1, skill=0.7) for name in 'ab']
    far = make_workdir(tmp_path / 'c', init='c', skill=0.2)
    figures = _keep_figures(monkeypatch)
    charts.bars(_comparison(tmp_path, *near))
    charts.bars(_comparison(tmp_path, *near, far))
    cut, whole = (figure.axes[0] for figure in figures)
    low, high = cut.get_ylim()
    assert high - low > 3 and low > 50 and not cut.patches
    assert whole.get_ylim()[0] == 0 and len(whole.patches) == 3


def _keep_figures(monkeypatch):
    figures = []

    def keep(figure):
        figures.append(figure)
        return FigureCanvasAgg(figure)

    monkeypatch.setattr(charts, 'FigureCanvasAgg', keep)
    return figures


@pytest.mark.parametrize(
    ('name', 'changed'),
    [('cls', 'label_fraction'), pytest.param('seg', 'layer_decay', marks=pytest.mark.slow)],
)
def test_what_fine_tuning_leaves_can_be_compared(name, changed, make_target, tmp_path):
    for folder, value in (('all', 1.0), ('less', 0.5)):
        config = make_target(name, epochs=1, runs=2, **{changed: value})
        finetune(config, tmp_path / folder)
    names = '--names=all,less' if changed == 'layer_decay' else '--names=all,all'
    rows, text = _compare(tmp_path, tmp_path / 'all', tmp_path / 'less', options=[names])
    metric = 'dice' if name == 'seg' else 'auc'
    for place, fraction in (('all', 1.0), ('less', 0.5 if changed == 'label_fraction' else 1.0)):
        files = sorted((tmp_path / place).glob('seed_*/results.json'))
        values = [json.loads(file.read_text())['metrics'][metric] for file in files]
        found = _find(
            rows,
            metric=metric,
            method=names.removeprefix('--names=').split(',')[place == 'less'],
            label_fraction=str(fraction),
            patients='',
            source='measured',
        )
        assert (found['runs'], found['planned']) == ('2', '2')
        assert float(found['mean']) == pytest.approx(np.mean(values))
    assert sum('Wilcoxon' in row['test'] for row in rows) == (changed == 'layer_decay')
    assert (tmp_path / 'out/comparison.tex').exists()
    shutil.rmtree(tmp_path / 'less/seed_1/export')
    (tmp_path / 'less/seed_1/results.json').unlink()
    _, text = _compare(tmp_path, tmp_path / 'all', tmp_path / 'less', options=[names])
    assert '1 of 2 runs are complete' in text


# --- what is refused -------------------------------------------------------------------------


def test_what_is_no_workdir_of_a_fine_tuning_is_refused(tmp_path, two, capsys):
    assert 'there is no folder' in _refusal(capsys, tmp_path / 'nothing')
    pretraining = tmp_path / 'pretraining'
    (pretraining / 'checkpoints').mkdir(parents=True)
    (pretraining / 'config.json').write_text('{}')
    assert 'is not the workdir of a fine-tuning' in _refusal(capsys, two[0], pretraining)
    assert f'give {two[0]}, all runs' in _refusal(capsys, two[0] / 'seed_0')
    _write_config(pretraining, task='restoration')
    assert 'is the workdir of a pre-training' in _refusal(capsys, two[0], pretraining)
    _write_config(two[1], task='restoration')  # a pre-training was started in it
    assert "has task 'restoration', but the runs beside it" in _refusal(capsys, *two)


def test_other_data_and_tasks_are_refused(tmp_path, two, capsys):
    other = make_workdir(tmp_path / 'other', dataset='ncs')
    text = _refusal(capsys, two[0], other)
    assert "has dataset 'lcs'" in text and "'ncs'" in text
    classifier = make_classifier(tmp_path / 'classifier')
    assert "has task 'segmentation'" in _refusal(capsys, two[0], classifier)


def test_a_workdir_of_unfinished_runs_is_refused(two, capsys):
    for file in two[1].glob('*/results.json'):
        file.unlink()
    assert '0 of 4 runs are complete' in _refusal(capsys, *two)


def test_runs_of_two_kinds_in_one_workdir_are_refused(two, capsys):
    shutil.copytree(two[1] / 'seed_3', two[0] / 'seed_3')
    assert 'one workdir holds runs of one kind' in _refusal(capsys, two[0])


def test_two_methods_of_one_name_are_refused(two, capsys):
    assert 'tell them apart with --names' in _refusal(capsys, two[0], two[0])
    assert 'are both called' in _refusal(capsys, *two, '--names=x,x')
    assert '--names has 1 names for 2 workdirs' in _refusal(capsys, *two, '--names=x')
    assert 'is none of the methods: scratch, ct' in _refusal(capsys, *two, '--baseline=x')
    assert 'expected a whole number' in _refusal(capsys, *two, '--draws=0')


def test_broken_files_are_named(tmp_path, two, capsys):
    out = f'--out={tmp_path / "out"}'
    (two[0] / 'seed_0/cases.csv').write_text('patient,class\np00,liver\n')
    assert 'seed_0/cases.csv has no column dice' in _refusal(capsys, *two, out)
    (two[0] / 'seed_0/cases.csv').write_text('patient,dice,hd95\np00,0.9,far\n')
    assert 'cases.csv, column hd95: expected numbers' in _refusal(capsys, *two, out)
    (two[0] / 'seed_0/cases.csv').unlink()
    assert 'seed_0/cases.csv is missing' in _refusal(capsys, *two, out)
    (two[0] / 'seed_0/results.json').write_text('[]')
    assert 'seed_0/results.json holds a list' in _refusal(capsys, *two, out)
    (two[0] / 'seed_0/results.json').write_text('{')
    assert 'seed_0/results.json is not JSON' in _refusal(capsys, *two, out)
    assert not (tmp_path / 'out').exists()


# --- statistics ------------------------------------------------------------------------------


def test_auc_of_drawn_patients_is_that_of_the_drawn_examples(rng):
    labels, patients = rng.integers(0, 2, 50), rng.integers(0, 8, 50)
    scores = np.round(rng.normal(size=50) + labels, 1)  # ties
    weights = statistics.draw_weights(8, 20, seed=0)
    found = statistics.auc_of_draws(labels, scores, patients, weights)
    expected = [roc_auc_score(labels, scores, sample_weight=w[patients]) for w in weights]
    np.testing.assert_allclose(found, expected)
    one = labels == 1
    often = statistics.auc_of_draws(labels[one], scores[one], patients[one], weights)
    assert np.isnan(often).all()


def test_the_interval_of_a_mean_difference_is_that_of_theory(rng):
    values, baseline = rng.normal(0.3, 1, 400), rng.normal(0, 1, 400)
    weights = statistics.draw_weights(400, 4000, seed=0)
    paired = statistics.compare_means(values, baseline, weights)
    differences = values - baseline
    expected = stats.norm.interval(0.95, differences.mean(), stats.sem(differences))
    assert (paired.low, paired.high) == pytest.approx(expected, abs=0.02)


def test_tests_without_an_answer_say_so_quietly():
    assert np.isnan(statistics.t_test([1.0], [1.0, 2.0]))
    assert np.isnan(statistics.t_test([1.0, 1.0], [2.0, 2.0]))
    assert statistics.wilcoxon(np.zeros(5)) == 1
    assert np.isnan(statistics.wilcoxon(np.zeros(0)))
    assert statistics.wilcoxon(np.array([0.1])) == 1
    assert 0 < statistics.wilcoxon(np.array([0.1, 0.1, 0, 0.2, -0.1])) <= 1


def test_a_seed_without_a_value_is_no_run_of_that_metric(two):
    file = two[0] / 'seed_0/results.json'
    results = json.loads(file.read_text())
    results['metrics']['hd95'] = float('nan')
    file.write_text(json.dumps(results))
    workdir = read_workdir(two[0])
    assert len(workdir.values('hd95')) == 2 and len(workdir.values('dice')) == 3
