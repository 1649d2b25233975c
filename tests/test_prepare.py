"""Folders of scans become datasets that plain TFDS reads, whatever is wrong with some scans."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import luna16, scans
from data_prep.build.cubes import CubeCutter, prepare_cubes
from data_prep.build.pool import in_order
from data_prep.phantom import write_luna16
from data_prep.sampling.cubes import CubeRule
from data_prep.types import Job
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import find_scans

ROOT = Path(__file__).parents[1]
SMALL = CubeRule(
    size=(16, 16, 8),
    per_scan=5,
    border_low=(0, 0, 0),
    border_high=(1, 1, 1),
    max_tissue=1,
)
SMALL_FLAGS = [
    '--cube_size=16,16,8',
    '--cubes_per_scan=5',
    '--border_low=0,0,0',
    '--border_high=1,1,1',
    '--max_tissue=1',
]


def write_scan(path, seed, shape=(24, 26, 14)):
    voxels = np.random.default_rng(seed).integers(-1000, 500, shape).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(voxels.T)), str(path))
    return voxels


@pytest.fixture
def source(tmp_path):
    """Six good scans."""
    for index in range(6):
        write_scan(tmp_path / 'source' / f'case{index}.{("nrrd", "nii.gz")[index % 2]}', index)
    return tmp_path / 'source'


def add_broken_scans(source):
    (source / 'junk.nrrd').write_bytes(b'junk')
    write_scan(source / 'thin.nii', 7, shape=(24, 26, 3))
    write_scan(source / 'cut.mhd', 8)
    os.truncate(source / 'cut.raw', 100)


def read(data_dir, name, split):
    builder = tfds.builder_from_directory(data_dir / name / '1.0.0')
    return list(builder.as_data_source(split))


def command(module, *flags):
    """Runs a preparation as a user does."""
    command = [sys.executable, '-W', 'error', '-m', module, *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.glob('*.array_record*')}


def test_luna16_from_the_command_line(tmp_path):
    write_luna16(tmp_path / 'luna', 20, (48, 40, 24), 0)
    flags = [f'--source={tmp_path / "luna"}', f'--data_dir={tmp_path / "data"}', *SMALL_FLAGS]
    result = command('data_prep.luna16', *flags, '--workers=2')
    assert result.returncode == 0, result.stderr
    assert result.stderr == ''
    assert 'Scans read: 14, skipped: 0' in result.stdout
    assert '  train: 50 patches from 10 scans of 10 patients\n' in result.stdout
    assert '  validation: 20 patches from 4 scans of 4 patients\n' in result.stdout
    assert (
        f'python main.py --config=configs/genesis_ct.py --config.data.dir={tmp_path / "data"} '
        '--config.data.name=luna16 --workdir=' in result.stdout
    )
    uids = {scan.files[0].stem: scan for scan in find_scans(tmp_path / 'luna')}
    for split, folds in (('train', {0, 1, 2, 3, 4}), ('validation', {5, 6})):
        records = read(tmp_path / 'data', 'luna16', split)
        assert {record['fold'] for record in records} == folds
        for record in records:
            scan = uids[record['scan_id'].decode()]
            assert scan.files[0].parent.name == f'subset{record["fold"]}'
            image = sitk.ReadImage(str(scan.files[0]))
            x, y, z = record['origin']
            expected = sitk.GetArrayFromImage(image).T[x : x + 16, y : y + 16, z : z + 8]
            np.testing.assert_array_equal(record['cube'][..., 0], expected)
            np.testing.assert_allclose(record['spacing'], image.GetSpacing(), rtol=1e-6)
            np.testing.assert_array_equal(record['window'], [(-1000, 1000)])
    dtypes = {name: getattr(records[0][name], 'dtype', None) for name in records[0]}
    assert dtypes['cube'] == np.int16 and dtypes['origin'] == np.int32
    assert dtypes['spacing'] == dtypes['window'] == np.float32


def test_broken_scans_are_listed_and_the_rest_prepared(source, tmp_path):
    add_broken_scans(source)
    flags = [f'--source={source}', f'--data_dir={tmp_path / "data"}', '--name=mixed', *SMALL_FLAGS]
    result = command('data_prep.scans', *flags, '--modality=ct', '--workers=2')
    assert result.returncode == 0, result.stderr
    assert 'Scans read: 6, skipped: 3' in result.stdout
    assert '  cut.mhd is truncated: its header promises' in result.stdout
    assert '  junk.nrrd does not start with a NRRD header' in result.stdout
    assert '  thin.nii has 24 x 26 x 3 voxels where a patch and its borders' in result.stdout
    assert len(result.stdout.splitlines()) == 11
    metadata = json.loads((tmp_path / 'data' / 'mixed' / '1.0.0' / 'metadata.json').read_text())
    assert set(metadata['summary']['skipped']) == {'cut.mhd', 'junk.nrrd', 'thin.nii'}
    assert sum(metadata['summary']['scans'].values()) == 6
    assert metadata['summary']['folds'] == {'train': [0], 'validation': [1]}
    assert metadata['recipe']['rule']['size'] == [16, 16, 8]
    assert str(tmp_path) not in json.dumps(metadata)


def test_nothing_left_is_status_1_and_no_dataset(tmp_path):
    source = tmp_path / 'source'
    source.mkdir()
    add_broken_scans(source)
    flags = [f'--source={source}', f'--data_dir={tmp_path / "data"}', '--name=none', *SMALL_FLAGS]
    result = command('data_prep.scans', *flags, '--modality=ct', '--workers=2')
    assert result.returncode == 1
    assert 'Scans read: 0, skipped: 3' in result.stdout
    assert 'No patches are left, so no dataset was written.' in result.stdout
    assert 'Traceback' not in result.stderr
    assert not [path for path in (tmp_path / 'data').rglob('*') if path.is_file()]


def test_the_dataset_depends_on_neither_workers_nor_order(source, tmp_path):
    jobs, _ = scans.list_jobs(source, 0.3, 0)
    for name, order, workers in (('a', 1, 1), ('b', 1, 2), ('c', -1, 2)):
        prepare_cubes(
            jobs[::order],
            CubeCutter('ct', SMALL),
            name='same',
            data_dir=tmp_path / name,
            workers=workers,
        )
    one, two, turned = (content(tmp_path / name / 'same' / '1.0.0') for name in 'abc')
    assert one and one == two == turned


def test_another_seed_is_another_dataset(source, tmp_path):
    jobs, _ = scans.list_jobs(source, 0.3, 0)
    for seed in (0, 1):
        cutter = CubeCutter('ct', SMALL, seed=seed)
        prepare_cubes(jobs, cutter, name='same', data_dir=tmp_path / str(seed), workers=1)
    first, second = (content(tmp_path / str(seed) / 'same' / '1.0.0') for seed in (0, 1))
    assert first != second


def test_a_scans_cubes_do_not_depend_on_the_other_scans(source, tmp_path):
    jobs, _ = scans.list_jobs(source, 0.3, 0)
    for name, given in (('all', jobs), ('some', jobs[:1] + jobs[-1:])):
        prepare_cubes(given, CubeCutter('ct', SMALL), name=name, data_dir=tmp_path, workers=1)
    kept = {record['cube'].tobytes() for record in read(tmp_path, 'all', 'train')}
    assert {record['cube'].tobytes() for record in read(tmp_path, 'some', 'train')} <= kept


def test_many_shards_hold_every_cube(source, tmp_path, monkeypatch):
    monkeypatch.setattr('data_prep.build.records.SHARD_BYTES', 3 * 2 * 16 * 16 * 8)
    add_broken_scans(source)
    jobs, _ = scans.list_jobs(source, 0.3, 0)
    summary = prepare_cubes(
        jobs, CubeCutter('ct', SMALL), name='many', data_dir=tmp_path, workers=1
    )
    files = sum(-(-count // 3) for count in summary.counts.values())  # three patches each
    assert len(content(tmp_path / 'many' / '1.0.0')) == files > 8
    for split, count in summary.counts.items():
        assert len(read(tmp_path, 'many', split)) == count > 0


def test_mri_windows_travel_with_the_records(tmp_path):
    for index in range(2):
        voxels = np.random.default_rng(index).random((24, 26, 14)) * (index + 1)
        path = tmp_path / 'source' / f'{index}.nii.gz'
        path.parent.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(voxels.T.astype(np.float32)), str(path))
    flags = [f'--source={tmp_path / "source"}', f'--data_dir={tmp_path}', '--name=mri']
    size = ['--cube_size=16,16,8', '--cubes_per_scan=3', '--workers=1', '--spacing=1,1,1']
    assert scans.main([*flags, *size, '--modality=mri']) == 0
    for split, fold in (('train', 0), ('validation', 1)):
        records = read(tmp_path, 'mri', split)
        assert len(records) == 3
        for record in records:
            np.testing.assert_array_equal(record['window'], [(0, 32767)])
            assert record['fold'] == fold


def test_a_split_whose_scans_gave_nothing_is_said_and_no_dataset_written(tmp_path):
    write_scan(tmp_path / 'source' / 'good.nrrd', 0)
    (tmp_path / 'source' / 'bad.nrrd').write_bytes(b'junk')
    good, bad = sorted(find_scans(tmp_path / 'source'), key=lambda scan: scan.scan_id != 'good')
    jobs = [
        Job(scan.scan_id, scan.scan_id, split, fold, scan.shown, (scan,))
        for fold, (scan, split) in enumerate([(good, 'train'), (bad, 'validation')])
    ]
    summary = prepare_cubes(jobs, CubeCutter('ct', SMALL), name='d', data_dir=tmp_path, workers=1)
    assert 'The validation split has no patches' in summary.text(tmp_path / 'd' / '1.0.0')
    assert summary.missing_splits == ['validation'] and not (tmp_path / 'd').exists()


def test_scans_with_few_cubes_are_listed(tmp_path):
    for index in range(2):
        write_scan(tmp_path / 'source' / f'{index}.nrrd', index)
    air = sitk.GetImageFromArray(np.full((14, 26, 24), -1000, np.int16))
    sitk.WriteImage(air, str(tmp_path / 'source' / 'air.nrrd'))
    jobs, _ = scans.list_jobs(tmp_path / 'source', 0.3, 0)
    summary = prepare_cubes(jobs, CubeCutter('ct', SMALL), name='d', data_dir=tmp_path, workers=1)
    assert summary.few == {'air': 0} and summary.air == SMALL.tries
    text = summary.text(tmp_path / 'd' / '1.0.0')
    assert 'Scans with fewer than 5 patches: 1, 1 without any\n  air: 0' in text


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--cube_size=16,16'], "--cube_size: expected three numbers x,y,z, found '16,16'"),
        (['--cube_size=0,16,8'], "--cube_size: expected a whole number from 1, found '0'"),
        (['--max_tissue=2'], "--max_tissue: expected a number from 0 to 1, found '2'"),
        (['--tissue_threshold=inf'], "--tissue_threshold: expected a number, found 'inf'"),
        (['--spacing=1,1,nan'], "--spacing: expected a number from 0.001, found 'nan'"),
        (['--workers=0'], "--workers: expected a whole number from 1, found '0'"),
        (['--min_tissue=0.5', '--max_tissue=0.2'], '--min_tissue is 0.5 and --max_tissue 0.2'),
        (['--validation_share=1'], "expected a number from 0.01 to 0.99, found '1'"),
        (['--source=/nowhere'], 'the folder /nowhere does not exist'),
        (['--modality=pet'], "invalid choice: 'pet'"),
    ],
)
def test_wrong_values_are_one_sentence(source, capsys, flags, message):
    given = [f'--source={source}', '--name=d', '--modality=ct', *flags]
    with pytest.raises(SystemExit) as stop:
        scans.main(given)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def fails_with(capsys, call, message):
    with pytest.raises(SystemExit) as stop:
        call()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_folders_that_cannot_be_split_are_refused(tmp_path, capsys):
    flags = [f'--source={tmp_path}', '--name=d', '--modality=ct', f'--data_dir={tmp_path / "d"}']
    fails_with(capsys, lambda: scans.main(flags), 'holds no scan')
    write_scan(tmp_path / 'only.nrrd', 0)
    fails_with(capsys, lambda: scans.main(flags), 'one scan found')
    write_scan(tmp_path / 'second.nrrd', 0)
    for bad in ('my-data', 'a/b', 'a:1.0.0', '1st'):
        named = functools.partial(scans.main, [*flags, f'--name={bad}'])
        fails_with(capsys, named, f'{bad!r} must start with a letter')


def test_an_existing_dataset_is_not_touched(source, tmp_path, capsys):
    flags = [f'--source={source}', f'--data_dir={tmp_path}', '--name=d', '--modality=ct']
    assert scans.main([*flags, *SMALL_FLAGS, '--workers=1']) == 0
    before = content(tmp_path / 'd' / '1.0.0')
    fails_with(capsys, lambda: scans.main(flags), 'already exists; delete that folder or choose')
    assert content(tmp_path / 'd' / '1.0.0') == before


def test_an_unwritable_data_dir_is_one_sentence(source, tmp_path, capsys):
    (tmp_path / 'file').touch()
    flags = [f'--source={source}', f'--data_dir={tmp_path / "file"}', '--name=d', '--modality=ct']
    fails_with(capsys, lambda: scans.main([*flags, '--workers=1']), 'cannot go on')


def test_missing_subsets_are_named(tmp_path, capsys):
    for fold in (0, 1, 2, 5):
        (tmp_path / f'subset{fold}').mkdir()
    fails_with(
        capsys,
        lambda: luna16.main([f'--source={tmp_path}']),
        'has no subset3, subset4, subset6 (found: subset0, subset1, subset2, subset5); unpack',
    )
    write_scan(tmp_path / 'subset0' / '1.2.3.mhd', 0)
    flags = [f'--source={tmp_path}', '--train_folds=0', '--validation_folds=5']
    fails_with(capsys, lambda: luna16.main(flags), 'no scan is left for the validation split')
    write_scan(tmp_path / 'subset5' / '1.2.3.mhd', 0)
    fails_with(capsys, lambda: luna16.main(flags), "2 scans have the id '1.2.3'")


@pytest.mark.parametrize('flags', [['--train_folds=0,5'], ['--train_folds=0,x']])
def test_folds_in_both_splits_and_no_folds_are_refused(tmp_path, capsys, flags):
    with pytest.raises(SystemExit) as stop:
        luna16.main([f'--source={tmp_path}', *flags])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_two_scans_of_one_id_are_refused(source, tmp_path):
    jobs, _ = scans.list_jobs(source, 0.3, 0)
    with pytest.raises(PrepareError, match='2 scans have the id'):
        prepare_cubes(jobs * 2, CubeCutter('ct', SMALL), name='d', data_dir=tmp_path)


# Processes


def square_or_die(number):
    tempfile.mkdtemp()  # which nobody removes
    if number % 3 == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return number**2


def test_a_dead_worker_costs_its_item_only(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    results = list(in_order(square_or_die, range(5), 2))
    assert results == [0, None, 4, 9, None]
    assert not list(tmp_path.iterdir())


def test_a_killed_preparation_leaves_nothing_that_looks_done(source, tmp_path):
    pipe = source / 'waits.mhd'
    os.mkfifo(pipe)
    flags = [f'--source={source}', f'--data_dir={tmp_path}', '--name=d', '--modality=ct']
    arguments = [sys.executable, '-m', 'data_prep.scans', *flags, *SMALL_FLAGS, '--workers=2']
    scratch = tmp_path / 'scratch'
    scratch.mkdir()
    env = os.environ | {'TMPDIR': str(scratch)}
    with (
        subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, env=env) as process,
        pipe.open('wb'),  # opens once a worker reads the scan, which then waits for more
    ):
        process.kill()
        process.wait()
        process.stderr.read()  # ends when the workers have ended, too
    assert not list(scratch.glob('data_prep_*'))
    assert not (tmp_path / 'd' / '1.0.0').exists()
    pipe.unlink()
    assert scans.main([*flags, *SMALL_FLAGS, '--workers=1']) == 0
    assert read(tmp_path, 'd', 'train')


def test_an_interrupt_cleans_up_and_says_so(source, tmp_path):
    pipe = source / 'waits.mhd'
    os.mkfifo(pipe)
    flags = [f'--source={source}', f'--data_dir={tmp_path}', '--name=d', '--modality=ct']
    arguments = [sys.executable, '-m', 'data_prep.scans', *flags, *SMALL_FLAGS, '--workers=2']
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        with pipe.open('wb'):
            process.send_signal(signal.SIGINT)
        message = process.stderr.read()
    assert process.returncode == 130, message
    assert message == 'error: interrupted, so no dataset was written\n'
    assert not [path for path in (tmp_path / 'd').rglob('*') if path.is_file()]


def test_no_tensorflow_and_no_jax_are_imported():
    script = (
        'import sys, data_prep.luna16, data_prep.scans, data_prep.demo, data_prep.phantom\n'
        'print(sorted({"tensorflow", "jax", "flax"} & set(sys.modules)))'
    )
    result = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout == '[]\n', result.stderr


@pytest.mark.parametrize(('package', 'name'), [('PIL', 'Pillow'), ('SimpleITK', 'SimpleITK')])
@pytest.mark.parametrize('module', ['images', 'scans', 'phantom'])
def test_without_the_extra_the_command_says_what_to_install(module, package, name, tmp_path):
    hidden = f"import sys; sys.modules['{package}'] = None\n"
    (tmp_path / 'sitecustomize.py').write_text(hidden)
    python = [sys.executable, '-m', f'data_prep.{module}', '--help']
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = os.environ | {'PYTHONPATH': paths}
    done = subprocess.run(python, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f'error: reading scans and images needs {name}; '
        "in a checkout of genesis-jax run: pip install -e '.[prep]'\n"
    )
