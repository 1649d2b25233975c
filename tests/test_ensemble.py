"""Mirror images and several networks: their mean is the prediction, in files as in arrays."""

import dataclasses
import itertools
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import SimpleITK as sitk
from oblique import CARD, export_untrained, make_image, read_table, write

from genesis_jax import checkpoints, config, config_json, evaluate, models, parallel, predict
from genesis_jax.card import Card
from genesis_jax.data.labelled import fingerprint
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.inference import ensemble
from genesis_jax.inference.sliding import answers, on_devices, predict_scan
from genesis_jax.runs.cards import check_agreement, load_model, runs_in


@pytest.fixture(autouse=True)
def _no_start(monkeypatch):
    monkeypatch.setattr(parallel, 'start', lambda: None)  # JAX runs already


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """The workdir of two networks that segment, with different weights, of mirrored trainings."""
    workdir = tmp_path_factory.mktemp('workdir')
    tuned = CARD['config'] | {'augment': {'flip_probability': 0.5, 'flip_axes': [0, 2]}}
    for seed in (0, 1):
        export_untrained(workdir / f'seed_{seed}', seed, config=tuned)
    return workdir


@pytest.fixture(scope='module')
def tuned(make_target, tmp_path_factory):
    """Two seeds of a fine-tuned classification, and the first again with a mirrored test."""
    workdir = tmp_path_factory.mktemp('tuned')
    finetune(make_target('cls', epochs=1, runs=2), workdir / 'plain')
    finetune(make_target('cls', epochs=1, mirror=True), workdir / 'mirrored')
    return workdir


def refusal(main, capsys, *arguments, status=1):
    """The one sentence with which a command refuses."""
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    assert stopped.value.code == status
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1, said
    return said


class Slope:
    """A network that knows left from right: what it answers depends on the place."""

    def __init__(self, dense):
        self._dense = dense

    def predict(self, variables, x):
        sides = x.shape[1:-1]
        places = jnp.arange(np.prod(sides), dtype=jnp.float32).reshape(1, *sides, 1)
        logits = 9 * x[..., :1] * places / places.size
        return logits if self._dense else logits.mean(axis=tuple(range(1, x.ndim - 1)))


@pytest.mark.parametrize('task', ['segmentation', 'classification'])
@pytest.mark.parametrize(
    ('sides', 'axes'), [((4, 5, 3), (0, 1, 2)), ((4, 5, 3), (1,)), ((4, 3), (0, 1)), ((4, 3), ())]
)
def test_the_answer_is_the_mean_over_hand_made_mirror_images(sides, axes, task):
    network, dense = Slope(task == 'segmentation'), task == 'segmentation'
    batch = np.random.default_rng(0).random((4, *sides, 1), np.float32)
    found = np.asarray(on_devices([(answers(network, task, axes), ())])(batch))
    images = []
    for some in itertools.chain(*(itertools.combinations(axes, n) for n in range(len(axes) + 1))):
        flipped = [1 + axis for axis in some]
        image = models.probabilities(network.predict((), np.flip(batch, flipped)), task)
        images.append(np.flip(image, flipped) if dense else image)
    assert len(images) == 2 ** len(axes)
    assert not axes or np.abs(images[0] - images[-1]).max() > 1e-4
    np.testing.assert_allclose(found.reshape(images[0].shape), np.mean(images, axis=0), rtol=1e-6)


def test_slices_of_a_scan_are_mirrored_within_themselves():
    card = Card.from_dict(CARD | {'network': 'unet2d', 'cube_shape': [4, 6, 1], 'view': 'slices'})
    network = Slope(dense=True)
    voxels = np.random.default_rng(0).random((4, 6, 5, 1), np.float32)
    window = np.float32([[0, 1]])
    mean = on_devices([(answers(network, 'segmentation', (0, 1)), ())])
    found = predict_scan(mean, card, voxels, window)
    plain = on_devices([(answers(network, 'segmentation'), ())])
    expected = [
        np.flip(predict_scan(plain, card, np.flip(voxels, flipped), window), flipped)
        for flipped in ((), (0,), (1,), (0, 1))
    ]
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-6)


def test_the_axes_are_those_of_the_training():
    def axes(asked, **tuning):
        return ensemble.mirrored_axes(Card.from_dict(CARD | {'config': tuning}), 'it', asked)

    model, flips = {'width': 2}, {'flip_probability': 0.5}
    every = {'model': model, 'augment': flips | {'flip_axes': None}}
    assert axes(True, **every) == (0, 1, 2) and axes(None, **every) == axes(False, **every) == ()
    assert axes(None, **every, mirror=True) == (0, 1, 2) and axes(False, **every, mirror=True) == ()
    assert axes(True, model=model, augment=flips | {'flip_axes': [2, 0]}) == (0, 2)
    with pytest.raises(UserError, match='it learned from no mirror images'):
        axes(True, model=model, augment={'flip_probability': 0.0})
    with pytest.raises(UserError, match='it does not tell its augmentation'):
        axes(True, model=model)


