"""Comparisons of made-up runs: what is said of them, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
from scipy import stats

from genesis_jax import metrics
from genesis_jax.compare.__main__ import main
from genesis_jax.compare.published import TASKS
from genesis_jax.compare.runs import read_workdir
from genesis_jax.finetune import finetune
from genesis_jax.provenance import short_name
from tests.compared import PATIENTS, make_classifier, make_workdir, write_config, write_csv


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


def _hide_matplotlib(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)


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
    assert float(found['p']) == pytest.approx(
        stats.ttest_ind(values[1], values[0], equal_var=False).pvalue
    )
    assert float(found['difference']) == pytest.approx(np.mean(values[1]) - np.mean(values[0]))
    assert _find(rows, metric='dice', method='scratch', source='measured')['test'] == 'baseline'
    assert f'| ct | 100 % | 4 | {100 * np.mean(values[1]):.2f} ±' in text
    assert text.splitlines()[0] in capsys.readouterr().out
    assert found['p_holm'] == found['p']  # of one test
    one_sided, _ = _compare(tmp_path, *two, options=['--test=published'])
    for metric, better in (('dice', 'greater'), ('hd95', 'less')):
        found = _find(one_sided, metric=metric, method='ct', patients='', source='measured')
        runs = [
            [json.loads(f.read_text())['metrics'][metric] for f in path.glob('*/results.json')]
            for path in two
        ]
        test = stats.ttest_ind(runs[1], runs[0], equal_var=False, alternative=better)
        assert float(found['p']) == pytest.approx(test.pvalue)
        assert found['test'] == "Welch's t-test, one-sided"


def test_patients_are_paired_over_the_mean_of_all_runs(tmp_path, two):
    rows, _ = _compare(tmp_path, *two)
    dice = []
    for path in two:
        files = sorted(path.glob('*/cases.csv'))
        runs = [list(csv.DictReader(file.read_text().splitlines())) for file in files]
        dice.append(np.mean([[float(row['dice']) for row in run] for run in runs], axis=0))
    found = _find(rows, test='Wilcoxon of Dice by patient')
    assert int(found['patients']) == len(PATIENTS)
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
    assert '(Brier score −0.' in text and 'of_auc' not in text


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
    more = _find(rows, metric='dice', method='ct', label_fraction='1.0', patients='')
    raw, corrected = ([float(row[p]) for row in (found, more)] for p in ('p', 'p_holm'))
    assert min(corrected) == pytest.approx(min(1, 2 * min(raw)))  # the two that are tested
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
    assert (found['mean'], found['sd'], found['source']) == (
        '0.7952',
        '0.0477',
        'MICCAI 2019, table 3',
    )
    assert '| published: Unified, MICCAI 2019, table 3 | 100 % |  | 79.52 ± 4.77 |' in text
    assert 'Published p, best against scratch: 0.0361 (no t-test' in text
    found = _find(rows, method='best against scratch')
    assert found['p'] == '0.0361' and found['source'] == 'MICCAI 2019, table 2'
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
    write_csv(file, rows)
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
            write_csv(file, rows)
        dice.append(np.mean(tables, axis=0))
    rows, text = _compare(tmp_path, *two)
    assert 'Dice is over 69 of 72 test rows; the class of the others is neither in' in text
    assert 'HD95' not in text.partition('## By patient')[2]
    assert 'paired on 23 of 24 patients' in text
    found = _find(rows, test='Wilcoxon of Dice by patient')
    assert int(found['patients']) == 23
    assert float(found['difference']) == pytest.approx(np.mean(dice[1] - dice[0]))


def test_config_fields_that_differ_are_listed(tmp_path, two, monkeypatch):
    _hide_matplotlib(monkeypatch)  # plots take a second
    other = make_workdir(tmp_path / 'c', init='less', fraction=0.5)
    common = {'task': 'segmentation', 'seed': 0, 'data': {'name': 'lcs', 'dir': 'data'}}
    schedule = {'schedule': {'name': 'step'}}
    write_config(two[0], **common, init='scratch', epochs=1, **schedule)
    write_config(two[1], **common | {'seed': 1}, init='ct', epochs=2, **schedule)
    write_config(other, **common, init='less', epochs=2, schedule={'name': None})
    _, text = _compare(tmp_path, *two, other)
    listed = [line for line in text.splitlines() if line.startswith('- `')]
    assert listed == [
        '- `epochs`: 2 (less, ct); 1 (scratch)',
        '- `schedule.name`: none (less); step (scratch, ct)',
    ]
    _, text = _compare(tmp_path, *two, other, options=['--names=a,b,a'])
    assert '`epochs`: 2 (a with 50 % of the labels, b); 1 (a with 100 % of the labels)' in text
    write_config(two[1], **common, init='ct', epochs=1, **schedule)
    assert 'configs differ' not in _compare(tmp_path, *two)[1]


def test_latex_is_a_balanced_booktabs_table(tmp_path, two):
    _compare(tmp_path, *two)
    text = (tmp_path / 'out/comparison.tex').read_text()
    assert text.count(r'\begin{') == text.count(r'\end{') == 4
    assert text.count(r'\toprule') == text.count(r'\bottomrule') == 2
    body = [line for line in text.splitlines() if line.endswith(r' \\') and ' & ' in line]
    assert all(line.count(' & ') == 6 for line in body)
    assert 'mean\\_iou\\_paper' in text and '100 \\%' in text
    assert text.isascii()


def test_without_matplotlib_there_are_tables(tmp_path, two, capsys, monkeypatch):
    _hide_matplotlib(monkeypatch)
    _, text = _compare(tmp_path, *two)
    assert '.png' not in text and not (tmp_path / 'out/bars.png').exists()
    assert 'no plots: drawing needs matplotlib;' in capsys.readouterr().out


def test_an_interrupted_write_leaves_the_earlier_table(tmp_path, two, monkeypatch):
    _, before = _compare(tmp_path, *two)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('os.replace', interrupted)
    with pytest.raises(KeyboardInterrupt):
        _compare(tmp_path, *two, options=['--test=published'])
    assert (tmp_path / 'out/comparison.md').read_text() == before


def test_an_earlier_comparison_is_only_replaced_when_told_to(tmp_path, two, capsys):
    less = make_workdir(tmp_path / 'c', init='less', fraction=0.5)
    _compare(tmp_path, two[0], less)
    assert (tmp_path / 'out/curves.png').exists()
    out = f'--out={tmp_path / "out"}'
    assert 'comparison.md exists already; choose another --out' in _refusal(capsys, *two, out)
    _compare(tmp_path, *two)
    assert not (tmp_path / 'out/curves.png').exists()  # it showed other methods


def test_a_seed_without_a_value_is_no_run_of_that_metric(two):
    file = two[0] / 'seed_0/results.json'
    results = json.loads(file.read_text())
    results['metrics']['hd95'] = float('nan')
    file.write_text(json.dumps(results))
    workdir = read_workdir(two[0])
    assert len(workdir.values('hd95')) == 2 and len(workdir.values('dice')) == 3


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'changed'), [('cls', 'label_fraction'), ('seg', 'layer_decay')])
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
    assert ('`layer_decay`: 1.0 (all); 0.5 (less)' in text) == (changed == 'layer_decay')
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
    write_config(pretraining, task='restoration')
    assert 'is the workdir of a pre-training' in _refusal(capsys, two[0], pretraining)
    write_config(two[1], task='restoration')  # a pre-training was started in it
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
