"""Losses of a restoration by name, and the voxels that they are taken of."""

import jax
import numpy as np
import pytest

from configs import genesis_ct
from genesis_jax import parallel
from genesis_jax.config import difference, resolve, to_json
from genesis_jax.errors import UserError
from genesis_jax.pretrain import make_steps
from genesis_jax.training import voxel_losses
from genesis_jax.training.losses import Restoration

BY_HAND = {
    'squared': lambda error: error**2,
    'absolute': np.abs,
    'huber': lambda error: np.where(
        np.abs(error) < 0.1, error**2 / 2, 0.1 * (np.abs(error) - 0.05)
    ),
    'log_cosh': lambda error: np.log(np.cosh(error)),
    'squared+absolute': lambda error: error**2 + np.abs(error),
}


@pytest.mark.parametrize('name', BY_HAND)
def test_a_loss_is_the_mean_of_its_errors(name, rng):
    logits, target, corrupted = (rng.random((3, 4, 4, 2, 1), np.float32) for _ in range(3))
    terms = Restoration(name).terms(logits, {'target': target, 'corrupted': corrupted})
    for term, answer in (('loss', jax.nn.sigmoid(logits)), ('unchanged', corrupted)):
        wanted = BY_HAND[name](np.asarray(answer) - target).mean(axis=(1, 2, 3, 4))
        np.testing.assert_allclose(terms[term], wanted, rtol=2e-5)
    assert set(BY_HAND) - {'squared+absolute'} == set(voxel_losses.VOXEL_LOSSES)


def test_a_loss_of_ones_own_is_a_function_and_a_line(tmp_path, monkeypatch):
    (tmp_path / 'my_losses.py').write_text(
        'from genesis_jax.training.voxel_losses import voxel_loss\n\n'
        "@voxel_loss('quartic')\n"
        'def quartic(prediction, target):\n'
        '    return (prediction - target) ** 4\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = genesis_ct.get_config()
    config.batch_size = 4
    config.loss.name = 'quartic'
    with pytest.raises(UserError, match=r"config\.loss: there is no loss 'quartic'; expected one"):
        resolve(config, 4)
    config.loss.modules = ('my_losses',)
    resolve(config, 4)
    assert voxel_losses.voxel_loss_of('quartic')(2.0, 0.0) == 16
    del voxel_losses.VOXEL_LOSSES['quartic']


def test_a_loss_of_nothing_is_refused():
    config = genesis_ct.get_config('autoencoder')
    config.loss.where = 'corrupted'
    with pytest.raises(UserError, match="loss.where=corrupted: expected 'all', as nothing is"):
        resolve(config, 1)
    config = genesis_ct.get_config()
    config.transforms.swap_probability = 0.5
    config.batch_size = 1
    with pytest.raises(UserError, match='batch_size=1: expected 2 or more, as examples are mixed'):
        resolve(config, 1)


def test_examples_in_which_nothing_was_changed_do_not_count(rng):
    logits, target = (rng.random((4, 4, 4, 2, 1), np.float32) for _ in range(2))
    valid = np.zeros((4, 4, 4, 2, 1), np.float32)
    valid[1:3, :2] = 1
    batch = {'target': target, 'corrupted': target, 'valid': valid}
    errors = (np.asarray(jax.nn.sigmoid(logits)) - target) ** 2
    loss = Restoration(where='corrupted')
    step = jax.pmap(loss.of_step, parallel.AXIS)
    parts = jax.tree.map(lambda a: a.reshape(4, 1, *a.shape[1:]), (logits, batch))
    np.testing.assert_allclose(step(*parts), [errors[1:3, :2].mean()] * 4, rtol=1e-5)
    totals = {name: float(term.sum()) for name, term in loss.terms(logits, batch).items()}
    assert loss.conclude(totals)['loss'] == pytest.approx(errors[1:3, :2].mean(), rel=1e-5)
    assert loss.conclude({'loss': 0.0, 'examples': 0.0})['loss'] == 0


def test_an_unknown_name_has_a_nearest():
    config = genesis_ct.get_config()
    config.batch_size = 4
    config.loss.name = 'square'
    with pytest.raises(UserError, match="no loss 'square'; the nearest is squared"):
        resolve(config, 4)


def test_earlier_configs_had_the_published_loss():
    config = genesis_ct.get_config()
    saved = to_json(config)
    del saved['loss']
    assert difference(saved, config) is None
    config.loss.where = 'corrupted'
    assert difference(saved, config) == ('loss.where', 'all', 'corrupted')


def test_the_loss_is_taken_where_something_is_hidden(make_config):
    """Of hidden blocks alone, in training and in validation."""
    config = make_config(
        transforms__flip_probability=0.0,
        transforms__paint_probability=0.0,
        transforms__mask_probability=1.0,
        transforms__mask_block=4,
        loss__where='corrupted',
        loss__name='absolute',
        model__batch_statistics='official',
    )
    patches = np.random.default_rng(0).integers(-999, 999, (4, 24, 24, 8, 1)).astype(np.int16)
    batch = {
        'cube': patches,
        'window': np.tile(np.float32([-1000, 1000]), (4, 1)),
        'position': np.arange(4, dtype=np.int32),
        'weight': np.ones(4, np.float32),
    }
    steps = make_steps(resolve(config, 4), (24, 24, 8, 1), steps_per_epoch=3)
    state = parallel.create(steps.init)
    totals, images = steps.evaluate(state, parallel.shard(batch))
    target, corrupted, restored = (np.concatenate(jax.device_get(image)) for image in images)
    hidden = corrupted == 0
    assert 0.55 < hidden.mean() < 0.65
    wanted = [np.abs(r - t)[h].mean() for r, t, h in zip(restored, target, hidden, strict=True)]
    assert float(totals['loss']) / 4 == pytest.approx(np.mean(wanted), rel=1e-4)
    assert float(totals['unchanged']) / 4 == pytest.approx(target[hidden].mean(), rel=1e-2)
    _, metrics = steps.train(state, parallel.shard(batch))
    assert float(metrics['loss']) == pytest.approx(np.mean(wanted), rel=0.05)  # other blocks
