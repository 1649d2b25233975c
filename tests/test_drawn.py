"""Patches drawn of whole scans in every epoch: by the preparation's rule, alike everywhere."""

import importlib
import json
import shutil
from functools import partial

import masked
import numpy as np
import pytest
from configured import changed
from test_data import by_position, take

from data_prep.sampling.cubes import CubeRule
from data_prep.sampling.starts import accepted_starts
from genesis_jax.config import config_hash, difference, resolve, to_json
from genesis_jax.data import reading, views
from genesis_jax.errors import UserError

SIZE = (16, 16, 8)
FLAGS = ['--cube_size=16,16,8', '--cubes_per_scan=4', '--workers=1', '--validation_share=0.25']
RULE = CubeRule(SIZE, 4, 1600, (0, 0, 0), (0, 0, 0), -150.0, 0.01, 1.0)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    """Four scans with masks, as fixed patches (`fixed`) and whole (`whole`)."""
    folder = tmp_path_factory.mktemp('whole')
    masked.write_scans(folder / 'scans')
    face = masked.mask_of((slice(14), slice(36), slice(24)))
    for case in range(4):
        masked.write(folder / 'organs' / f'case{case}.nii.gz', masked.mask_of())
        masked.write(folder / 'faces' / f'case{case}.nii.gz', face)
    options = [f'--inside={folder / "organs"}', f'--leave_out={folder / "faces"}']
    for name, more in (('fixed', []), ('whole', ['--volumes'])):
        prepared = masked.prepare(FLAGS, folder / 'scans', folder, *options, *more, name=name)
        assert prepared == 0
    return folder


@pytest.fixture
def open_drawn(data_dir):
    """`reading.open_splits` of the whole scans."""

    def opened(**fields):
        data = {'dir': str(data_dir), 'name': 'whole', 'sampling': 'volumes'} | fields
        return reading.open_splits(changed(**{f'data__{n}': v for n, v in data.items()}))

    return opened


def origins_of(source, records):
    rng = np.random.default_rng(0)
    return [tuple(source.draw(index, rng)['origin']) for index in records]


def test_a_dataset_of_whole_scans_serves_the_fixed_patches_too(open_drawn):
    """To the bit; and these validate, whichever train."""
    *fixed, shape = open_drawn(name='fixed', sampling='patches')
    *whole, shape_of_whole = open_drawn(sampling='patches')
    assert shape == shape_of_whole == (*SIZE, 1)
    for expected, found in (*zip(fixed, whole, strict=True), (fixed[1], open_drawn()[1])):
        assert len(expected) == len(found) > 0
        for a, b in zip(expected, found, strict=True):
            assert a.keys() == b.keys() and 'valid' in a
            for name, values in a.items():
                np.testing.assert_array_equal(values, b[name])


