"""Workdirs of fine-tunings that never ran, as `genesis_jax.compare` finds them."""

import csv
import json

import numpy as np

from genesis_jax import metrics

FINDINGS = ['Mass', 'Hernia']
PATIENTS = [f'p{index:02d}' for index in range(24)]


def write_csv(file, rows):
    with file.open('w', newline='') as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_run(workdir, results, table, rows):
    fold = results['fold']
    run = workdir / (f'seed_{results["seed"]}' + ('' if fold is None else f'_fold_{fold}'))
    run.mkdir(parents=True)
    write_csv(run / table, rows)
    (run / 'results.json').write_text(json.dumps(results))
    return run


def make_workdir(path, *, init='scratch', dataset='lcs', fraction=1.0, skill=0.7, runs=3, folds=0):
    """A fine-tuned segmentation; each patient is as hard in every run. Returns its path."""
    hardness = np.random.default_rng(9).normal(0, 0.05, len(PATIENTS))
    for seed in range(runs):
        for fold in range(folds) if folds else [None]:
            rng = np.random.default_rng([seed, fold or 0, int(100 * skill)])
            patients = PATIENTS[fold::folds] if folds else PATIENTS
            luck = rng.normal(0, 0.02)
            rows = []
            for patient in patients:
                value = skill + luck + hardness[PATIENTS.index(patient)] + rng.normal(0, 0.01)
                row = dict.fromkeys(metrics.CASE_METRICS, float(np.clip(value, 0, 1)))
                rows.append({'patient': patient, 'scan_id': patient, 'class': 'liver'} | row)
                rows[-1]['hd95'] = 10 * (1 - value)
            classes = ['background', 'liver']
            results = _results('segmentation', dataset, classes, seed, fold, init, fraction)
            results['metrics'] = metrics.segmentation_metrics(rows, classes)
            _write_run(path, results, 'cases.csv', rows)
    write_config(path)
    return path


def make_classifier(
    path, *, init='scratch', gain=1.0, runs=3, classes=('benign', 'nodule'), start=()
):
    """A fine-tuned classification: three candidates a patient. Returns its path."""
    truth = np.random.default_rng(7)
    labels = truth.integers(0, len(classes), 3 * len(PATIENTS))
    noise = truth.normal(size=(len(labels), len(classes)))
    for seed in range(runs):
        rng = np.random.default_rng([seed, int(10 * gain)])
        logits = noise + 0.3 * rng.normal(size=noise.shape) + gain * np.eye(len(classes))[labels]
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        shown = range(len(classes)) if len(classes) > 2 else [1]
        rows = [
            {'patient': PATIENTS[n // 3], 'scan_id': f's{n // 3}', 'label': label}
            | {f'p_{classes[index]}': chances[n, index] for index in shown}
            for n, label in enumerate(labels)
        ]
        results = _results('classification', 'ncc', list(classes), seed, None, init, 1.0)
        results['provenance'] = dict(start)
        results['metrics'] = metrics.classification_metrics(labels, chances)
        _write_run(path, results, 'predictions.csv', rows)
    write_config(path)
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


def write_config(path, **config):
    (path / 'config.json').write_text(json.dumps({'config': config}))


def make_in(folder, dimensions, name, maker, **about):
    """A workdir of a network of so many dimensions."""
    path = maker(folder / f'{maker.__name__}_{dimensions}d_{name}', **about)
    write_config(path, dimensions=dimensions, data={'view': None if dimensions == 3 else 'slices'})
    return path


def values_of(path, metric):
    return [json.loads(f.read_text())['metrics'][metric] for f in path.glob('*/results.json')]


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
