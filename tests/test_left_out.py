"""What is left out of scans: it enters no record, and no loss of a pre-training looks at it."""

from functools import partial

import jax
import jax.numpy as jnp
import masked
import numpy as np
import pytest
from masked import SHAPE, mask_of, scan_of, write, write_scans

from data_prep.sampling.cubes import CubeRule, sample_cubes
from genesis_jax import parallel
from genesis_jax.config import resolve
from genesis_jax.data import reading, views
from genesis_jax.pretrain import make_steps, pretrain
from genesis_jax.training.losses import Restoration, mean_error
from genesis_jax.training.steps import corrupted
from genesis_jax.transforms import corrupt
from genesis_jax.transforms.pipeline import flip_alike
from genesis_jax.transforms.window import normalise

FACE = (slice(0, 40), slice(0, 14), slice(0, 19))
SIZE = ['--cube_size=16,16,16', '--cubes_per_scan=4', '--workers=1', '--validation_share=0.25']


prepare, read = partial(masked.prepare, SIZE, name='defaced'), partial(masked.read, name='defaced')


@pytest.fixture
def faces(tmp_path):
    for case in range(4):
        path = tmp_path / 'faces' / f'case{case}_mask.nii.gz'
        write(path, mask_of(FACE), orientation=('LPI', 'LPS')[case % 2])
    return tmp_path / 'faces'


# Preparation


def test_records_say_what_is_left_out_and_do_not_hold_it(faces, tmp_path):
    source = write_scans(tmp_path / 'scans')
    assert prepare(source, tmp_path, f'--leave_out={faces}', '--min_tissue=-1') == 0
    hidden = mask_of(FACE)
    met = 0
    for record in read(tmp_path):
        part = tuple(slice(a, a + 16) for a in record['origin'])
        assert record['valid'].dtype == np.uint8 and record['valid'].shape == (16, 16, 16, 1)
        np.testing.assert_array_equal(record['valid'][..., 0], 1 - hidden[part])
        valid = record['valid'] == 1
        scan = scan_of(int(record['scan_id'].decode()[-6]))
        np.testing.assert_array_equal(record['cube'][valid], scan[part][valid[..., 0]])
        assert (record['cube'][~valid] == -100).all()  # the lowest value of these scans
        assert valid.any()
        met += not valid.all()
    assert met > 0


def test_what_lies_under_the_mask_changes_nothing(faces, tmp_path):
    """Not even the window of an MR volume, of a type that is scaled, resampled."""
    for name in ('one', 'two'):
        for case in range(4):
            voxels = np.random.default_rng(case).random(SHAPE).astype(np.float32)
            voxels[FACE] += 50 * (name == 'two')
            write(tmp_path / name / f'case{case}.nii.gz', voxels)
        flags = f'--leave_out={faces}', '--spacing=1.5,1,1.5'
        assert prepare(tmp_path / name, tmp_path / 'data', *flags, name=name, modality='mri') == 0
    one, two = (read(tmp_path / 'data', name=name) for name in ('one', 'two'))
    assert len(one) == len(two) == 16 and not all(r['valid'].all() for r in one)
    for first, second in zip(one, two, strict=True):
        for field in ('cube', 'window', 'origin', 'valid'):
            np.testing.assert_array_equal(first[field], second[field])


def test_no_patch_is_of_nothing_else():
    shape, rule = (40, 16, 16), CubeRule((8, 8, 8), 400, 400, (0,) * 3, (0,) * 3)
    valid = np.ones(shape, np.uint8)
    valid[8:] = 0
    voxels = scan_of(0, shape)
    for lowest, least in ((-1.0, 1), (0.5, 256)):
        allowed = CubeRule(**vars(rule) | {'min_tissue': lowest, 'max_tissue': 1.0})
        cubes = sample_cubes(np.random.default_rng(0), voxels, allowed, valid=valid)
        counts = cubes.valid.sum(axis=(1, 2, 3))
        assert cubes.valid.shape == cubes.voxels.shape and counts.min() >= least
        assert len(cubes.origins) > 20 and cubes.air == 400 - len(cubes.origins)


