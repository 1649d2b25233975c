"""Fine-tuning on bright balls in noise: what is loaded, what learns, what is left behind."""

import csv
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax import labelled, parallel
from genesis_jax.checkpoints import Checkpoints, export, load_export
from genesis_jax.errors import UserError
from genesis_jax.finetune import Steps, finetune, make_network
from genesis_jax.models import UNet3D, from_card
from genesis_jax.protocols import make_scales
from genesis_jax.transfer import merge, open_start, shapes_of


@pytest.fixture(scope='session')
def pretrained(tmp_path_factory):
    """A workdir with the exports of a pre-training at width 2, without the pre-training."""
    workdir = tmp_path_factory.mktemp('pretrained')
    network = UNet3D(width=2)
    variables = jax.jit(
        lambda: network.init(jax.random.key(7), np.zeros((1, 16, 16, 16, 1)), train=False)
    )()
    card = {
        'network': 'unet3d',
        'config': {'model': {'width': 2, 'upsample': 'transpose', 'epsilon': 1e-5}},
    }
    for name, parts in (
        ('encoder', ('encoder',)),
        ('encoder_decoder', ('encoder', 'decoder', 'head')),
    ):
        export(workdir / 'export' / name, variables, parts, card)
    return workdir


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def begin(config):
    """The steps of a config, what it starts with, and its state."""
    config = config.copy_and_resolve_references()
    dataset = labelled.open_labelled(config)
    network = make_network(config, dataset.about['classes'])
    expected = shapes_of(network, dataset.shape[-1])
    start = open_start(config, expected)
    scales = make_scales(config, expected['params'], start.parts, 2)
    steps = Steps(config, network, dataset.shape, 2, scales)
    return steps, start, parallel.create(steps.init, np.int32(config.seed), start.variables)


def batch_of(config, split='train', count=4):
    source = getattr(labelled.open_labelled(config), split)
    records = [source[i] for i in range(count)]
    names = [n for n in ('cube', 'window', 'label', 'mask') if n in records[0]]
    batch = {name: np.stack([record[name] for record in records]) for name in names}
    batch |= {'position': np.arange(count, dtype=np.int32), 'weight': np.ones(count, np.float32)}
    return parallel.shard(batch)


def test_a_segmentation_from_data_to_report(make_target, pretrained, tmp_path, capsys):
    config = make_target('seg', runs=2, init=str(pretrained))
    found = finetune(config, tmp_path)
    said = capsys.readouterr().out
    assert 'seg: 8 train, 4 validation of 16x16x16x1, 2 whole scans to test' in said
    assert [result['seed'] for result in found] == [0, 1]
    for seed in (0, 1):
        run = tmp_path / f'seed_{seed}'
        cases = rows_of(run / 'cases.csv')
        assert [row['scan_id'] for row in cases] and {row['class'] for row in cases} == {'ball1'}
        assert len(cases) == 2  # whole scans, one for each patient of the test split
        assert (run / 'samples').is_dir() and (run / 'report.md').exists()
        variables, card = load_export(run / 'export' / 'model')
        assert card['classes'] == ['background', 'ball1'] and card['outputs'] == 1
        logits = from_card(card).predict(variables, np.zeros((1, 16, 16, 16, 1)))
        assert logits.shape == (1, 16, 16, 16, 1)
    table = rows_of(tmp_path / 'results.csv')
    assert [row['seed'] for row in table] == ['0', '1']
    mean = np.mean([float(row['dice']) for row in table])
    assert f'| dice | {mean:.4f} |' in (tmp_path / 'report.md').read_text()
    for part in ('report.md', 'seed_1/report.md'):
        text = (tmp_path / part).read_text()
        assert f'start: from {pretrained}' in text and 'drawn at random: head' in text
        assert '- label fraction 1; patients: 4 train, 2 validation, 2 test' in text

    # More runs add to those that are complete; another recipe is refused.
    before = (tmp_path / 'seed_0' / 'results.json').stat().st_mtime_ns
    assert len(finetune(make_target('seg', runs=3, init=str(pretrained)), tmp_path)) == 3
    assert (tmp_path / 'seed_0' / 'results.json').stat().st_mtime_ns == before
    with pytest.raises(UserError, match='config.epochs=2'):
        finetune(make_target('seg', runs=2, init=str(pretrained), epochs=3), tmp_path)


