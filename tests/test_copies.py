"""A scan under two names is kept once and named, whatever its voxel type and format."""

import masked
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds
from scanned import make_voxels, write_series

from data_prep import luna16, scans, slices
from data_prep.build.duplicates import Duplicates
from data_prep.build.records import dataset_folder
from data_prep.types import Job, Result
from genesis_jax.imaging import fingerprints
from genesis_jax.imaging.fingerprints import voxel_hash
from genesis_jax.imaging.volumes import oriented

SHAPE = (24, 20, 16)
CUBES = [
    '--cube_size=16,16,8', '--border_low=0,0,0', '--border_high=0,0,0', '--cubes_per_scan=2',
]  # fmt: skip
FLAGS = [*CUBES, '--max_tissue=1', '--workers=1']


def image_of(seed=0, high=1000):
    return sitk.GetImageFromArray(
        np.random.default_rng(seed).integers(-1000, high, SHAPE[::-1]).astype(np.int16)
    )


def float64_with_rounding(image):
    return sitk.Cast(image, sitk.sitkFloat64) + 1e-4


COPIES = {
    'copy.nii': lambda image: image,
    'copy.nii.gz': lambda image: sitk.Cast(image, sitk.sitkFloat32),
    'copy.nrrd': float64_with_rounding,
    'copy.mha': lambda image: sitk.DICOMOrient(sitk.Cast(image, sitk.sitkInt32), 'RAS'),
    'copy.nhdr': lambda image: sitk.DICOMOrient(image, 'PSR'),
}


def prepare(main, source, data_dir, *flags):
    where = [f'--source={source}', f'--data_dir={data_dir}', '--name=made']
    return main([*where, *flags])


def ids(data_dir):
    builder = tfds.builder_from_directory(data_dir / 'made' / '1.0.0')
    return {
        split: {record['scan_id'].decode() for record in builder.as_data_source(split)}
        for split in builder.info.splits
    }


@pytest.mark.parametrize('modality', ['ct', 'mri'])
@pytest.mark.parametrize('name', COPIES)
def test_a_copy_is_kept_once_and_named(name, modality, tmp_path, capsys):
    source = tmp_path / 'scans'
    source.mkdir()
    for seed in range(5):
        sitk.WriteImage(image_of(seed), str(source / f'scan{seed}.mhd'))
        sitk.WriteImage(COPIES[name](image_of(seed)), str(source / f'{seed}{name}'))
    flags = (*FLAGS, f'--modality={modality}', '--validation_share=0.4')
    assert prepare(scans.main, source, tmp_path / 'data', *flags) == 0
    said = capsys.readouterr().out
    assert 'Scans read: 5, skipped: 5' in said and said.count(' holds the same image as ') == 5
    kept = [scan_id.strip('scanopy') for own in ids(tmp_path / 'data').values() for scan_id in own]
    assert sorted(kept) == list('01234')


def test_a_series_and_its_nifti_are_one_scan(tmp_path, capsys):
    source = tmp_path / 'scans'
    for seed in range(4):
        voxels = np.roll(make_voxels(shape=SHAPE), seed, axis=0)
        write_series(source / f's{seed}', voxels, t0020_000e=f'1.2.3.{seed}')
        if seed < 2:  # as dcm2niix writes it
            image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
            sitk.WriteImage(sitk.DICOMOrient(image, 'LAS'), str(source / f'n{seed}.nii.gz'))
    assert prepare(scans.main, source, tmp_path / 'data', *FLAGS, '--modality=ct') == 0
    assert 'Scans read: 4, skipped: 2' in capsys.readouterr().out


def test_copies_of_a_patient_count_once(tmp_path, capsys):
    for patient in range(3):
        (tmp_path / f'scans/p{patient}').mkdir(parents=True)
        for visit, seed in (('a', patient), ('b', patient), ('c', patient + 5)):
            image = image_of(seed)
            sitk.WriteImage(image, str(tmp_path / f'scans/p{patient}/{visit}.nrrd'))
    assert prepare(scans.main, tmp_path / 'scans', tmp_path / 'data', *FLAGS, '--modality=ct') == 0
    said = capsys.readouterr().out
    assert 'Scans read: 6, skipped: 3' in said and said.count(', which is kept\n') == 3