def test_patches_inside_are_centred_on_what_is_left(faces, tmp_path, capsys):
    source = write_scans(tmp_path / 'scans')
    organ = mask_of()
    organ[9:27, 8:20, 6:15] = 1  # reaches under the face
    for case in range(4):
        write(tmp_path / 'organs' / f'case{case}.nii.gz', organ if case else mask_of(FACE))
    flags = f'--inside={tmp_path / "organs"}', f'--leave_out={faces}'
    (faces / 'case1_mask.nii.gz').unlink()
    write(faces / 'case2_mask.nii.gz', np.ones(SHAPE, np.uint8))
    assert prepare(source, tmp_path, *flags) == 1  # one scan is left, for a single split
    said = capsys.readouterr().out
    assert 'case0_0000.nii.gz has no voxel of its mask case0.nii.gz that a patch can be' in said
    assert 'case1_0000.nii.gz has no mask in --leave_out; add one called like it, an empty' in said
    assert 'case2_0000.nii.gz is covered by its mask in --leave_out as a whole; remove it' in said
    for case in (0, 1, 2):
        write(faces / f'case{case}_mask.nii.gz', mask_of(FACE))
        write(tmp_path / 'organs' / f'case{case}.nii.gz', organ)
    assert prepare(source, tmp_path, *flags) == 0
    for record in read(tmp_path):
        assert record['valid'][8, 8, 8, 0] == 1 and organ[tuple(record['origin'] + 8)]


def test_other_datasets_have_no_such_field(tmp_path):
    source = write_scans(tmp_path / 'scans')
    assert prepare(source, tmp_path) == 0
    assert 'valid' not in read(tmp_path)[0]


def test_2d_readings_show_it_with_their_images(rng):
    record = {
        'cube': rng.integers(0, 9, (8, 6, 5, 2)).astype(np.int16),
        'window': np.float32([[0, 1], [0, 1]]),
        'valid': rng.integers(0, 2, (8, 6, 5, 1)).astype(np.uint8),
    }
    for view, count in (('slices', 1), ('adjacent', 3), ('orthogonal', 3)):
        seen = views.take(record, view, 2)
        assert seen['valid'].shape == seen['cube'].shape == (8, 6, 2 * count)
        own = 2 if view == 'adjacent' else 0
        for channel in (own, own + 1):
            np.testing.assert_array_equal(seen['valid'][..., channel], record['valid'][:, :, 2, 0])
    for channel, z in ((0, 1), (4, 3)):
        seen = views.take(record, 'adjacent', 2)['valid']
        np.testing.assert_array_equal(seen[..., channel], record['valid'][:, :, z, 0])


# Loss


@pytest.fixture
def shown(rng):
    """Of two examples of two channels, which voxels are valid."""
    return rng.integers(0, 2, (2, 6, 5, 4, 1)).astype(np.float32)


def test_losses_do_not_see_what_is_left_out(rng, shown):
    loss, shape = Restoration(), (2, 6, 5, 4, 2)
    logits, corrupted, target = (rng.random(shape, np.float32) for _ in range(3))
    batch = {'target': target, 'corrupted': corrupted, 'valid': shown}
    changed = batch | {
        name: np.where(shown, batch[name], rng.random(shape, np.float32))
        for name in ('target', 'corrupted')
    }
    terms, other = (loss.terms(jnp.asarray(logits), given) for given in (batch, changed))
    for name, values in terms.items():
        np.testing.assert_array_equal(values, other[name])
    mine = jnp.where(shown, logits, 0.0)  # nor what the network says there
    np.testing.assert_array_equal(terms['loss'], loss.terms(mine, batch)['loss'])
    for i in range(2):
        kept = np.broadcast_to(shown[i], shape[1:]) == 1
        answer = 1 / (1 + np.exp(-logits[i][kept]))
        truth = target[i][kept]
        for name, value in (
            ('loss', np.mean((answer - truth) ** 2)),
            ('unchanged', np.mean((corrupted[i][kept] - truth) ** 2)),
            ('cube_mean', truth.var()),
        ):
            np.testing.assert_allclose(terms[name][i], value, rtol=1e-5)


def test_without_a_mask_the_error_is_the_mean_over_all(rng):
    prediction, target = rng.random((2, 3, 4, 5, 4, 1), np.float32)
    plain = jnp.mean((prediction - target) ** 2, axis=(1, 2, 3, 4))
    np.testing.assert_array_equal(mean_error(prediction, target), plain)
    ones, zeros = np.ones_like(target), np.zeros_like(target)
    np.testing.assert_allclose(mean_error(prediction, target, ones), plain, rtol=1e-6)
    np.testing.assert_array_equal(mean_error(prediction, target, zeros), 0)
    gradient = jax.grad(lambda p: mean_error(p, target, zeros).sum())(prediction)
    np.testing.assert_array_equal(gradient, 0)


