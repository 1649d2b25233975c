"""CT that is not in HU is refused or remarked on; CT of any part of a body is not."""

import re
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from scanned import write
from segmented import make, prepare

from data_prep import lits, scans, slices
from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.geometry import read_placed
from genesis_jax.imaging.hounsfield import check_hu
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_volume

SHAPE = (24, 40, 40)  # z, y, x


def noise(mean, deviation=12.0, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(mean, deviation, shape)


def chest(padding=-1024):
    """Air, lung, fat, soft tissue and bone, in these shares of the planes; HU."""
    hu = noise(-1000).clip(-1024)
    hu[:, 4:36, 4:36] = noise(-100)[:, 4:36, 4:36]
    hu[:, 6:34, 6:34] = noise(50)[:, 6:34, 6:34]
    hu[:, 8:28, 8:18] = noise(-850, 40)[:, 8:28, 8:18]
    hu[:, 29:33, 18:24] = noise(600, 200)[:, 29:33, 18:24]
    hu[:, :2] = padding
    return hu


def skull_stripped(high=100):
    hu = np.zeros(SHAPE)
    hu[4:20, 8:32, 8:32] = noise(35, 8)[4:20, 8:32, 8:32].clip(0, high)
    hu[4, 8, 8] = high
    return hu


REFUSED = {
    '0 ... 1': (chest() + 1024) / 2400,
    '0 ... 1 of a window': ((chest() + 1000) / 1400).clip(0, 1),
    '-1 ... 1': chest().clip(-1000, 1000) / 1000,
    'mean 0, deviation 1': (chest() - chest().mean()) / chest().std(),
    'thousands of HU': chest() / 1000,
    'labels': (chest() > 0) + (chest() > 300),
    'all 32767': np.full(SHAPE, 32767),
}
REMARKED = {
    '0 ... 255': (((chest() + 1000) / 1400).clip(0, 1) * 255, 'grey values of a window'),
    'half of 0 ... 255': (((chest() + 1000) / 3000).clip(0, 1) * 200, 'grey values of a window'),
    'HU + 1024': (chest() + 1024, r'HU \+ 1024: subtract 1024'),
    'HU + 1024 with metal': (np.where(chest() > 800, 3500, chest() + 1024), r'HU \+ 1024'),
    'HU + 1024 beside padding': (np.where(chest(-3024) < -2000, -2000, chest() + 1024), 'subtract'),
    'HU + 1024, interpolated': (noise(0, 10) + chest() + 1030, r'HU \+ 1024'),
    '16 bits': ((chest() + 1024) / 2400 * 65535, 'slope and intercept'),
    'a slope of 16': (chest() * 16, 'slope and intercept'),
    'water in air': (np.where(chest() < -900, -1000, noise(0, 1).clip(-2, 2)), 'as of water alone'),
    'a crop in the window': (noise(110, 10).clip(0, 120) * 255 / 120, 'grey values of a window'),
    'clipped at 0': (chest().clip(0), 'none below 0'),
    'all 40': (np.full(SHAPE, 40), 'is constant'),
}
QUIET = {
    'a chest': chest(),
    'a chest with the widest padding': chest(-3024),
    'a crop without air': chest()[:, 20:34, 20:34],
    'a heart with contrast': noise(250, 80),
    'a crop of a liver': noise(110, 10),
    'with metal': np.where(chest() > 800, 30000, chest()),
    'water': noise(0, 10),
    'a skull-stripped brain on 0': skull_stripped(),
    'a skull-stripped brain on -1024': np.where(skull_stripped() == 0, -1024, skull_stripped()),
    'a masked liver on 0': np.where(skull_stripped() == 0, 0, noise(60, 25)),
}


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int16])
@pytest.mark.parametrize('name', QUIET)
def test_ct_of_any_part_is_quiet(name, dtype):
    check_hu(np.rint(QUIET[name]).astype(dtype))  # warnings are errors


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_hu_is_refused(name):
    for dtype in (np.float32, np.float64):
        with pytest.raises(ScanError, match='which cannot be HU'):
            check_hu(REFUSED[name].astype(dtype))


@pytest.mark.parametrize('name', REMARKED)
def test_what_does_not_look_like_hu_is_remarked_on(name):
    voxels, words = REMARKED[name]
    for dtype in (np.float32, np.int32):
        with pytest.warns(ScanRemark, match=words):
            check_hu(np.rint(voxels).astype(dtype))


def test_a_brain_of_8_bits_is_remarked_on():
    with pytest.warns(ScanRemark, match='holds values of 0 to 100, which look like grey values'):
        check_hu(skull_stripped().astype(np.uint8))


def test_a_body_that_the_sample_misses_is_judged(monkeypatch):
    monkeypatch.setattr('genesis_jax.imaging.hounsfield._SAMPLE', 8)
    voxels = np.zeros(SHAPE, np.float32)
    voxels[1, 1, 1] = 1
    with pytest.raises(ScanError, match='values of 0 to 1'):
        check_hu(voxels)


def test_other_modalities_are_not_judged(tmp_path):
    write(tmp_path, 'scan.nii.gz', REFUSED['0 ... 1'].T.astype(np.float32))
    read_volume(find_scans(tmp_path)[0], 'mri')


def test_channels_are_named(tmp_path):
    for name, voxels in (('a', chest()), ('b', chest() + 1024)):
        write(tmp_path, f'{name}.nrrd', voxels.T.astype(np.float32))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        read_placed(find_scans(tmp_path), ('CT', 'late CT'), 'ct')
    (remark,) = caught
    assert re.match(
        r'has the file b\.nrrd, which holds values of .* HU \+ 1024', str(remark.message)
    )


SMALL = '--cube_size=16,16,8 --border_low=0,0,0 --border_high=0,0,0 --min_tissue=-1 --workers=1'
SLICES = ['--workers=1', '--size=32,32']


@pytest.mark.parametrize(
    ('main', 'flags'),
    [
        (scans.main, [*SMALL.split(), '--modality=ct']),
        (slices.main, ['--workers=1', '--size=32,32']),
    ],
)
def test_preparations_without_labels_name_the_scan(tmp_path, capsys, main, flags):
    for number in range(3):
        for name, voxels in (('right', chest()), ('shifted', chest() + 1024)):
            write(tmp_path, f'{name}{number}.nii.gz', np.roll(voxels.T, number).astype(np.int16))
    write(tmp_path, 'unit.nii.gz', REFUSED['0 ... 1'].T.astype(np.float32))
    source = [f'--source={tmp_path}', f'--data_dir={tmp_path / "data"}', '--validation_share=0.4']
    assert main([*source, '--name=mixed', *flags]) == 0
    said = capsys.readouterr().out
    assert 'Scans read: 6, skipped: 1' in said and '  unit.nii.gz holds values of ' in said
    assert said.count('look like HU + 1024') == 3 and '  shifted1.nii.gz holds values of ' in said


def test_labelled_preparations_name_the_image(tmp_path, capsys):
    source = make('lits', tmp_path / 'source', 6)
    volume = next(source.rglob('volume-1.nii*'))
    image = sitk.Cast(sitk.ReadImage(str(volume)), sitk.sitkInt32) + 1024
    sitk.WriteImage(image, str(volume))
    assert prepare(lits, source, tmp_path / 'data', '--split=4,1,1') == 0
    said = capsys.readouterr().out
    assert said.count(' holds values of ') == 1 and f'{volume.name} holds values of' in said
