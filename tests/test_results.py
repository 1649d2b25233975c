"""Reports of made-up runs: what stands in their tables, and what the tables say it rests on."""

import json

import numpy as np
import pytest

from configs import classify
from genesis_jax import metrics
from genesis_jax.compare.runs import read_workdir
from genesis_jax.runs import results
from genesis_jax.runs.report import describe_recipe
from genesis_jax.runs.summary import summarise

_ABOUT = {
    'dataset': 'made_up',
    'init': 'scratch',
    'start': ['from scratch'],
    'recipe': 'configs/x.py',
}
_ABOUT |= {'label_fraction': 0.5, 'examples': 4, 'training_examples': 6, 'epochs': 2}
_ABOUT |= {'best_step': 3, 'validation_loss': 0.5}


def _candidates(seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(12) % 3 == 0
    scores = rng.uniform(size=12) + 0.3 * labels
    return [
        {'patient': f'p{n // 4}', 'scan_id': f's{n // 4}', 'label': int(label), 'p_nodule': score}
        for n, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]


def _classified(seed, fold, patients=3):
    rows = _candidates([seed, fold or 0])
    columns = (np.array([row[name] for row in rows]) for name in ('label', 'p_nodule', 'scan_id'))
    found = metrics.classification_metrics(*columns)
    classes = ['benign', 'nodule']
    about = {'task': 'classification', 'classes': classes, 'seed': seed, 'fold': fold}
    about['patients'] = {'train': patients, 'validation': 1, 'test': 2}
    return _ABOUT | about | results.measured('classification', classes, found, rows), rows


def _write(workdir, found, rows):
    name = f'seed_{found["seed"]}' + ('' if found['fold'] is None else f'_fold_{found["fold"]}')
    (workdir / name).mkdir(parents=True)
    about = {'devices': 1, 'device': 'cpu', 'hash': 'abc', 'config': {}}
    for folder in (workdir, workdir / name):
        (folder / 'config.json').write_text(json.dumps(about))
    results.write(workdir / name, found, rows)
    return workdir / name


def _summary(workdir):
    summarise(workdir, classify.get_config())
    return (workdir / 'report.md').read_text()


def test_folds_are_averaged_and_are_no_runs(tmp_path, capsys):
    for fold in range(3):
        _write(tmp_path, *_classified(0, fold))
    text = _summary(tmp_path)
    (mean,) = read_workdir(tmp_path).values('auc')
    folds = [_classified(0, fold)[0]['metrics']['auc'] for fold in range(3)]
    head = '| 1 run (seed) x 3 folds | mean | sd over runs | sd over folds |'
    assert head in text and head in capsys.readouterr().out
    assert f'| auc | {mean:.4f} | – | {np.std(folds, ddof=1):.4f} |' in text

    # Three seeds, of which one lacks a fold; as `compare` counts them.
    for seed, fold in ((1, 0), (1, 1), (1, 2), (2, 0)):
        _write(tmp_path, *_classified(seed, fold))
    text, values = _summary(tmp_path), read_workdir(tmp_path).values('auc')
    assert len(values) == 2 and '| 2 runs (seeds) x 3 folds |' in text
    assert f'| auc | {values.mean():.4f} | {values.std(ddof=1):.4f} | ' in text
    assert 'Skipped, for they lack folds that others have: seeds 2.' in text


def test_a_summary_has_no_mean_of_intervals_and_a_run_its_interval(tmp_path, capsys):
    found, rows = _classified(0, None)
    run = _write(tmp_path, found, rows)
    values = found['metrics']
    ends = f'{values["low_of_auc"]:.4f}–{values["high_of_auc"]:.4f}'
    shown = f'| auc | {values["auc"]:.4f} | {ends} |'
    assert shown in (run / 'report.md').read_text() and shown in capsys.readouterr().out
    text = _summary(tmp_path)
    assert '| 1 run | mean | sd |' in text and f'| auc | {values["auc"]:.4f} | – |' in text
    assert 'of_auc' not in text and 'of_auc' not in (run / 'report.md').read_text()
    assert 'low_of_auc' in (tmp_path / 'results.csv').read_text()


def test_an_interval_that_is_not_known_is_one_dash():
    labels, chances = [0, 1, 1], [0.2, 0.7, 0.9]  # one example of class 0: an area, no interval
    found = results.measured(
        'classification', ['a', 'b'], metrics.classification_metrics(labels, chances), []
    )
    assert '| auc | 1.0000 | – |' in results.table({'task': 'classification', **found})


def test_findings_named_low_and_high_are_not_taken_for_the_interval(tmp_path):
    rng = np.random.default_rng(0)
    labels, names = rng.integers(0, 2, (40, 2)), ['low', 'high']
    found = metrics.findings_metrics(labels, rng.uniform(size=(40, 2)) + 0.3 * labels, names)
    measured = results.measured('multilabel', names, found, [])
    lines = results.table({'task': 'multilabel', **measured})
    assert f'| auc_low | {found["auc_low"]:.4f} |  |' in lines
    assert f'{found["low_of_auc"]:.4f}–{found["high_of_auc"]:.4f}' in '\n'.join(lines)
    assert found['auc'] == pytest.approx((found['auc_low'] + found['auc_high']) / 2)


def test_the_interval_of_earlier_runs_keeps_its_place(tmp_path):
    found, rows = _classified(0, None)
    run = _write(tmp_path, found, rows)
    old = {name.replace('low_of_auc', 'auc_low').replace('high_of_auc', 'auc_high'): value
           for name, value in found['metrics'].items()}  # fmt: skip
    (run / 'results.json').write_text(json.dumps(found | {'metrics': old}))
    assert results.read(run)['metrics'] == found['metrics']
    assert read_workdir(tmp_path).values('low_of_auc') == found['metrics']['low_of_auc']


def test_the_froc_of_candidates_is_reported(tmp_path):
    found, rows = _classified(0, None)
    text = (_write(tmp_path, found, rows) / 'report.md').read_text()
    stored = results.read(tmp_path / 'seed_0')['froc']
    assert list(stored) == ['0.125', '0.25', '0.5', '1', '2', '4', '8']
    assert np.mean(list(stored.values())) == pytest.approx(found['metrics']['luna16_score'])
    assert '| false positives a scan | 0.125 | 0.25 | 0.5 | 1 | 2 | 4 | 8 |' in text
    assert f'| sensitivity | {stored["0.125"]:.4f} |' in text
    # Without all negatives of the scans there is no score and no curve.
    del found['metrics']['luna16_score']
    assert 'froc' not in results.measured(
        'classification', found['classes'], found['metrics'], rows
    )


def test_means_say_how_many_cases_they_rest_on(tmp_path):
    """Of five cases one has the lesion, which is missed; the liver is missed in another."""
    classes = ['background', 'liver', 'lesion']
    right = {'dice': 0.9, 'iou': 0.8, 'mean_iou_paper': 0.9, 'hd95': 2.0, 'surface_dice': 0.9}
    missed, absent = right | dict.fromkeys(right, 0.0), dict.fromkeys(right, np.nan)
    missed['hd95'] = np.nan
    rows = [
        {'patient': f'p{n}', 'scan_id': f's{n}', 'class': name} | values
        for n in range(5)
        for name, values in (
            ('liver', missed if n == 4 else right),
            ('lesion', missed if n == 0 else absent),
        )
    ]
    values = metrics.segmentation_metrics(rows, classes)
    for seed in (0, 1):
        about = {'task': 'segmentation', 'classes': classes, 'seed': seed, 'fold': None}
        found = _ABOUT | about | results.measured('segmentation', classes, values, rows)
        _write(tmp_path, found, rows)
    text = (tmp_path / 'seed_0' / 'report.md').read_text()
    assert (
        '| dice_lesion | 0.0000 | 1 of 5 |' in text and '| hd95 (mm) | 2.0000 | 4 of 10 |' in text
    )
    assert '4 of 10 rows are not counted' in text and 'HD95 leaves out 2 of 6 rows' in text
    config = classify.get_config()
    config.task = 'segmentation'
    summarise(tmp_path, config)
    text = (tmp_path / 'report.md').read_text()
    assert '| 2 runs | mean | sd | counted |' in text
    assert '| hd95 (mm) | 2.0000 | 0.0000 | 8 of 20 |' in text
    assert 'HD95 leaves out 4 of 12 rows' in text


def test_a_value_that_a_run_lacks_is_counted_out_and_is_null(tmp_path):
    for seed in range(3):
        found, rows = _classified(seed, None)
        found |= results.measured(
            'classification',
            found['classes'],
            found['metrics'] | {'auc': np.nan} if seed else found['metrics'],
            rows,
        )
        _write(tmp_path, found, rows)
    assert '"auc": null' in (tmp_path / 'seed_1' / 'results.json').read_text()
    assert '| auc, 1 of 3 runs | ' in _summary(tmp_path)
    assert len(read_workdir(tmp_path).values('auc')) == 1


def test_reports_say_what_differs_from_the_recipe(tmp_path):
    config = classify.get_config()
    assert (
        describe_recipe(config, 'configs/a.py', classify.get_config()) == 'configs/a.py, as it is'
    )
    config.freeze, config.model.hidden, config.seed, config.runs = 'encoder', 0, 3, 9
    said = describe_recipe(config, 'configs/a.py', classify.get_config())
    assert said == 'configs/a.py, but freeze=encoder, model.hidden=0'
    for seed, patients in ((0, 3), (1, 5)):
        found, rows = _classified(seed, None, patients)
        run = _write(tmp_path, found | {'recipe': said}, rows)
    assert f'- recipe: {said}' in (run / 'report.md').read_text()
    text = _summary(tmp_path)
    assert f'- recipe: {said}' in text and '- start: from scratch' in text
    assert '- label fraction 0.5; patients: 3–5 train, 1 validation, 2 test' in text