def test_slices_and_luna16_look_for_copies(tmp_path, capsys):
    for fold in range(7):
        (tmp_path / f'luna/subset{fold}').mkdir(parents=True)
        sitk.WriteImage(image_of(fold % 6), str(tmp_path / f'luna/subset{fold}/1.{fold}.mhd'))
    assert prepare(luna16.main, tmp_path / 'luna', tmp_path / 'cubes', *FLAGS) == 0
    assert prepare(slices.main, tmp_path / 'luna', tmp_path / 'slices', *FLAGS[-1:]) == 0
    said = capsys.readouterr().out
    assert said.count('Scans read: 6, skipped: 1') == 2
    for folder in ('cubes', 'slices'):
        made = ids(tmp_path / folder)
        assert len(made['train'] | made['validation']) == 6
        assert not {'1.0', '1.6'} <= made['train'] | made['validation']


def test_a_copy_that_was_stored_whole_leaves_nothing(tmp_path):
    for seed in range(3):
        for name in ('one', 'two'):
            masked.write(tmp_path / f'scans/{name}{seed}.nii.gz', masked.scan_of(seed))
    flags = (*FLAGS, '--modality=ct', '--volumes')
    assert prepare(scans.main, tmp_path / 'scans', tmp_path / 'data', *flags) == 0
    folder = dataset_folder(tmp_path / 'data', 'made')
    assert len(list((folder / 'volumes').iterdir())) == 3


def test_the_hash_tells_scans_apart():
    image = image_of()
    same = [*(make(image) for make in COPIES.values()), image]
    assert len({voxel_hash([one], 'ct') for one in same}) == 1
    assert len({voxel_hash([one], 'mri') for one in same}) == 1
    one_voxel = image_of()
    one_voxel[3, 4, 5] = one_voxel[3, 4, 5] + 1
    small = sitk.Cast(image, sitk.sitkFloat32) / 2000  # would be 0 and 1 as int16
    stored = sitk.GetArrayFromImage(image)
    others = [image, one_voxel, small, small * 0.9]
    others += map(sitk.GetImageFromArray, (stored[::-1], stored.reshape(16, 24, 20)))
    assert len({voxel_hash([one], 'mri') for one in others}) == len(others)
    assert voxel_hash([small], 'mri') == voxel_hash([sitk.Cast(small, sitk.sitkFloat64)], 'mri')


def test_padding_of_ct_is_not_told_apart():
    image = image_of()
    padded = [sitk.Image(image) for _ in range(2)]
    for one, value in zip(padded, (-1024, -3024), strict=True):
        one[:, :, 0] = value
    assert voxel_hash(padded[:1], 'ct') == voxel_hash(padded[1:], 'ct')


def test_of_large_scans_slices_tell(monkeypatch):
    monkeypatch.setattr(fingerprints, '_HASHED', 24 * 20 * 4)
    image, other = image_of(), image_of(1)
    assert voxel_hash([image], 'ct') == voxel_hash([oriented(COPIES['copy.mha'](image))], 'ct')
    assert voxel_hash([image], 'ct') != voxel_hash([other], 'ct')


@pytest.mark.parametrize(
    ('classes', 'reason', 'told'),
    [
        ((), 'holds the same image as a, which is kept', []),
        (('x', 'y'), '', ['holds the same image as a, of the same patient; both are kept']),
    ],
)
def test_a_copy_of_the_same_patient_is_never_kept_unsaid(classes, reason, told):
    duplicates = Duplicates(False, '', classes)
    first, second = (
        duplicates.add(Job(name, 'p', 'train', 0, name, None), Result(identity=b'same'))
        for name in 'ab'
    )
    assert not first.reason and not first.told
    assert (second.reason, list(second.told)) == (reason, told)
