"""The driver of labelled preparations: order, splits, skipped jobs, refusals, all or nothing."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.build.dataset import prepare
from data_prep.types import Declaration, Job, Patch, Result
from genesis_jax.errors import PrepareError, ScanError

ROOT = Path(__file__).parents[1]
SIZE = (4, 4, 2)
CLASSIFY = Declaration('classification', ('no', 'yes'), ('CT',), 'ct')
SEGMENT = Declaration('segmentation', ('background', 'liver'), ('T1', 'T2'), 'mri', (1, 1, 1))
FIXED = ('train', 'validation', 'test')


def make_jobs(splits=FIXED, patients=4, scans=2):
    """Cases of several scans per patient; `source` is a number that `work` draws from."""
    return [
        Job(f'{split}{patient}_{scan}', f'{split}{patient}', split, fold, f'{split}{patient}.nii',
             1000 * fold + 10 * patient + scan)
        for scan in range(scans)
        for fold, split in enumerate(splits)
        for patient in range(patients)
    ]  # fmt: skip


def classify(job):
    rng = np.random.default_rng(job.source)
    patches = [
        Patch(rng.integers(-1000, 1000, (*SIZE, 1)).astype(np.int16), (number, 2, 3), number % 2)
        for number in range(1 + job.source % 3)
    ]
    return Result(patches, (0.5, 0.5, 2), np.array([[-1000, 1000]]))


def segment(job, bad=None):
    if bad and job.scan_id in bad:
        raise bad[job.scan_id]
    rng = np.random.default_rng(job.source)
    shape = (5, 6, 4 + job.source % 3)
    cube = rng.integers(0, 9, (*shape, 2)).astype(np.int16)
    mask = rng.integers(0, 2, shape).astype(np.uint8)
    patch = Patch(cube[:4, :4, :2], (0, 0, 0), mask=mask[:4, :4, :2])
    whole = Patch(cube, (0, 0, 0), mask=mask) if job.split != 'train' else None
    return Result([patch, patch], (1, 1, 1), np.array([[0, 1], [0, 2]]), whole)


def interrupt(job, after):
    if job.scan_id == after:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # the handler runs between instructions
    return segment(job)


def build(jobs, work, data_dir, declaration, name='d', **options):
    given = {'size': SIZE, 'recipe': {'seed': 0}, 'workers': 1} | options
    return prepare(jobs, work, name=name, data_dir=data_dir, declaration=declaration, **given)


def read(data_dir, name, split):
    builder = tfds.builder_from_directory(data_dir / name / '1.0.0')
    return list(builder.as_data_source(split))


def metadata(data_dir, name):
    return json.loads((data_dir / name / '1.0.0' / 'metadata.json').read_text())


def files(folder):
    return [path for path in folder.rglob('*') if path.is_file()]


def content(data_dir):
    return {path.relative_to(data_dir): path.read_bytes() for path in files(data_dir)}


def test_records_are_read_in_the_order_that_the_metadata_tells(tmp_path, monkeypatch):
    monkeypatch.setattr('data_prep.build.records.SHARD_BYTES', 7 * 2 * 32)  # several files a split
    build(make_jobs(), classify, tmp_path, CLASSIFY)
    told = metadata(tmp_path, 'd')
    assert {key: told[key] for key in ('task', 'classes', 'channels', 'modality', 'spacing')} == {
        'task': 'classification',
        'classes': ['no', 'yes'],
        'channels': ['CT'],
        'modality': 'ct',
        'spacing': None,
    }
    assert set(told['records']) == set(FIXED)
    for split in FIXED:
        records = read(tmp_path, 'd', split)
        assert len(list((tmp_path / 'd' / '1.0.0').glob(f'*-{split}.*'))) > 1
        patients = [patient for patient, count in told['records'][split] for _ in range(count)]
        assert [record['patient'].decode() for record in records] == patients
        assert len({patient for patient, _ in told['records'][split]}) == 4


def test_records_hold_what_the_worker_gave(tmp_path):
    jobs = make_jobs()
    build(jobs, classify, tmp_path, CLASSIFY)
    for split in FIXED:
        records = read(tmp_path, 'd', split)
        for job in (job for job in jobs if job.split == split):
            own = [record for record in records if record['scan_id'].decode() == job.scan_id]
            expected = classify(job)
            assert len(own) == len(expected.patches)
            for record, item in zip(own, expected.patches, strict=True):
                np.testing.assert_array_equal(record['cube'], item.cube)
                np.testing.assert_array_equal(record['origin'], item.origin)
                np.testing.assert_array_equal(record['window'], [[-1000, 1000]])
                np.testing.assert_allclose(record['spacing'], expected.spacing)
                assert (record['label'], record['fold']) == (item.label, job.fold)
    kinds = {name: getattr(records[0][name], 'dtype', None) for name in records[0]}
    assert kinds['cube'] == np.int16 and kinds['origin'] == np.int32 and 'mask' not in kinds
    assert kinds['window'] == kinds['spacing'] == np.float32


def test_whole_scans_of_any_size_go_to_a_second_dataset(tmp_path):
    jobs = make_jobs()
    build(jobs, segment, tmp_path, SEGMENT)
    assert {len(read(tmp_path, 'd', split)) for split in FIXED} == {16}
    told = metadata(tmp_path, 'd_cases')
    assert set(told['records']) == {'validation', 'test'} and told['channels'] == ['T1', 'T2']
    records = read(tmp_path, 'd_cases', 'test')
    assert len({record['cube'].shape for record in records}) > 1
    by_id = {job.scan_id: job for job in jobs}
    for record in records:
        whole = segment(by_id[record['scan_id'].decode()]).whole
        np.testing.assert_array_equal(record['cube'], whole.cube)
        np.testing.assert_array_equal(record['mask'], whole.mask)
        assert record['mask'].dtype == np.uint8 and 'label' not in record
    patients = [patient for patient, count in told['records']['test'] for _ in range(count)]
    assert [record['patient'].decode() for record in records] == patients


def test_the_dataset_depends_on_neither_workers_nor_order(tmp_path):
    jobs = make_jobs(patients=2)
    for name, order, workers in (('a', 1, 1), ('b', 1, 2), ('c', -1, 2)):
        build(jobs[::order], segment, tmp_path / name, SEGMENT, workers=workers)
    one, two, turned = (content(tmp_path / name) for name in 'abc')
    assert one and one == two == turned


def test_broken_scans_are_skipped_and_listed(tmp_path):
    bad = {'test1_0': ScanError('is cut short'), 'train2_1': KeyError('surprise')}
    work = functools.partial(segment, bad=bad)
    summary = build(make_jobs(), work, tmp_path, SEGMENT, config='lcs')
    text = summary.text(tmp_path / 'd' / '1.0.0')
    assert 'Scans read: 22, skipped: 2' in text
    assert '  test1.nii is cut short' in text and 'failed unexpectedly (KeyError' in text
    assert 'test: 14 cubes (14 with liver) from 7 scans of 4 patients' in text
    assert text.endswith(
        f'Next: python main.py --config=configs/lcs.py --config.data.dir={tmp_path} '
        '--config.data.name=d --workdir=runs/d'
    )
    assert metadata(tmp_path, 'd')['summary']['skipped'] == summary.skipped


def test_a_source_that_contradicts_itself_leaves_nothing(tmp_path):
    for workers in (1, 2):
        bad = {'test1_0': PrepareError('label.nii does not fit')}
        with pytest.raises(PrepareError, match='label.nii does not fit'):
            work = functools.partial(segment, bad=bad)
            build(make_jobs(), work, tmp_path, SEGMENT, workers=workers)
    assert not files(tmp_path)


def test_an_interrupted_preparation_leaves_nothing(tmp_path):
    work = functools.partial(interrupt, after='test1_0')
    with pytest.raises(KeyboardInterrupt):
        build(make_jobs(), work, tmp_path, SEGMENT)
    assert not files(tmp_path)


def test_a_split_without_records_is_said(tmp_path):
    bad = {f'test{n}_{scan}': ScanError('is cut') for n in range(4) for scan in range(2)}
    summary = build(make_jobs(), functools.partial(segment, bad=bad), tmp_path, SEGMENT)
    assert 'The test split has no cubes' in summary.text(tmp_path / 'd' / '1.0.0')
    assert summary.missing_splits == ['test'] and not files(tmp_path)
    bad = {job.scan_id: ScanError('is cut') for job in make_jobs()}
    summary = build(make_jobs(), functools.partial(segment, bad=bad), tmp_path / 'n', SEGMENT)
    assert summary.missing_splits == summary.splits and not files(tmp_path / 'n')
    assert 'no dataset was written' in summary.text(tmp_path / 'n' / 'd' / '1.0.0')


def test_what_cannot_start_is_refused(tmp_path):
    good = make_jobs()
    moved = good[0].__class__(**{**vars(good[0]), 'scan_id': 'x', 'split': 'test'})
    for jobs, message in (
        ([*good, moved], 'patient train0 is in two splits: train0.nii in train and'),
        ([*good, good[0]], "2 scans have the id 'train0_0'"),
        (make_jobs(('train', 'test')), 'no scan is left for the validation split'),
        (make_jobs(('fold_0', 'fold_2')), 'no scan is left for the fold_1 split'),
        ([], 'no scan is left for the train split'),
    ):
        with pytest.raises(PrepareError, match=message):
            build(jobs, segment, tmp_path, SEGMENT)
    (tmp_path / 'd_cases' / '1.0.0').mkdir(parents=True)
    with pytest.raises(PrepareError, match='d_cases/1.0.0 already exists; delete that folder'):
        build(good, segment, tmp_path, SEGMENT)


def test_neither_tensorflow_nor_jax_is_imported():
    script = (
        'import sys, data_prep.build.dataset\n'
        'print(sorted({"tensorflow", "jax", "flax"} & set(sys.modules)))'
    )
    result = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout == '[]\n', result.stderr