def test_a_classification_is_tested_on_every_fold(make_target, tmp_path, capsys):
    recipe = 'configs/classify.py, but epochs=2'
    found = finetune(make_target('folds'), tmp_path, recipe)
    said = capsys.readouterr().out
    assert f'  recipe     {recipe}\n' in said and '| 1 run (seed) x 3 folds |' in said
    for part in ('report.md', 'seed_0_fold_2/report.md'):
        assert f'- recipe: {recipe}\n' in (tmp_path / part).read_text()
    assert [result['fold'] for result in found] == [0, 1, 2]
    tested = [
        row['patient']
        for fold in range(3)
        for row in rows_of(tmp_path / f'seed_0_fold_{fold}' / 'predictions.csv')
    ]
    assert sorted(set(tested)) == [f'patient{i}' for i in range(6)]
    assert len(tested) == 12
    assert all('auc' in result['metrics'] for result in found)


@pytest.mark.slow
def test_several_classes_and_channels(make_target, pretrained, tmp_path):
    found = finetune(make_target('many', init=str(pretrained)), tmp_path)
    assert {'dice_ball1', 'dice_ball2'} <= set(found[0]['metrics'])
    assert 'first kernel: 1 input channels there, 2 here' in str(
        load_export(tmp_path / 'seed_0' / 'export' / 'model')[1]['start']
    )


def test_training_learns(make_target):
    """Balls against noise is easy: both losses fall by a quarter in sixty steps."""
    for name in ('seg', 'cls'):
        config = make_target(name, optimizer__learning_rate=1e-2)
        steps, _, state = begin(config)
        batch = batch_of(config)
        losses = []
        for _ in range(60):
            state, metrics = steps.train(state, batch)
            losses.append(float(metrics['loss']))
        assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5]), (name, losses)


def test_what_is_loaded_is_there_and_what_is_not_is_new(make_target, pretrained):
    for transfer, parts in (('encoder', {'encoder'}), ('encoder_decoder', {'encoder', 'decoder'})):
        _, start, state = begin(make_target('seg', init=str(pretrained), transfer=transfer))
        _, _, scratch = begin(make_target('seg'))
        there, _ = load_export(pretrained / 'export' / 'encoder_decoder')
        assert set(start.parts) == parts
        for part in ('encoder', 'decoder', 'head'):
            source = there['params'] if part in parts else scratch.params
            jax.tree.map(np.testing.assert_array_equal, state.params[part], source[part])
        said = ' '.join(start.lines)
        assert 'head' in said and ('decoder' in said.partition('drawn')[2]) == (len(parts) == 1)


def test_the_first_kernel_answers_constant_images_as_before(pretrained, make_target):
    _, start, _ = begin(make_target('many', init=str(pretrained)))
    there, _ = load_export(pretrained / 'export' / 'encoder')
    old, new = (
        tree['params']['encoder']['level_0']['block_0']['conv']['kernel']
        for tree in (there, start.variables)
    )
    assert new.shape[-2] == 2
    np.testing.assert_allclose(new.sum(axis=(0, 1, 2, 3)), old.sum(axis=(0, 1, 2, 3)), atol=1e-6)


def changed(before, after):
    """Names of the parts in which every array changed; fails if only some of a part did."""
    names = set()
    for part in before:
        pairs = zip(*(jax.tree.leaves(tree[part]) for tree in (before, after)), strict=True)
        flags = [not np.array_equal(a, b) for a, b in pairs]
        assert all(flags) or not any(flags), f'{sum(flags)} of {len(flags)} arrays of {part}'
        names |= {part} if all(flags) else set()
    return names


@pytest.mark.parametrize('name', ['seg', 'cls'])
def test_a_frozen_encoder_stays_as_it_was(name, make_target, pretrained):
    config = make_target(name, init=str(pretrained), freeze='encoder', optimizer__name='adamw')
    config.optimizer.weight_decay = 0.1
    steps, _, state = begin(config)
    before = jax.device_get(state.variables)
    state, _ = steps.train(state, batch_of(config))
    after = jax.device_get(state.variables)
    assert changed(before['params'], after['params']) == set(before['params']) - {'encoder'}
    assert 'encoder' not in changed(before['batch_stats'], after['batch_stats'])