def test_a_drawn_patch_is_the_scan_at_its_origin_and_follows_the_rule(open_drawn):
    train, _, _ = open_drawn()
    assert len(train) == 12
    rng, face, organ = np.random.default_rng(0), masked.mask_of((slice(14),)), masked.mask_of()
    found = set()
    for index in [*range(12)] * 5:
        record = train.draw(index, rng)
        case = int(record['scan_id'].decode()[-6])
        scan = np.where(face, masked.scan_of(case)[14:].min(), masked.scan_of(case))
        assert (record['spacing'] == (1, 1, 2)).all()
        part = tuple(slice(a, a + n) for a, n in zip(record['origin'], SIZE, strict=True))
        np.testing.assert_array_equal(record['cube'][..., 0], scan[part])
        np.testing.assert_array_equal(record['valid'][..., 0], 1 - face[part])
        centre = tuple(record['origin'] + np.array(SIZE) // 2)
        assert organ[centre] and not face[centre]
        found.add((case, *record['origin']))
    assert len(found) > 50


def test_every_patch_that_the_rule_accepts_is_as_likely(open_drawn, data_dir):
    """Of a scan of air but for a block: no patch without it, each with it."""
    folder = data_dir / 'block'
    voxels = np.full((18, 18, 12), -1000, np.int16)
    voxels[:3, :3, :8] = 0
    for case in range(2):
        masked.write(folder / f'case{case}.nii.gz', voxels.clip(-1000 + case))
    prepared = masked.prepare(FLAGS, folder, data_dir, '--volumes', name='block')
    assert prepared == 0
    train, _, _ = open_drawn(name='block')
    expected = np.argwhere(accepted_starts(voxels, RULE))
    assert 1 < len(expected) < 3 * 3 * 5
    found, counts = np.unique(origins_of(train, [0] * 300), axis=0, return_counts=True)
    np.testing.assert_array_equal(found, expected)
    assert counts.min() > 300 / len(expected) / 3


def test_every_epoch_shows_each_scan_as_often_and_other_patches(open_drawn):
    for count, per_scan in ((None, 4), (8, 8)):
        train, validation, _ = open_drawn(patches_per_scan=count)
        assert len(train) == 3 * per_scan and len(validation) == 4
        batches = reading.train_batches(train, len(train), seed=0)
        epochs = [{patch.tobytes() for patch in next(batches)['cube']} for _ in range(3)]
        assert len(set.union(*epochs)) > 0.9 * sum(map(len, epochs)) > 2 * len(train)
        rng = np.random.default_rng(0)
        scans = [train.draw(index, rng)['scan_id'] for index in range(len(train))]
        assert {scans.count(scan) for scan in scans} == {per_scan}


@pytest.mark.parametrize('view', [None, 'slices'])
def test_processes_share_the_examples_of_one(view, open_drawn):
    """As many as there are: the same examples, with the same draws of randomness."""
    train, _, shape = open_drawn()
    train = views.viewed(train, view, shape, every=True)
    batches = partial(reading.train_batches, train, 8, 3)
    alone = take(batches(process=0, processes=1), 5)
    for count in (2, 4):
        shared = [take(batches(process=process, processes=count), 5) for process in range(count)]
        for number, whole in enumerate(alone):
            parts = [own[number] for own in shared]
            assert by_position(parts) == by_position([whole]) and len(by_position(parts)) == 8
    other = next(reading.train_batches(train, 8, 4))
    assert not np.array_equal(other['cube'], alone[0]['cube'])
    assert alone[0]['cube'].shape == (8, *views.shape_of(shape, view))


def test_an_iterator_resumes_with_the_same_patches(open_drawn):
    batches = reading.train_batches(open_drawn()[0], 4, seed=0)
    take(batches, 4)  # into the second epoch
    position = json.loads(json.dumps(batches.get_state()))
    expected = take(batches, 6)
    resumed = reading.train_batches(open_drawn()[0], 4, seed=0)
    resumed.set_state(position)
    for a, b in zip(expected, take(resumed, 6), strict=True):
        for name, values in a.items():
            np.testing.assert_array_equal(values, b[name])


def test_what_a_dataset_does_not_serve_is_one_sentence(open_drawn, data_dir, tmp_path):
    with pytest.raises(UserError, match=r"'fixed' in .* holds fixed ones; prepare another with"):
        open_drawn(name='fixed')
    shutil.copytree(data_dir / 'whole', tmp_path / 'whole')
    shutil.rmtree(tmp_path / 'whole' / '1.0.0' / 'volumes')
    with pytest.raises(UserError, match='no folder volumes; copy that, too, or prepare'):
        open_drawn(dir=str(tmp_path))


def test_a_scan_too_small_is_skipped_and_named(data_dir, tmp_path, capsys):
    shutil.copytree(data_dir / 'scans', tmp_path / 'scans')
    masked.write(tmp_path / 'scans' / 'small.nii.gz', masked.scan_of(0, (40, 36, 7)))
    assert masked.prepare(FLAGS, tmp_path / 'scans', tmp_path, '--volumes', name='some') == 0
    said = capsys.readouterr().out
    assert 'small.nii.gz has 40 x 36 x 7 voxels where a patch needs at least 16 x 16 x 8' in said
    assert 'from 3 scans of 3 patients, stored whole' in said
    assert '--config.data.name=some --config.data.sampling=volumes' in said


@pytest.mark.parametrize(
    'fields, sentence',
    [
        ({'data__sampling': 'scans'}, "data.sampling=scans: expected 'patches' or 'volumes'"),
        ({'data__patches_per_scan': 16}, "=16: expected none with config.data.sampling='patches'"),
        ({'data__patches_per_scan': 0, 'data__sampling': 'volumes'}, 'a number above 0'),
    ],
)
def test_a_wrong_field_is_one_sentence(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve(changed(**fields), devices=1)


@pytest.mark.parametrize('name', ['genesis_ct', 'genesis_ct_2d', 'genesis_mri', 'ncc'])
def test_runs_of_fixed_patches_keep_their_hash_and_resume(name):
    config = importlib.import_module(f'configs.{name}').get_config()
    config = resolve(config, devices=1)
    saved = to_json(config)
    assert not {'sampling', 'patches_per_scan'} & saved['data'].keys()
    assert difference(saved, config) is None
    if name == 'genesis_ct':
        drawn = resolve(changed(data__sampling='volumes'), devices=1)
        assert difference(saved, drawn) == ('data.sampling', 'patches', 'volumes')
        before = config.copy_and_resolve_references()
        with before.unlocked():
            del before.data.sampling, before.data.patches_per_scan
        assert config_hash(before) == config_hash(config) != config_hash(drawn)
