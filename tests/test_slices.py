"""Axial slices of scans: the right ones, between the right neighbours, without those of air."""

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import demo, slices
from data_prep.slices import spread

SHAPE, SPACING = (96, 64, 12), (0.5, 0.75, 2.0)


def volume_of(number):
    """HU [X, Y, Z]: slices 0 and 1 are air, slice z holds tissue of 10 * number + z."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[24:72, 16:48, 2:] = 10 * number + np.arange(2, SHAPE[2])
    hu[:2, :, :] = -2000  # padding outside the field of view
    return hu


def write(path, number, orientation='LPS', voxels=None):
    image = sitk.GetImageFromArray(
        np.ascontiguousarray((volume_of(number) if voxels is None else voxels).T)
    )
    image.SetSpacing(SPACING)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path))


@pytest.fixture
def scans(tmp_path):
    for number in range(5):
        orientation = ('LPS', 'RAI', 'PIR')[number % 3]
        suffix = ('mha', 'nii.gz', 'nrrd')[number % 3]
        write(tmp_path / 'scans' / f's{number}.{suffix}', number, orientation)
    return tmp_path / 'scans'


@pytest.fixture
def run(tmp_path, capsys):
    def call(source, *flags, name='made', status=0):
        flags = [f'--source={source}', f'--data_dir={tmp_path / "data"}', f'--name={name}', *flags]
        flags += ['--workers=1']
        if not status:
            assert slices.main(flags) == 0
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stop:
            slices.main(flags)
        assert stop.value.code == status
        return capsys.readouterr().err

    return call


def read(tmp_path, name='made'):
    builder = tfds.builder_from_directory(tmp_path / 'data' / name / '1.0.0')
    return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def test_every_slice_that_shows_something(scans, run, tmp_path):
    (scans / 'broken.nrrd').write_bytes(b'junk')
    said = run(scans, '--size=96,64', '--seed=1')
    assert 'Scans read: 5, skipped: 1\n  train: 40 slices from 4 scans of 4 patients\n' in said
    assert '  validation: 10 slices from 1 scan of 1 patient\n' in said
    assert 'Slices refused of 60 looked at: 16.7% as air\n' in said and 'Split: by scan' in said
    assert '  broken.nrrd does not start with a NRRD header' in said
    assert '--config=configs/genesis_ct_2d.py' in said
    records = read(tmp_path)
    homes = {split: {r['scan_id'] for r in found} for split, found in records.items()}
    assert not homes['train'] & homes['validation']
    for record in records['train'] + records['validation']:
        number, z = int(record['scan_id'].decode()[1:]), record['origin'][2]
        assert record['origin'][:2].tolist() == [0, 0] and 2 <= z < 12
        expected = np.maximum(volume_of(number)[:, :, z], -1024)
        assert record['cube'].shape == (96, 64, 1) and record['cube'].dtype == np.int16
        np.testing.assert_array_equal(record['cube'][..., 0], expected)
        np.testing.assert_allclose(record['spacing'], SPACING)
        assert record['window'].tolist() == [[-1000, 1000]]


def test_neighbours_are_channels(scans, run, tmp_path):
    run(scans, '--size=96,64', '--channels=3', '--min_tissue=-1')
    records = sum(read(tmp_path).values(), [])
    assert len(records) == 60
    for record in records:
        number, z = int(record['scan_id'].decode()[1:]), record['origin'][2]
        hu = np.maximum(volume_of(number), -1024)
        for channel, place in enumerate((max(z - 1, 0), z, min(z + 1, 11))):
            np.testing.assert_array_equal(record['cube'][..., channel], hu[:, :, place])


def test_slices_are_resized_whole(scans, run, tmp_path):
    run(scans, '--size=32,32')
    for record in read(tmp_path)['train']:
        number, z = int(record['scan_id'].decode()[1:]), record['origin'][2]
        np.testing.assert_allclose(record['spacing'], (1.5, 1.5, 2))
        image = record['cube'][..., 0]
        assert (image[10:22, 10:22] == 10 * number + z).all()
        assert image[1:6, 1:6].min() >= -1024 and image[3:6, 1:6].max() == -1000
        whole = np.maximum(volume_of(number)[:, :, z], -1024).mean()
        assert abs(image.mean() - whole) < 12


def test_at_most_so_many_slices_of_a_scan(scans, run, tmp_path):
    run(scans, '--size=32,32', '--slices_per_scan=3')
    origins = {}
    for record in sum(read(tmp_path).values(), []):
        origins.setdefault(record['scan_id'], []).append(int(record['origin'][2]))
    assert {tuple(sorted(z)) for z in origins.values()} == {(3, 7, 10)}


@pytest.mark.parametrize('count, found', [(1, [5]), (2, [2, 7]), (10, list(range(10)))])
def test_slices_are_spread_evenly(count, found):
    assert spread(list(range(10)), count) == found
    assert spread([], count) == []


def test_mri_has_a_window_of_its_own(tmp_path, run):
    for number in range(3):
        voxels = np.random.default_rng(number).integers(0, 500 * (number + 1), SHAPE)
        write(tmp_path / 'mri' / f's{number}.nii.gz', 0, voxels=voxels.astype(np.int16))
    run(tmp_path / 'mri', '--modality=mri', '--size=32,32')
    for record in sum(read(tmp_path).values(), []):
        top = 500 * (int(record['scan_id'].decode()[1:]) + 1)
        (window,) = record['window']
        assert window == pytest.approx((0.005 * top, 0.995 * top), abs=0.02 * top)


def test_luna16_keeps_its_folds(tmp_path, run):
    for fold in range(10):
        write(tmp_path / 'luna' / f'subset{fold}' / f'uid{fold}.mhd', fold)
    said = run(tmp_path / 'luna', '--size=32,32', name='luna16_slices')
    assert 'train: 50 slices' in said and 'validation: 20 slices' in said
    assert 'Split: by the folds of LUNA16' in said
    records = read(tmp_path, 'luna16_slices')
    assert {r['scan_id'] for r in records['train']} == {f'uid{n}'.encode() for n in range(5)}
    assert {(r['fold'], r['scan_id']) for r in records['validation']} == {
        (5, b'uid5'),
        (6, b'uid6'),
    }
    flags = ('--train_folds=1', '--validation_folds=9')
    said = run(tmp_path / 'luna', *flags, '--size=32,32')
    assert 'train: 10 slices' in said and 'validation: 10 slices' in said


def test_what_cannot_be_is_refused(tmp_path, scans, run):
    (tmp_path / 'luna' / 'subset0').mkdir(parents=True)
    (tmp_path / 'empty').mkdir()
    assert 'has no subset1, subset2' in run(tmp_path / 'luna', status=1)
    assert 'is LUNA16, which is CT' in run(tmp_path / 'luna', '--modality=mri', status=2)
    assert 'holds no scan' in run(tmp_path / 'empty', status=1)
    assert 'the nearest is 64,32' in run(scans, '--size=60,40', status=2)
    both = ('--train_folds=1,2', '--validation_folds=2')
    assert 'fold 2 is asked for in both splits' in run(tmp_path / 'luna', *both, status=2)


@pytest.mark.parametrize('option', ['validation_share=0.5', 'patient_pattern=(.*)'])
def test_options_of_other_scans_are_refused_for_luna16(option, tmp_path, run):
    (tmp_path / 'luna' / 'subset0').mkdir(parents=True)
    said = run(tmp_path / 'luna', f'--{option}', status=2)
    assert f'--{option.partition("=")[0]} is of other scans, and ' in said


@pytest.mark.parametrize('option', ['train_folds=1', 'validation_folds=5,6'])
def test_folds_are_refused_for_other_scans(option, scans, run):
    said = run(scans, f'--{option}', status=2)
    assert f'--{option.partition("=")[0]} is of LUNA16, and ' in said
    assert 'holds no subset0 ... subset9; leave it out' in said


def test_scans_of_air_give_no_dataset(tmp_path, capsys):
    for number in range(2):
        write(
            tmp_path / 'air' / f's{number}.mha', 0, voxels=np.full(SHAPE, -1000 - number, np.int16)
        )
    flags = [f'--source={tmp_path / "air"}', f'--data_dir={tmp_path / "data"}', '--workers=1']
    assert slices.main(flags) == 1
    said = capsys.readouterr().out
    assert 'Scans without slices: 2\n  s0: 0\n  s1: 0\n' in said
    assert 'No slices are left, so no dataset was written.' in said


def test_a_real_chest(tmp_path, run):
    """The thirds of the demo's chest CT show lungs, and a body around them."""
    chest = sitk.ReadImage(str(demo.chest_file('CTChest4.nrrd')))
    (tmp_path / 'chest').mkdir()
    third = chest.GetDepth() // 3
    for part in range(3):
        slab = chest[:, :, part * third : (part + 1) * third]
        sitk.WriteImage(slab, str(tmp_path / 'chest' / f'part{part}.nrrd'))
    run(tmp_path / 'chest', '--size=128,128', '--channels=3', '--slices_per_scan=8')
    records = sum(read(tmp_path).values(), [])
    assert len(records) == 24
    for record in records:
        assert record['cube'].shape == (128, 128, 3)
        body = (record['cube'] > -200).mean()
        assert 0.1 < body < 0.9 and record['cube'].min() >= -1024