def test_a_linear_probe_has_no_hidden_layer(make_target, pretrained):
    config = make_target('cls', init=str(pretrained), freeze='encoder', model__hidden=0)
    _, _, state = begin(config)
    assert set(state.params) == {'encoder', 'head'}
    assert state.params['head']['kernel'].shape == (2 * 2 * 2**3, 1)


def test_the_head_warms_up_before_the_rest(make_target, pretrained):
    config = make_target('seg', init=str(pretrained), transfer='encoder', head_warmup_epochs=1)
    steps, _, state = begin(config)
    batch = batch_of(config)
    for step in range(3):  # two steps an epoch
        before = jax.device_get(state.params)
        state, _ = steps.train(state, batch)
        learned = changed(before, jax.device_get(state.params))
        assert learned == ({'decoder', 'head'} if step < 2 else {'encoder', 'decoder', 'head'})


def test_layers_learn_at_rates_that_fall_towards_the_input(make_target):
    rates = {}
    for name in ('seg', 'cls'):
        config = make_target(name, layer_decay=0.5)
        params = shapes_of(make_network(config, ['background', 'ball']), 1)['params']
        scales = make_scales(config, params, (), 2)(0)
        for part, tree in scales.items():
            for level, leaves in tree.items():
                rates[f'{name}/{part}/{level}'] = float(jax.tree.leaves(leaves)[0])
    assert [rates[f'seg/encoder/level_{i}'] for i in range(4)] == [2.0**-n for n in (7, 6, 5, 4)]
    assert [rates[f'seg/decoder/level_{i}'] for i in (2, 1, 0)] == [2.0**-n for n in (3, 2, 1)]
    assert rates['seg/decoder/up_2'] == 2.0**-3 and rates['seg/head/kernel'] == 1
    assert [rates[f'cls/encoder/level_{i}'] for i in range(4)] == [2.0**-n for n in (4, 3, 2, 1)]
    assert rates['cls/hidden/kernel'] == rates['cls/head/kernel'] == 1
    assert make_scales(make_target('seg'), params, (), 2) is None


def test_padding_of_the_last_validation_batch_does_not_count(make_target):
    config = make_target('seg')
    steps, _, state = begin(config)
    batch = {k: np.asarray(v) for k, v in jax.device_get(batch_of(config)).items()}
    flat = _flat(batch)
    whole, _ = steps.evaluate(state, parallel.shard(flat))
    padded = flat | {
        'cube': np.concatenate([flat['cube'][:2], flat['cube'][:2] * 0]),
        'mask': np.concatenate([flat['mask'][:2], flat['mask'][:2] * 0 + 1]),
        'weight': np.float32([1, 1, 0, 0]),
    }
    part, _ = steps.evaluate(state, parallel.shard(padded))
    rest = flat | {'weight': np.float32([0, 0, 1, 1])}
    others, _ = steps.evaluate(state, parallel.shard(rest))
    for name in whole:
        np.testing.assert_allclose(part[name] + others[name], whole[name], rtol=1e-4)
    assert float(part['examples']) == 2


def test_what_leaves_the_run_is_its_best_state(make_target, tmp_path):
    """At a rate at which every epoch undoes the one before, the last state is not the best."""
    rates = (0.3, 0.1, 0.03)
    for number, rate in enumerate(rates):
        config = make_target('cls', epochs=4, optimizer__learning_rate=rate, patience=9)
        (found,) = finetune(config, tmp_path / str(number))
        if found['best_step'] < 8:
            break
    else:
        pytest.fail(f'the last state was the best at each of {rates}')
    run = tmp_path / str(number) / 'seed_0'
    exported, card = load_export(run / 'export' / 'model')
    assert card['step'] == found['best_step']
    steps, _, state = begin(make_target('cls'))
    with Checkpoints(run / 'checkpoints') as checkpoints:
        best, last = (
            checkpoints.load(step, like=state)[0]
            for step in (found['best_step'], checkpoints.latest_step)
        )
    jax.tree.map(np.testing.assert_array_equal, exported['params'], jax.device_get(best.params))
    assert changed(exported['params'], jax.device_get(last.params))


