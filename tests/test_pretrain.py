"""Pre-training on a real chest CT, in this process on four devices."""

import gzip
import json
import math
import shutil
import struct
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import masked
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import scans
from genesis_jax import parallel
from genesis_jax import pretrain as pretraining
from genesis_jax.checkpoints import Checkpoints, Progress, load_export
from genesis_jax.config import resolve
from genesis_jax.data import reading
from genesis_jax.errors import UserError
from genesis_jax.pretrain import make_steps, pretrain
from genesis_jax.run import _validate
from genesis_jax.runs import pictures
from genesis_jax.training.profile import Profile

PATCH = (24, 24, 8, 1)


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def run(make_config, tmp_path_factory):
    """The workdir of a finished run of two epochs, and its progress."""
    workdir = tmp_path_factory.mktemp('run')
    return workdir, pretrain(make_config(), workdir)


def test_every_step_and_epoch_leaves_a_row(run):
    workdir, progress = run
    steps = [row for row in rows_of(workdir) if 'train/loss' in row]
    assert [row['step'] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert {'train/gradient_norm', 'train/learning_rate', 'cubes_per_second'} < set(steps[0])
    epochs = [row for row in rows_of(workdir) if 'epoch' in row]
    assert [(row['step'], row['epoch']) for row in epochs] == [(3, 1), (6, 2)]
    for row, of_epoch in zip(epochs, (steps[:3], steps[3:]), strict=True):
        mean = sum(step['train/loss'] for step in of_epoch) / 3
        assert row['train/epoch_loss'] == pytest.approx(mean)
    assert progress.best_loss == min(row['validation/loss'] for row in epochs)


def test_tensorboard_shows_the_same_numbers(run):
    from tensorboardX.proto.event_pb2 import Event

    workdir, _ = run
    (file,) = (workdir / 'tensorboard').iterdir()
    content, events = file.read_bytes(), []
    while content:  # length, checksum, event, checksum
        (length,) = struct.unpack('<Q', content[:8])
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    shown = {
        (event.step, value.tag): value.simple_value
        for event in events
        for value in event.summary.value
        if value.HasField('simple_value')
    }
    for row in rows_of(workdir):
        for name in row.keys() - {'step'}:
            assert shown[row['step'], name] == pytest.approx(row[name], rel=1e-5)
    assert any(v.tag == 'restoration' for event in events for v in event.summary.value)


def test_baselines_are_those_of_the_validation_cubes(run, make_config):
    """`cube_mean` recomputed from the records: flips do not change a variance."""
    workdir, _ = run
    _, validation, _ = reading.open_splits(make_config())
    patches = [np.clip((record['cube'] + 1000.0) / 2000, 0, 1) for record in validation]
    for row in rows_of(workdir):
        if 'epoch' in row:
            expected = np.mean([patch.var() for patch in patches])
            assert row['validation/cube_mean'] == pytest.approx(expected, rel=1e-4)
            assert row['validation/unchanged'] > 0


def test_pictures_and_report_tell_of_the_run(run):
    from PIL import Image

    workdir, progress = run
    pictures = sorted((workdir / 'samples').iterdir())
    assert [p.name for p in pictures] == ['step_0000003.png', 'step_0000006.png']
    image = np.asarray(Image.open(pictures[-1]))
    assert image.shape[1] > 1000 and image.std() > 20
    report = (workdir / 'report.md').read_text()
    for fact in (f'{progress.best_loss:.5f}', '12 training and 4 validation', pictures[-1].name):
        assert fact in report


def test_a_picture_shows_the_own_channel_of_different_scans(make_config, monkeypatch):
    """Slices between their neighbours, of three scans in two batches."""
    drawn = []
    monkeypatch.setattr(pictures, 'restorations', lambda *images: drawn.extend(images))
    scans = [0, 0, 0, 0, 0, 1, 1, 2]
    source = [
        {
            'cube': np.stack([np.full((4, 4), 10 * scan + channel) for channel in range(3)], -1),
            'window': np.array([0, 1]),
            'scan_id': b'%d' % scan,
        }
        for scan in scans
    ]

    class Steps:
        def evaluate(self, state, batch):
            return {'loss': 0.0, 'examples': 4}, (batch['cube'],) * 3

        def conclude(self, totals):
            return totals

    class Log:
        def picture(self, step, image, name):
            assert name == 'restoration'

    def validate(config):
        picture = partial(pretraining._Restorations, source, config)
        job = SimpleNamespace(steps=Steps(), validation=source, picture=picture)
        _validate(config, job, Log(), Progress(), None, epoch=1, step=2)

    validate(make_config(pictures=3, dimensions=2))
    assert len(drawn) == 3
    for images in drawn:
        assert images[:, 0, 0, 0].tolist() == [1, 11, 21]
    drawn.clear()
    validate(make_config(pictures=0))
    assert not drawn


def test_exports_are_the_best_state(run, make_config):
    workdir, progress = run
    config = resolve(make_config(), 4)
    like = parallel.create(make_steps(config, PATCH, 3).init)
    with Checkpoints(workdir / 'checkpoints') as checkpoints:
        best, _, _ = checkpoints.load(progress.best_step, like)
    whole, card = load_export(workdir / 'export' / 'encoder_decoder')
    assert set(whole['params']) == {'encoder', 'decoder', 'head'}
    jax.tree.map(np.testing.assert_array_equal, whole, jax.device_get(best.variables))
    encoder, _ = load_export(workdir / 'export' / 'encoder')
    assert set(encoder['params']) == set(encoder['batch_stats']) == {'encoder'}
    np.testing.assert_array_equal(
        encoder['params']['encoder']['level_0']['block_0']['conv']['kernel'],
        whole['params']['encoder']['level_0']['block_0']['conv']['kernel'],
    )
    assert card['config']['model']['width'] == 2 and card['step'] == progress.best_step
    assert card['scans'] == {'train': 3, 'validation': 1} and card['modality'] == 'ct'
    assert card['folds'] == {'train': [0], 'validation': [1]} and card['epochs'] == 2
    assert card['examples_per_second'] > 0
    assert card['baselines']['cube_mean'] == progress.last['validation/cube_mean']
    with pytest.raises(UserError, match='no exported network'):
        load_export(workdir / 'samples')
    for name, words in {'.': 'such as .*export/encoder$', 'none': 'there is no folder'}.items():
        with pytest.raises(UserError, match=words):
            load_export(workdir / name)


def test_some_steps_are_traced(make_config, tmp_path):
    """In folders of `jax.profiler`, whose files TensorBoard and Perfetto open."""
    pretrain(make_config(epochs=1, pictures=0, profile_steps=(2, 3)), tmp_path)
    (session,) = (tmp_path / 'profile' / 'plugins' / 'profile').iterdir()
    (trace,) = session.glob('*.trace.json.gz')
    events = json.loads(gzip.decompress(trace.read_bytes()))['traceEvents']
    steps = [event['args']['step_num'] for event in events if event.get('name') == 'train']
    assert sorted(steps) == ['2', '3']
    assert [*session.glob('*.xplane.pb')]


def test_a_trace_holds_its_steps_alone(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(jax.profiler, 'start_trace', lambda folder: told.append('start'))
    monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: told.append('stop'))
    with Profile(tmp_path, (2, 3)) as profile:
        for step in range(1, 6):
            with profile.step(step):
                told.append(step)
            profile.done(step, np.zeros(1))
    assert told == [1, 'start', 2, 3, 'stop', 4, 5]


def test_a_finished_run_is_not_trained_further(run, make_config, capsys):
    """Nor is it another run with other steps to trace, which are behind it."""
    workdir, progress = run
    before = rows_of(workdir)
    again = pretrain(make_config(profile_steps=(1, 2)), workdir)
    assert rows_of(workdir) == before
    assert again == progress
    assert 'config.profile_steps traces nothing: step 6 is done already' in capsys.readouterr().out


def test_a_workdir_of_another_config_is_refused(run, make_config):
    workdir, _ = run
    with pytest.raises(UserError, match='config.seed=0, but this command has config.seed=1'):
        pretrain(make_config(seed=1), workdir)


def test_validation_corrupts_alike_each_time_and_on_any_number_of_devices(make_config):
    _, validation, _ = reading.open_splits(make_config())
    seen = {}
    for batch_size in (4, 8):
        steps = make_steps(resolve(make_config(batch_size=batch_size), 4), PATCH, 3)
        state = parallel.create(steps.init)
        for _ in range(2):
            (batch,) = reading.validation_batches(validation, batch_size)
            sums, images = steps.evaluate(state, parallel.shard(batch))
            assert float(sums['examples']) == 4
            patches = np.concatenate(jax.device_get(images[1]))[:4]
            for position, patch in enumerate(patches):
                np.testing.assert_array_equal(seen.setdefault(position, patch), patch)


def test_training_stops_when_epochs_bring_no_gain(make_config, tmp_path):
    progress = pretrain(make_config(epochs=30, patience=1, pictures=0), tmp_path)
    epochs = [row for row in rows_of(tmp_path) if 'epoch' in row]
    losses = [row['validation/loss'] for row in epochs]
    best = losses.index(min(losses))
    assert len(epochs) == best + 2 < 30
    assert progress.epochs_without_gain == 1 and progress.best_step == 3 * (best + 1)
    with Checkpoints(tmp_path / 'checkpoints') as checkpoints:
        assert checkpoints.latest_step == 3 * len(epochs)


@pytest.mark.parametrize('layout', ['named', 'numbered', '4d'])
def test_two_channels_are_pretrained_on_from_their_files(layout, make_config, tmp_path, capsys):
    names = {'named': ('T1', 'flair'), 'numbered': ('0000', '0001')}.get(layout)
    source, rng = tmp_path / 'raw', np.random.default_rng(0)
    source.mkdir()
    stored = {}
    for case in range(4):
        voxels = rng.integers((0, 1000), (500, 4000), (20, 18, 10, 2)).astype(np.int16)
        stored[f'case{case}'] = voxels
        images = [sitk.GetImageFromArray(voxels[..., channel].T) for channel in range(2)]
        if layout == '4d':
            sitk.WriteImage(sitk.JoinSeries(images), str(source / f'case{case}.nii.gz'))
            continue
        for name, image in zip(names, images, strict=True):
            sitk.WriteImage(image, str(source / f'case{case}_{name}.nii.gz'))
    if layout == 'named':
        (source / 'case3_flair.nii.gz').unlink()
        sitk.WriteImage(images[0], str(source / 'case0_t2.nii.gz'))
    flags = [f'--source={source}', f'--data_dir={tmp_path}', '--name=two', '--modality=mri']
    size = ['--cube_size=16,16,8', '--cubes_per_scan=4', '--workers=1', '--min_tissue=-1']
    assert scans.main([*flags, *size, '--channels=t1,FLAIR', '--validation_share=0.4']) == 0
    said = capsys.readouterr().out
    assert f'skipped: {int(layout == "named")}\n' in said
    assert ('case3_T1.nii.gz has no file of FLAIR; add it' in said) == (layout == 'named')
    assert ('of no channel by their names: case0_t2.nii.gz' in said) == (layout == 'named')
    config = make_config(data__dir=str(tmp_path), data__name='two', epochs=1)
    train, validation, shape = reading.open_splits(config)
    assert shape == (16, 16, 8, 2)
    for record in [*train, *validation]:
        assert record['patient'] == record['scan_id'] and record['window'].shape == (2, 2)
        x, y, z = record['origin']
        scan = stored[record['scan_id'].decode()]
        patch = scan[x : x + 16, y : y + 16, z : z + 8]
        np.testing.assert_array_equal(record['cube'], patch)
        own = np.percentile(scan, (0.5, 99.5), axis=(0, 1, 2)).T  # of each channel
        np.testing.assert_allclose(record['window'], own, atol=200)  # it is of a sample
    if layout == 'numbered':
        progress = pretrain(config, tmp_path / 'run')
        assert progress.best_step > 0 and np.isfinite(progress.last['validation/loss'])
        card = load_export(tmp_path / 'run' / 'export' / 'encoder')[1]
        assert card['in_channels'] == 2


def test_patches_drawn_of_raw_scans_are_pretrained_on_and_resume(make_config, tmp_path, capsys):
    """To the bit, and with other patches in the second epoch."""
    masked.write_scans(tmp_path / 'scans')
    flags = ['--cube_size=24,24,8', '--cubes_per_scan=4', '--workers=1', '--volumes']
    assert masked.prepare(flags, tmp_path / 'scans', tmp_path, name='whole') == 0
    fields = {'data__dir': str(tmp_path), 'data__name': 'whole', 'data__sampling': 'volumes'}
    config, workdir = make_config(**fields, pictures=0), tmp_path / 'run'
    pretrain(config, workdir)
    said = capsys.readouterr().out
    assert '12 patches of 24x24x8x1 for training, 4 for validation; those for training are' in said
    before = [{**row, 'cubes_per_second': 0} for row in rows_of(workdir)]
    assert [row['step'] for row in before if 'train/loss' in row] == [1, 2, 3, 4, 5, 6]
    shutil.rmtree(workdir / 'checkpoints' / '6')
    pretrain(config, workdir)
    assert 'resumed after step 3' in capsys.readouterr().out
    finished = [{**row, 'cubes_per_second': 0} for row in rows_of(workdir)]
    assert finished == before
    assert 'drawn anew' in (workdir / 'report.md').read_text()


@pytest.fixture
def poisoned(small_data, tmp_path):
    """The dataset `small` with one more training patch, whose window is no number."""
    from data_prep.build import records

    folder = records.dataset_folder(small_data, 'small')
    builder = tfds.builder_from_directory(folder)
    splits = {split: list(builder.as_data_source(split)) for split in ('train', 'validation')}
    splits['train'].append(splits['train'][0] | {'window': np.full((1, 2), np.nan, np.float32)})
    writer = records.SplitsWriter(tmp_path, 'poisoned', records.features(PATCH[:3]))
    for split, given in splits.items():
        writer.add(split, [record | {'scan_id': 'a', 'patient': 'a'} for record in given])
    writer.close({})
    return tmp_path


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_good(poisoned, make_config, tmp_path):
    where = {'data__dir': str(poisoned), 'data__name': 'poisoned', 'pictures': 0}
    source, _, _ = reading.open_splits(make_config(**where))

    def poison_at(seed):
        """The step that first meets the bad patch: each epoch leaves one of 13 to the next."""
        batches = reading.train_batches(source, 4, seed)
        return next(i for i in range(1, 9) if np.isnan(next(batches)['window']).any())

    seed = next(seed for seed in range(100) if poison_at(seed) == 4)
    workdir = tmp_path / 'run'
    with pytest.raises(UserError, match=r'the training \w+ became nan at step 4'):
        pretrain(make_config(**where, seed=seed), workdir)
    with Checkpoints(workdir / 'checkpoints') as checkpoints:
        assert checkpoints.latest_step == 3
    rows = rows_of(workdir)
    assert max(row['step'] for row in rows) == 3
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert not (workdir / 'report.md').exists() and not (workdir / 'export').exists()


def test_equal_losses_end_well(make_config, tmp_path):
    """A network that never moves: the best is the last of equals, and still there at the end.

    On the way the plateau halves the learning rate for every epoch without a gain.
    """
    fields = {'model__batch_statistics': 'official', 'optimizer__learning_rate': 1e-30}
    fields |= {'schedule__patience': 1, 'schedule__floor': 0.0, 'pictures': 0}
    progress = pretrain(make_config(epochs=20, patience=4, **fields), tmp_path)
    epochs = [row for row in rows_of(tmp_path) if 'epoch' in row]
    assert len({row['validation/loss'] for row in epochs}) == 1
    assert len(epochs) == 5 and progress.best_step == 15
    assert (tmp_path / 'export' / 'encoder').exists()
    rates = [row['train/learning_rate'] for row in rows_of(tmp_path) if 'train/loss' in row]
    expected = 1e-30 * np.repeat([1, 1, 1 / 2, 1 / 4, 1 / 8], 3)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_the_last_three_checkpoints_and_the_best_are_kept(make_config, tmp_path):
    state = parallel.create(make_steps(resolve(make_config(), 4), PATCH, 3).init)
    with Checkpoints(tmp_path) as checkpoints:
        for step, loss in enumerate([0.5, 0.1, 0.3, 0.4, 0.6, 0.7, None], start=1):
            checkpoints.save(state.replace(step=jnp.int32(step)), {}, Progress(), loss)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [2, 5, 6, 7]


@pytest.mark.slow
@pytest.mark.parametrize(
    'fields',
    [
        {'optimizer__name': 'adamw', 'optimizer__weight_decay': 0.01, 'schedule__name': 'cosine',
         'schedule__warmup_steps': 1},
        {'optimizer__name': 'adam', 'schedule__name': 'step', 'model__dtype': 'bfloat16',
         'model__remat': True, 'transforms__fill': 'constant'},
        {'model__upsample': 'nearest', 'model__batch_statistics': 'official',
         'schedule__name': 'constant', 'data__window': (-1000, 400)},
    ],
    ids=['adamw cosine', 'bfloat16 remat', 'keras official'],
)  # fmt: skip
def test_options_train(fields, make_config, tmp_path):
    progress = pretrain(
        make_config(epochs=1, optimizer__learning_rate=1e-3, pictures=0, **fields), tmp_path
    )
    assert math.isfinite(progress.best_loss)
    variables, card = load_export(tmp_path / 'export' / 'encoder_decoder')
    assert ('up_0' in variables['params']['decoder']) == ('model__upsample' not in fields)
    assert card['config']['optimizer']['name'] == fields.get('optimizer__name', 'sgd')


def test_a_batch_of_one_can_be_read(make_config):
    source, _, _ = reading.open_splits(make_config())
    assert next(reading.train_batches(source, 1, seed=0))['cube'].shape == (1, *PATCH)