def test_a_mirrored_test_without_mirrored_training_is_refused(make_target):
    config.check(make_target('cls', mirror=True), 1)
    with pytest.raises(UserError, match='config.mirror=True: expected False with config.augment'):
        config.check(make_target('cls', mirror=True, augment__flip_probability=0.0), 1)


def test_saved_fine_tunings_were_tested_without_mirror_images(make_target, make_config):
    for now in (make_target('cls'), make_config()):
        saved = config.to_json(now)
        saved.pop('mirror', None)
        assert config.difference(saved, now) is None
    assert config_json.complete({'augment': {}, 'mirror': True})['mirror'] is True


def probabilities(folder):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / 'scan_p1_bone.nrrd')))


def test_scans_are_segmented_by_the_mean_of_a_workdir(pair, tmp_path, capsys):
    source = write(make_image(), tmp_path / 'in' / 'scan.nrrd')

    def run(name, model, *options):
        arguments = [f'--model={model}', f'--input={source}', f'--output={tmp_path / name}']
        assert predict.main([*arguments, '--batch_size=4', '--probabilities', *options]) == 0
        return probabilities(tmp_path / name)

    first, second = (run(f'one_{seed}', pair / f'seed_{seed}') for seed in (0, 1))
    assert np.abs(first - second).max() > 0.01
    assert 'Mean' not in capsys.readouterr().out
    both = run('both', pair)
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)
    said, names = capsys.readouterr().out, [str(pair / 'seed_0'), str(pair / 'seed_1')]
    assert f'Mean of 2 networks: {", ".join(names)}\n' in said and 'mirror' not in said
    (row,) = read_table(tmp_path / 'both' / 'summary.csv')
    assert row['members'] == ';'.join(names)
    assert 'members' not in read_table(tmp_path / 'one_0' / 'summary.csv')[0]
    listed = run('listed', f'{pair / "seed_1"},{pair / "seed_0" / "export" / "model"}')
    np.testing.assert_allclose(listed, both, atol=1e-6)

    alone = shutil.copytree(pair / 'seed_0', tmp_path / 'alone' / 'seed_0').parent
    np.testing.assert_array_equal(run('alone_out', alone), first)
    mirrored = run('mirrored', pair, '--mirror')
    assert np.abs(mirrored - both).max() > 1e-4
    assert 'Mean over mirror images along axes 0-2\n' in capsys.readouterr().out


def test_networks_of_equal_options_share_one_program(pair):
    networks = [models.from_card(load_model(pair / f'seed_{seed}')[1]) for seed in (0, 1)]
    one, other = (answers(network, 'segmentation', (0, 2)) for network in networks)
    assert one is other


def test_candidates_are_classified_by_the_mean(tuned, tmp_path):
    image = make_image()
    write(image, tmp_path / 'in' / 'scan.nii.gz')
    point = image.TransformContinuousIndexToPhysicalPoint((9.2, 8.7, 6.1))
    table = tmp_path / 'points.csv'
    table.write_text(f'scan,x,y,z\nscan,{",".join(map(str, point))}\n')
    runs, rows = [tuned / 'plain' / f'seed_{seed}' for seed in (0, 1)], []
    for number, model in enumerate([*runs, tuned / 'plain']):
        output = tmp_path / str(number)
        arguments = [f'--model={model}', f'--input={tmp_path / "in"}', f'--candidates={table}']
        assert predict.main([*arguments, f'--output={output}', '--batch_size=4']) == 0
        rows += read_table(output / 'predictions.csv')
    first, second, mean = (float(row['p_ball1']) for row in rows)
    assert mean == pytest.approx((first + second) / 2, rel=1e-6) and first != second
    assert rows[2]['members'] == ';'.join(map(str, runs)) and 'members' not in rows[0]


def test_members_may_be_of_different_networks():
    batch = np.random.default_rng(0).random((4, 4, 3, 1), np.float32)
    weights = [np.float32(2), np.float32([1, 3])]
    pairs = [(lambda w, x: w * x, weights[0]), (lambda w, x: w.sum() + x, weights[1])]
    found = np.asarray(on_devices(iter(pairs))(batch)).reshape(batch.shape)
    np.testing.assert_allclose(found, (2 * batch + 4 + batch) / 2, rtol=1e-6)


def test_a_test_is_repeated_with_the_mean_of_all_seeds(tuned, tmp_path):
    workdir = tuned / 'plain'
    assert evaluate.main([f'--model={workdir}', f'--output={tmp_path}']) == 0
    found = read_table(tmp_path / 'predictions.csv')
    each = [read_table(workdir / f'seed_{seed}' / 'predictions.csv') for seed in (0, 1)]
    for mean, *own in zip(found, *each, strict=True):
        values = [float(row['p_ball1']) for row in own]
        assert mean['scan_id'] == own[0]['scan_id'] and values[0] != values[1]
        assert float(mean['p_ball1']) == pytest.approx(np.mean(values), rel=1e-5)
    members = json.loads((tmp_path / 'results.json').read_text())['members']
    assert [m['model'] for m in members] == [str(workdir / f'seed_{seed}') for seed in (0, 1)]
    assert [m['mirrored_axes'] for m in members] == [[], []]
    assert len({m['card_hash'] for m in members}) == 2