def test_training_augments_and_turns_masks_with_cubes(make_target, monkeypatch):
    calls = []

    def recorded(key, cube, mask, **options):
        calls.append((cube.shape, mask.shape, options))
        return jnp.zeros_like(cube), jnp.ones_like(mask)

    monkeypatch.setattr('genesis_jax.finetune.augment', recorded)
    config = make_target('seg', augment__noise_sd=0.25)
    steps, _, state = begin(config)
    _, metrics = steps.train(state, batch_of(config))
    assert calls[0] == ((16, 16, 16, 1), (16, 16, 16), config.augment.to_dict())
    # A network whose logits are all alike on an empty cube, and a mask of foreground only.
    assert 0 < float(metrics['loss']) < 0.7


def test_one_device_and_four_take_the_same_step(make_target):
    """Loss, gradients and statistics are those of the whole batch."""
    for name in ('seg', 'cls'):
        config = make_target(name)
        steps, _, state = begin(config)
        batch = jax.device_get(batch_of(config))
        after, metrics = steps.train(state, parallel.shard(_flat(batch)))
        one = jax.pmap(
            steps._train,
            parallel.AXIS,
            in_axes=(None, 0),
            out_axes=None,
            devices=jax.devices()[:1],
        )
        _, _, state = begin(config)
        alone, expected = one(jax.device_get(state), jax.tree.map(lambda x: x[None], _flat(batch)))
        np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-5)
        np.testing.assert_allclose(metrics['gradient_norm'], expected['gradient_norm'], rtol=1e-3)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
            jax.device_get(after.batch_stats),
            jax.device_get(alone.batch_stats),
        )


def _flat(batch):
    return {name: np.concatenate(values) for name, values in batch.items()}


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(make_target, tmp_path, monkeypatch):
    finetune(make_target('cls'), tmp_path / 'a')
    stop = {'at': 3}
    monkeypatch.setattr(parallel, 'should_stop', lambda told, step: step == stop['at'])
    with pytest.raises(SystemExit):
        finetune(make_target('cls'), tmp_path / 'b')
    assert not (tmp_path / 'b' / 'seed_0' / 'results.json').exists()
    stop['at'] = None
    finetune(make_target('cls'), tmp_path / 'b')
    a, b = (json.loads((tmp_path / name / 'seed_0' / 'results.json').read_text()) for name in 'ab')
    assert a == b


def test_smaller_label_fractions_are_part_of_larger_ones(make_target):
    def patients(fraction, seed=0):
        config = make_target('seg', label_fraction=fraction, seed=seed)
        opened = labelled.open_labelled(config)
        assert opened.patients['test'] == full.patients['test']
        return set(opened.patients['train'])

    full = labelled.open_labelled(make_target('seg'))
    sizes = [patients(f) for f in (0.1, 0.25, 0.5, 0.75, 1.0)]
    assert [len(s) for s in sizes] == [1, 1, 2, 3, 4]
    assert all(a <= b for a, b in zip(sizes, sizes[1:], strict=False))
    assert len({frozenset(patients(0.25, seed)) for seed in range(8)}) > 1


