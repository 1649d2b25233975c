"""Runs, datasets and exports in a bucket, as TPU pods keep them, on a server of this machine."""

import argparse
import json
import re

import masked
import numpy as np
import pytest
from buckets import VARIABLES, Buckets
from tensorboardX.record_writer import GCSRecordWriter

from genesis_jax import convert, evaluate, parallel, paths
from genesis_jax.cli.arguments import path, path_or_url
from genesis_jax.compare.__main__ import main as compare
from genesis_jax.data import reading
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.pretrain import pretrain

ROOT = 'gs://bucket'


@pytest.fixture(scope='module')
def bucket():
    """A server with an empty bucket."""
    # What it sends once more at the end of the process would wait for a server that is gone.
    GCSRecordWriter.__del__ = lambda self: None
    with pytest.MonkeyPatch.context() as patch, Buckets() as server:
        patch.setenv('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')  # asks Google for the kind
        pytest.importorskip('gcsfs')
        for name in VARIABLES:
            patch.setenv(name, server.url)
        patch.setenv('GOOGLE_AUTH_TOKEN_FOR_TESTING', 'none')  # of TensorStore
        patch.setenv('GOOGLE_CLOUD_PROJECT', 'none')
        yield server


def upload(server, folder, name):
    for file in folder.rglob('*'):
        if file.is_file():
            server.put('bucket', f'{name}/{file.relative_to(folder)}', file.read_bytes())


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def comparable(rows):
    return [{k: v for k, v in row.items() if 'second' not in k} for row in rows]


@pytest.fixture(scope='module')
def run(bucket, small_data, make_config, tmp_path_factory):
    """The same pre-training in the bucket, its data too, and in a folder: `(path, path)`."""
    upload(bucket, small_data, 'data')
    local = tmp_path_factory.mktemp('run')
    pretrain(make_config(), local)
    workdir = paths.as_path(f'{ROOT}/run')
    pretrain(make_config(data__dir=f'{ROOT}/data'), f'{ROOT}/run')
    return workdir, local


def test_patches_are_drawn_of_scans_in_the_bucket(bucket, make_config, tmp_path):
    masked.write_scans(tmp_path / 'scans')
    flags = ['--cube_size=16,16,8', '--workers=1', '--volumes']
    assert masked.prepare(flags, tmp_path / 'scans', tmp_path, name='whole') == 0
    upload(bucket, tmp_path / 'whole', 'data/whole')
    sources = (
        reading.open_splits(
            make_config(data__dir=place, data__name='whole', data__sampling='volumes')
        )
        for place in (f'{ROOT}/data', str(tmp_path))
    )
    there, here = (next(reading.train_batches(train, 4, 0)) for train, _, _ in sources)
    for name, values in here.items():
        np.testing.assert_array_equal(there[name], values)


@pytest.mark.slow
def test_a_pretraining_leaves_the_same_files_and_numbers_as_in_a_folder(run):
    there, here = run
    assert comparable(rows_of(there)) == comparable(rows_of(here))
    for folder in ('.', 'checkpoints', 'export', 'samples'):
        mine, theirs = ({file.name for file in (w / folder).iterdir()} for w in run)
        assert mine == theirs, folder
    mine, theirs = ((w / 'report.md').read_text().splitlines() for w in run)
    assert mine[:8] == theirs[:8]
    (events,) = (there / 'tensorboard').iterdir()
    assert len(events.read_bytes()) > 1000
    for name in ('encoder', 'encoder_decoder'):
        (mine, card), (theirs, _) = (convert.read(w / 'export' / name) for w in run)
        assert card.dataset == 'small'
        np.testing.assert_equal(mine, theirs)


@pytest.mark.slow
def test_it_resumes_from_the_last_checkpoint_in_the_bucket(run, bucket, make_config, capsys):
    workdir, local = run
    steps = sorted(int(file.name) for file in (workdir / 'checkpoints').iterdir())
    for name in [n for n in bucket.objects if n.startswith(f'bucket/run/checkpoints/{steps[-1]}/')]:
        del bucket.objects[name]
    pretrain(make_config(data__dir=f'{ROOT}/data'), f'{ROOT}/run')
    assert f'resumed after step {steps[-2]}' in capsys.readouterr().out
    assert comparable(rows_of(workdir)) == comparable(rows_of(local))
    with pytest.raises(UserError, match='gs://bucket/run holds a run with config.seed=0, but'):
        pretrain(make_config(data__dir=f'{ROOT}/data', seed=1), f'{ROOT}/run')


@pytest.mark.slow
def test_a_fine_tuning_from_there_is_evaluated_and_compared(
    run, bucket, balls, make_target, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(parallel, 'start', lambda: None)  # JAX runs already
    upload(bucket, balls, 'balls')
    make = {'data__dir': f'{ROOT}/balls', 'epochs': 1, 'freeze': 'none'}
    finetune(make_target('cls', init=f'{ROOT}/run', **make), f'{ROOT}/tuned')
    tuned = paths.as_path(f'{ROOT}/tuned')
    results = json.loads((tuned / 'seed_0' / 'results.json').read_text())
    assert results['provenance']['folder'] == f'{ROOT}/run/export/encoder'
    assert (tuned / 'report.md').exists() and (tuned / 'results.csv').exists()
    out = f'{ROOT}/evaluated'
    assert evaluate.main([f'--model={ROOT}/tuned/seed_0', f'--output={out}']) == 0
    again = json.loads((paths.as_path(out) / 'results.json').read_text())
    assert again['metrics'] == results['metrics']
    assert compare([f'{ROOT}/tuned', f'--out={ROOT}/compared']) == 0
    assert (paths.as_path(f'{ROOT}/compared') / 'comparison.md').exists()


@pytest.mark.slow
def test_a_file_of_another_format_is_read_from_the_bucket(run, bucket, tmp_path):
    pytest.importorskip('safetensors')
    convert.convert(f'{ROOT}/run', tmp_path / 'hub')
    upload(bucket, tmp_path / 'hub', 'hub')
    (there, _), (here, _) = convert.read(f'{ROOT}/hub'), convert.read(tmp_path / 'hub')
    np.testing.assert_equal(there, here)


def test_what_is_not_there_is_one_sentence(bucket, make_config):
    with pytest.raises(UserError, match=f'there is no such file or folder as {ROOT}/none; '):
        convert.read(f'{ROOT}/none')
    with pytest.raises(UserError, match="there is no dataset 'small' in 'gs://bucket/none'"):
        pretrain(make_config(data__dir=f'{ROOT}/none'), f'{ROOT}/other')
    with pytest.raises(UserError, match='there is no bucket gs://missing'):
        convert.read('gs://missing/run')


def test_what_cannot_be_in_a_bucket_is_refused(bucket, make_config, tmp_path):
    with pytest.raises(UserError, match='gs://bucket/x.pt is a URL; expected a local path'):
        convert.convert(tmp_path, f'{ROOT}/x.pt')
    with pytest.raises(UserError, match='config.profile_steps traces into a local folder'):
        pretrain(make_config(profile_steps=(1, 2)), f'{ROOT}/traced')


def test_other_urls_are_refused():
    with pytest.raises(UserError, match='s3://b/x is a URL; expected a local path or gs://'):
        paths.as_path('s3://b/x')
    for kind in (path, path_or_url):
        with pytest.raises(argparse.ArgumentTypeError, match=re.escape('s3://b/x is a URL')):
            kind('s3://b/x')


def test_without_gcsfs_a_url_says_what_to_install(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"needs gcsfs; .*pip install -e '.\[gs\]'"):
        paths.as_path('gs://never-asked/x')