def test_the_test_of_a_fine_tuning_is_mirrored_if_asked(tuned, tmp_path):
    """Training does not change, so the two runs hold the same weights."""
    plain, mirrored = tuned / 'plain' / 'seed_0', tuned / 'mirrored' / 'seed_0'
    before = {run: read_table(run / 'predictions.csv') for run in (plain, mirrored)}
    assert before[plain] != before[mirrored]
    for run, option, expected in (
        (plain, '--mirror', mirrored),
        (mirrored, '--mirror=no', plain),
        (mirrored, '--split=test', mirrored),
    ):
        arguments = [f'--model={run}', f'--output={tmp_path}', option, '--overwrite']
        assert evaluate.main(arguments) == 0
        assert read_table(tmp_path / 'predictions.csv') == before[expected]


def test_no_member_may_have_seen_the_test(tuned, tmp_path, capsys):
    first, second = (tuned / 'plain' / f'seed_{seed}' for seed in (0, 1))
    variables, card = load_model(second)
    told = dataclasses.replace(card, trained_on=[fingerprint('patient7')])
    checkpoints.export(tmp_path / 'other', variables, card.parts, told)
    capsys.readouterr()
    arguments = [f'--model={first},{tmp_path / "other"}', f'--output={tmp_path / "out"}']
    said = refusal(evaluate.main, capsys, *arguments)
    assert "1 of the 2 test patients of the dataset 'cls' have the names of patients that" in said
    assert f'{tmp_path / "other"} was trained on' in said and not (tmp_path / 'out').exists()
    assert evaluate.main([*arguments, '--split=validation']) == 0
    assert 'the networks were trained on (or chosen by) 2 of these 2' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('field', 'there', 'words'),
    [
        ('classes', ['background', 'liver'], 'their classes is background, bone and background, '),
        ('channels', ['T1'], 'their channels is CT and T1; name'),
        ('modality', 'mri', "their modality is 'ct' and 'mri'"),
        ('spacing', [1.0, 1.0, 2.5], "their spacing is 'native' and 1, 1, 2.5; name networks of"),
        ('cube_shape', [16, 16, 32, 1], 'their patch shape is 16, 16, 16, 1 and 16, 16, 32, 1'),
        ('window', [-100, 400], 'their window is none and -100, 400'),
    ],
)
def test_networks_that_disagree_are_not_averaged(field, there, words):
    card = Card.from_dict(CARD)
    check_agreement(('a', card), ('b', dataclasses.replace(card, seed=3, config=card.config)))
    with pytest.raises(UserError, match=f'^a and b cannot be averaged: {words}'):
        check_agreement(('a', card), ('b', Card.from_dict(CARD | {field: there})))


def test_the_ranges_of_mri_must_be_found_alike():
    card = Card.from_dict(CARD | {'modality': 'mri'})
    other = dataclasses.replace(card, full_range=True)
    with pytest.raises(UserError, match='their full_range is False and True'):
        check_agreement(('a', card), ('b', other))
    cards = (dataclasses.replace(one, window=[0, 1]) for one in (card, other))
    check_agreement(*zip('ab', cards, strict=True))


def test_what_cannot_be_averaged_is_one_sentence(pair, tmp_path, capsys):
    two, tests = export_untrained(tmp_path / 'two', classes=['background', 'liver']), predict.main
    rest = [f'--input={tmp_path}', f'--output={tmp_path / "out"}']
    said = refusal(tests, capsys, f'--model={pair},{two}', *rest)
    assert f'{pair / "seed_0"} and {two} cannot be averaged' in said
    said = refusal(tests, capsys, f'--model={pair},{pair / "seed_1"}', *rest)
    assert f'--model names {pair / "seed_1"} twice' in said
    export = pair / 'seed_1/../seed_1/export/model'  # the same in other words
    said = refusal(tests, capsys, f'--model={pair / "seed_1"},{export}', *rest)
    assert f'--model names {export} twice' in said
    said = refusal(tests, capsys, f'--model={two},', *rest, status=2)
    assert 'expected names separated by commas' in said
    assert 'expected yes or no' in refusal(
        tests, capsys, f'--model={two}', '--mirror=maybe', *rest, status=2
    )
    assert f'{two} does not tell its augmentation' in refusal(
        tests, capsys, f'--model={two}', '--mirror', *rest
    )
    workdir = shutil.copytree(pair, tmp_path / 'workdir')
    (workdir / 'seed_2' / 'checkpoints').mkdir(parents=True)
    said = refusal(tests, capsys, f'--model={workdir}', *rest)
    assert f'{workdir / "seed_2"} has no export yet' in said


def test_runs_are_in_the_order_of_their_numbers(tmp_path):
    names = [f'seed_{seed}_fold_{fold}' for seed in (0, 2, 10) for fold in range(2)]
    for name in reversed(names):
        (tmp_path / name / 'export' / 'model').mkdir(parents=True)
    (tmp_path / 'seed_notes.txt').write_text('')
    assert [run.name for run in runs_in(tmp_path)] == names
    assert runs_in(tmp_path / 'seed_0_fold_0') == [tmp_path / 'seed_0_fold_0']