def test_folds_share_no_patient(make_target):
    for fold in range(3):
        opened = labelled.open_labelled(make_target('folds', data__fold=fold))
        train, validation, test = (set(opened.patients[s]) for s in labelled.SPLITS)
        assert test == {f'patient{i}' for i in range(6) if i % 3 == fold}
        assert not train & validation and not (train | validation) & test
        assert len(train | validation | test) == 6
        for split in labelled.SPLITS:
            source = getattr(opened, split)
            names = {source[i]['patient'] for i in range(len(source))}
            assert {n.decode() if isinstance(n, bytes) else n for n in names} == set(
                opened.patients[split]
            )


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'init': 'nowhere'}, 'config.init=nowhere: there is no such file or folder'),
        ({'init': 'DATA'}, 'is no exported network'),
        ({'init': 'CHECKPOINT'}, 'is no exported network'),
        ({'init': 'PRE', 'model.width': 4}, 'add --config.model.width=2'),
        ({'init': 'PRE', 'model.upsample': 'nearest'}, 'add --config.model.upsample=transpose'),
        ({'init': 'ENC'}, 'no decoder'),
        ({'data.name': 'cls'}, 'is for classification and config.task is segmentation'),
        ({'data.name': 'none'}, 'python -m data_prep.nnunet'),
        ({'data.name': 'lcs'}, 'python -m data_prep.lits'),
        ({'data.fold': 1}, 'has one fixed split'),
        ({'label_fraction': 0.0}, 'above 0, at most 1'),
        ({'freeze': 'decoder'}, "'none' or 'encoder'"),
        ({'runs': 0}, 'a number above 0'),
        ({'batch_size': 6}, '4 devices cannot share it evenly'),
        ({'overlap': 1.0}, 'from 0 to below 1'),
    ],
)
def test_what_cannot_run_is_said_in_a_sentence(
    fields, words, make_target, pretrained, balls, tmp_path
):
    places = {'PRE': pretrained, 'ENC': pretrained / 'export' / 'encoder', 'DATA': balls}
    places['CHECKPOINT'] = tmp_path / 'checkpoint'
    export(places['CHECKPOINT'], {'params': {'a': np.zeros(2)}}, ('a',), {})
    config = make_target('seg')
    fields = {
        key: str(places.get(value, value)) if key == 'init' else value
        for key, value in fields.items()
    }
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words) as raised:
        finetune(config, tmp_path / 'run')
    assert '\n' not in str(raised.value)
    assert not (tmp_path / 'run').exists()


def test_an_export_of_another_architecture_is_refused_with_all_names(
    make_target, pretrained, tmp_path
):
    variables, card = load_export(pretrained / 'export' / 'encoder_decoder')
    del variables['params']['encoder']['level_1']['block_0']['conv']['bias']
    variables['params']['decoder']['extra'] = np.zeros(3)
    variables['params']['encoder']['level_2']['block_1']['bn']['scale'] = np.zeros(5)
    export(tmp_path / 'other', variables, ('encoder', 'decoder'), card)
    with pytest.raises(UserError) as raised:
        begin(make_target('seg', init=str(tmp_path / 'other')))
    for words in ('1 missing', 'block_0/conv/bias', '1 unexpected', 'extra', 'is (5,), expected'):
        assert words in str(raised.value)


def test_merge_takes_whole_parts():
    fresh = {'params': {'a': {'w': 1}, 'b': {'w': 2}}, 'batch_stats': {'a': {'m': 3}}}
    loaded = {'params': {'a': {'w': 9}}, 'batch_stats': {'a': {'m': 8}}}
    assert merge(fresh, loaded) == {
        'params': {'a': {'w': 9}, 'b': {'w': 2}},
        'batch_stats': {'a': {'m': 8}},
    }
    assert merge(fresh, {}) == fresh


def test_a_workdir_belongs_to_one_recipe(make_target, tmp_path):
    first = make_target('cls', epochs=1)
    finetune(first, tmp_path)
    other = make_target('cls', epochs=1, seed=1, optimizer__learning_rate=0.5)
    with pytest.raises(UserError, match='config.optimizer.learning_rate=0.001'):
        finetune(other, tmp_path)
    shutil.rmtree(tmp_path / 'seed_0' / 'checkpoints')  # its results are still those of a recipe
    with pytest.raises(UserError, match='config.layer_decay=1.0'):
        finetune(make_target('cls', epochs=1, layer_decay=0.5), tmp_path)
    finetune(make_target('cls', epochs=1, seed=4), tmp_path)
    assert [row['seed'] for row in rows_of(tmp_path / 'results.csv')] == ['0', '4']


def test_a_workdir_of_something_else_is_refused(make_target, tmp_path):
    (tmp_path / 'thesis.tex').write_text('')
    with pytest.raises(UserError, match='something else'):
        finetune(make_target('seg'), tmp_path)