# Steps


@pytest.mark.parametrize('axes', [None, (0, 2), (0, 1, -1)])
def test_the_mask_is_mirrored_like_the_target(axes):
    volume = jax.random.uniform(jax.random.key(0), (6, 5, 4, 1))
    options = {'flip_probability': 0.7, 'flip_axes': axes}
    never = dict.fromkeys(['shuffle_probability', 'nonlinear_probability', 'paint_probability'], 0)

    @jax.jit
    def both(key):
        return corrupt(key, volume, **options, **never)[1], flip_alike(key, volume, options)

    pairs = [both(key) for key in jax.random.split(jax.random.key(1), 20)]
    for target, alike in pairs:
        np.testing.assert_array_equal(target, alike)
    assert len({np.asarray(target).tobytes() for target, _ in pairs}) > 2


@pytest.fixture
def batch(rng):
    """Bright where left out, dark elsewhere, without any symmetry."""
    valid = rng.integers(0, 2, (4, 16, 16, 16, 1)).astype(np.uint8)
    return {
        'cube': np.where(valid, -1000, 1000).astype(np.int16),
        'window': np.tile(np.float32([-1000, 1000]), (4, 1)),
        'position': np.arange(4, dtype=np.int32),
        'weight': np.ones(4, np.float32),
        'valid': valid,
    }


@pytest.mark.parametrize('slices', [None, slice(3, 6)])
def test_examples_are_mirrored_with_their_mask(batch, slices):
    if slices is not None:  # three of them, as the channels of images
        batch |= {name: batch[name][:, :, :, slices, 0] for name in ('cube', 'valid')}
    never = dict.fromkeys(['shuffle_probability', 'nonlinear_probability', 'paint_probability'], 0)
    make = jax.jit(partial(corrupted, train=True, flip_probability=0.9, **never))
    keys, patches = jax.random.split(jax.random.key(0), 4), normalise(batch)
    _, made = make(keys, patches, batch)
    assert (made['target'] != patches).any()
    np.testing.assert_array_equal(made['target'], 1 - made['valid'])
    plain = {name: values for name, values in batch.items() if name != 'valid'}
    assert set(make(keys, patches, plain)[1]) == {*plain, 'corrupted', 'target'}


@pytest.mark.slow
def test_steps_take_the_error_over_valid_voxels_only(batch, make_config):
    config = make_config(
        transforms__flip_probability=0.9,
        transforms__paint_probability=0.0,
        model__batch_statistics='official',
    )
    steps = make_steps(resolve(config, 4), (16, 16, 16, 1), steps_per_epoch=3)
    state = parallel.create(steps.init)
    totals, images = steps.evaluate(state, parallel.shard(batch))
    target, _, restored = (np.concatenate(jax.device_get(image)) for image in images)
    # All that is valid is 0, so its mean restores it: but for a mask that lies elsewhere.
    assert float(totals['cube_mean']) == 0
    errors = (restored - target) ** 2
    of_each = [np.mean(error[truth == 0]) for error, truth in zip(errors, target, strict=True)]
    assert float(totals['loss']) / 4 == pytest.approx(np.mean(of_each), rel=1e-5)
    assert abs(np.mean(errors) / np.mean(of_each) - 1) > 0.05
    state, metrics = steps.train(state, parallel.shard(batch))
    assert float(metrics['loss']) == pytest.approx(np.mean(of_each), rel=0.02)


@pytest.mark.slow
def test_a_pretraining_runs_on_what_is_left(faces, make_config, tmp_path):
    source = write_scans(tmp_path / 'scans')
    assert prepare(source, tmp_path, f'--leave_out={faces}') == 0
    config = make_config(data__dir=str(tmp_path), data__name='defaced', epochs=1)
    train, _, _ = reading.open_splits(config)
    batch = next(reading.train_batches(train, 4, 0))
    assert batch['valid'].shape == (4, 16, 16, 16, 1) and batch['valid'].dtype == np.uint8
    progress = pretrain(config, tmp_path / 'run')
    assert progress.best_step > 0 and np.isfinite(progress.last['validation/loss'])
