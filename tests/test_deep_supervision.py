"""Deep supervision: coarser levels answer in training and nowhere else; the strong recipe."""

import jax
import numpy as np
import pytest
from tuned import batch_of, begin, changed

from configs import segment
from genesis_jax import convert, parallel
from genesis_jax.checkpoints import load_export
from genesis_jax.finetune import finetune
from genesis_jax.models import UNet2D, UNet3D
from genesis_jax.training.deep_supervision import DeepSupervision, coarser, weights
from genesis_jax.training.losses import SoftDice
from genesis_jax.transfer import shapes_of


@pytest.mark.parametrize(
    ('kind', 'sides', 'answers'), [(UNet3D, (16, 16, 8), 2), (UNet2D, (64, 32), 4)]
)
def test_only_in_training_all_levels_but_the_coarsest_answer(kind, sides, answers):
    network = kind(width=2, out_channels=3, deep_supervision=True)
    variables = shapes_of(network, 1)
    x = jax.ShapeDtypeStruct((2, *sides, 1), np.float32)

    def logits(network, train):
        def run(variables, x):
            return network.apply(variables, x, train=train, mutable=['batch_stats'])[0]

        return jax.eval_shape(run, variables, x)

    shapes = [level.shape for level in logits(network, train=True)]
    assert shapes == [(2, *(side // 2**n for side in sides), 3) for n in range(answers)]
    assert logits(network, train=False).shape == (2, *sides, 3)
    assert len(variables['params']['heads']) == answers - 1
    plain = kind(width=2, out_channels=3)
    expected = shapes_of(plain, 1)
    assert logits(plain, train=True).shape == (2, *sides, 3)
    assert 'heads' not in expected['params'] and 'heads' not in variables['batch_stats']
    del variables['params']['heads']
    assert variables == expected


@pytest.mark.slow
def test_other_parts_start_as_without_it(make_target):
    _, _, plain = begin(make_target('seg'))
    _, _, state = begin(make_target('seg', model__deep_supervision=True))
    for part, tree in plain.params.items():
        jax.tree.map(np.testing.assert_array_equal, state.params[part], tree)


def test_the_loss_is_the_weighted_mean_over_levels(rng):
    mask = rng.integers(0, 3, (2, 8, 4, 8)).astype(np.uint8)
    logits = [
        rng.normal(size=(2, *(side // 2**n for side in (8, 4, 8)), 3)).astype(np.float32)
        for n in range(3)
    ]
    of_step = jax.pmap(
        DeepSupervision(SoftDice()).of_step, parallel.AXIS, devices=jax.devices()[:1]
    )
    found = of_step([level[None] for level in logits], {'mask': mask[None]})[0]
    loss, told = SoftDice(), 0
    for level, part, weight in zip(
        logits,
        (mask, mask[:, 1::2, 1::2, 1::2], mask[:, 2::4, 2::4, 2::4]),
        (4 / 7, 2 / 7, 1 / 7),
        strict=True,
    ):
        terms = loss.terms(level, {'mask': part})
        told += weight * loss.loss({name: values.sum(axis=0) for name, values in terms.items()})
    np.testing.assert_allclose(found, told, rtol=1e-5)
    assert weights(2) == pytest.approx([2 / 3, 1 / 3]) and weights(1) == [1.0]
    np.testing.assert_array_equal(coarser(mask[..., 0], 2), mask[:, 1::2, 1::2, 0])


def test_the_new_heads_learn_with_the_head(make_target, pretrained):
    fields = {'init': str(pretrained), 'freeze': 'encoder_decoder'}
    config = make_target('seg', model__deep_supervision=True, **fields)
    steps, start, state = begin(config)
    assert start.provenance.new == ['head', 'heads']
    before = jax.device_get(state.params)
    state, metrics = steps.train(state, batch_of(config))
    assert changed(before, jax.device_get(state.params)) == {'head', 'heads'}
    assert 0 < float(metrics['loss']) < 1.1


@pytest.mark.slow
def test_the_strong_recipe_from_weights_to_an_export_without_heads(
    make_target, pretrained, tmp_path, capsys
):
    fields = {
        name.replace('.', '__'): value
        for name, value in segment.VARIANTS['strong'].items()
        if name not in ('epochs', 'steps_per_epoch', 'patience')
    }
    sawtooth = {'schedule__name': 'sawtooth', 'schedule__warmup_steps': 1, 'head_warmup_epochs': 1}
    config = make_target('seg', init=str(pretrained), **(fields | sawtooth))
    (result,) = finetune(config, tmp_path)
    assert 0 <= result['metrics']['dice'] <= 1
    assert 'randomly initialised: head, heads' in capsys.readouterr().out
    variables, card = load_export(tmp_path / 'seed_0' / 'export' / 'model')
    assert set(variables['params']) == set(card['parts']) == {'encoder', 'decoder', 'head'}
    checkpoint = max((tmp_path / 'seed_0' / 'checkpoints').glob('[0-9]*'))
    found, _ = convert.read(checkpoint)
    assert set(found['params']) == {'encoder', 'decoder', 'head'}
    # A further fine-tuning starts from it, with or without heads of its own.
    _, start, _ = begin(make_target('seg', init=str(tmp_path / 'seed_0' / 'export' / 'model')))
    assert start.parts == ('encoder', 'decoder')
