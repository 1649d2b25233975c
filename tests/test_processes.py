"""Whole commands in processes of their own: device counts, interruption, several processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import masked
import numpy as np
import pytest

from genesis_jax.pretrain import pretrain

ROOT = Path(__file__).parent.parent


EPOCHS = 8  # of runs that are stopped: enough that they are not over before


pytestmark = pytest.mark.slow  # whole processes


def command(workdir, data_dir, *more, config='genesis_ct', name='small'):
    shuffling = ['--config.transforms.shuffle_probability=0'] if config == 'genesis_ct' else []
    return [
        *(sys.executable, 'main.py', f'--config=configs/{config}.py', f'--workdir={workdir}'),
        *(f'--config.data.dir={data_dir}', f'--config.data.name={name}'),
        *('--config.model.width=2', '--config.batch_size=4', '--config.log_every=1'),
        *('--config.pictures=0', '--config.optimizer.learning_rate=0.1', *shuffling, *more),
    ]


def environment(devices, **more):
    return os.environ | {'JAX_NUM_CPU_DEVICES': str(devices), 'PYTHONUNBUFFERED': '1'} | more


def run(workdir, data_dir, *more, devices=1, **task):
    subprocess.run(
        command(workdir, data_dir, *more, **task), cwd=ROOT, env=environment(devices), check=True
    )


def rows_of(workdir):
    """Rows of the metrics file without what depends on the clock."""
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != 'cubes_per_second'} for row in rows]


@pytest.fixture(scope='module')
def unstopped(small_data, tmp_path_factory):
    """A run on one device."""
    workdir = tmp_path_factory.mktemp('unstopped')
    run(workdir, small_data, f'--config.epochs={EPOCHS}')
    return workdir


def test_one_device_and_four_give_the_same_losses(unstopped, make_config, tmp_path):
    """Four in this process, and for fewer epochs, which do not change what the first ones do."""
    fields = {'transforms__nonlinear_probability': 0.9, 'pictures': 0}
    pretrain(make_config(**fields), tmp_path)
    one, four = rows_of(unstopped)[:8], rows_of(tmp_path)
    assert len(four) == 8  # six steps and two validations
    for a, b in zip(one, four, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-3)
        if 'train/loss' in a and a['step'] <= 5:
            np.testing.assert_allclose(a['train/loss'], b['train/loss'], rtol=1e-4)


def stop(workdir, data_dir, number, epoch, *more, **task):
    """Starts a run, or goes on with it, and stops it after an epoch; what it said after that."""
    with subprocess.Popen(
        command(workdir, data_dir, f'--config.epochs={EPOCHS}', *more, **task),
        cwd=ROOT,
        env=environment(1),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith(f'epoch {epoch}:'):
                break
        process.send_signal(number)
        said = process.stdout.read()
    stopped_at = max(row['step'] for row in rows_of(workdir))
    assert 3 * epoch <= stopped_at < 3 * EPOCHS, 'the run was over before it could be stopped'
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert 'the same command resumes here' in said
    assert not (workdir / 'report.md').exists()


@pytest.mark.parametrize(
    'numbers', [(signal.SIGKILL,), (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)]
)
def test_a_stopped_run_resumes_as_if_it_had_not_been(numbers, unstopped, small_data, tmp_path):
    for epoch, number in enumerate(numbers, start=2):
        stop(tmp_path, small_data, number, epoch)
    run(tmp_path, small_data, f'--config.epochs={EPOCHS}')
    assert rows_of(tmp_path) == rows_of(unstopped)
    assert (tmp_path / 'report.md').exists()


def test_patches_drawn_of_whole_scans_go_on_as_if_never_stopped(tmp_path):
    """Killed, and on two processes of two devices instead of one."""
    masked.write_scans(tmp_path / 'scans')
    flags = ['--cube_size=24,24,8', '--cubes_per_scan=4', '--workers=1', '--volumes']
    assert masked.prepare(flags, tmp_path / 'scans', tmp_path, name='whole') == 0
    epochs, drawn = f'--config.epochs={EPOCHS}', '--config.data.sampling=volumes'
    run(tmp_path / 'a', tmp_path, epochs, drawn, name='whole')
    stop(tmp_path / 'b', tmp_path, signal.SIGKILL, 2, drawn, name='whole')
    run(tmp_path / 'b', tmp_path, epochs, drawn, name='whole')
    assert rows_of(tmp_path / 'a') == rows_of(tmp_path / 'b')
    short = ('--config.epochs=2', drawn)
    assert two_processes(tmp_path / 'c', tmp_path, *short, name='whole') == [0, 0]
    assert_close(rows_of(tmp_path / 'a')[:8], rows_of(tmp_path / 'c'))


def two_processes(workdir, data_dir, *more, stop_after=None, **task):
    """Two processes of two devices each, joined through a coordinator; their exit statuses.

    The first gets a SIGTERM once it has said `stop_after`.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{free.getsockname()[1]}'
    cluster = {
        'JAX_COORDINATOR_ADDRESS': address,
        'JAX_NUM_PROCESSES': '2',
        # Only the first process writes the cache. With it, the first would be ready at once and
        # Gloo, which waits 30 s, would give up the second, which still compiles.
        'JAX_ENABLE_COMPILATION_CACHE': 'false',
    }
    processes = [
        subprocess.Popen(
            command(workdir, data_dir, '--config.pictures=2', *more, **task),
            cwd=ROOT,
            env=environment(2, **cluster, JAX_PROCESS_ID=str(i)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for line in processes[0].stdout:
        if stop_after and line.startswith(stop_after):
            processes[0].send_signal(signal.SIGTERM)
    for process in processes:
        process.communicate()
    return [process.returncode for process in processes]


def assert_close(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-3)


def test_two_processes_train_as_one(small_data, tmp_path):
    run(tmp_path / 'one', small_data, '--config.epochs=2', devices=4)
    assert two_processes(tmp_path / 'two', small_data, '--config.epochs=2') == [0, 0]
    assert_close(rows_of(tmp_path / 'one'), rows_of(tmp_path / 'two'))
    assert (tmp_path / 'two' / 'export' / 'encoder').exists()
    assert list((tmp_path / 'two' / 'samples').iterdir())


def test_two_processes_stop_together_and_resume(small_data, tmp_path):
    """One is told to stop; both do, at the same step, and go on as if nothing had been."""
    epochs = f'--config.epochs={EPOCHS}'
    stopped = two_processes(tmp_path / 'b', small_data, epochs, stop_after='epoch 2:')
    assert stopped == [128 + signal.SIGTERM] * 2
    assert 6 <= max(row['step'] for row in rows_of(tmp_path / 'b')) < 3 * EPOCHS
    assert two_processes(tmp_path / 'b', small_data, epochs) == [0, 0]
    assert two_processes(tmp_path / 'a', small_data, epochs) == [0, 0]
    assert rows_of(tmp_path / 'a') == rows_of(tmp_path / 'b')


def test_two_processes_fine_tune_as_one(balls, tmp_path):
    task = {'config': 'segment', 'name': 'seg'}
    run(tmp_path / 'one', balls, '--config.epochs=2', devices=4, **task)
    assert two_processes(tmp_path / 'two', balls, '--config.epochs=2', **task) == [0, 0]
    one, two = (tmp_path / name / 'seed_0' for name in ('one', 'two'))
    assert_close(rows_of(one), rows_of(two))
    found, wanted = (json.loads((run / 'results.json').read_text()) for run in (two, one))
    np.testing.assert_allclose(found['metrics']['dice'], wanted['metrics']['dice'], atol=0.05)
    assert (tmp_path / 'two' / 'report.md').exists()
