"""BraTS: from its files, of either layout, to aligned records of several channels."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from segmented import array_of, metadata, part, prepare, read, refused

from data_prep import brats
from data_prep.sampling.patches import GridPatches
from data_prep.types import LabelledVolume

PHANTOMS = {'brats2013': 3, 'brats2018': 4, 'brats2023': 3}  # patients by layout


@pytest.mark.parametrize('layout', ['brats2013', 'brats2018'])
def test_brats_folds_hold_patients_and_their_channels(sources, tmp_path, layout):
    assert prepare(brats, sources[layout], tmp_path, '--channels=t1ce,flair') == 0
    records, cases = read(tmp_path, 'bms'), read(tmp_path, 'bms_cases')
    assert set(records) == set(cases) == {'fold_0', 'fold_1', 'fold_2'}
    patients = [{r['patient'] for r in rows} for rows in cases.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) > 2
    by_id = {}
    for split, rows in cases.items():
        for case in rows:
            by_id[case['scan_id']] = case
            assert case['fold'] == int(split[-1])
            folder = sources[layout] / case['scan_id'].decode()
            # a scan id ends in the examination, which is not the patient's
            assert case['scan_id'].decode() == f'{case["patient"].decode()}_1'
            images = [next(folder.rglob(f'*{kind}*')) for kind in ('t1ce', 'flair')] if (
                layout == 'brats2018'
            ) else [next(folder.glob(f'*MR_{kind}.*/*')) for kind in ('T1c', 'Flair')]  # fmt: skip
            for channel, path in enumerate(images):
                image = sitk.ReadImage(str(path))
                size = case['mask'].shape
                expected = sitk.Resample(
                    image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(),
                    (1.5625,) * 3, image.GetDirection(),
                )  # fmt: skip
                voxels = case['cube'][..., channel]
                np.testing.assert_array_equal(voxels, sitk.GetArrayFromImage(expected).T)
                low, high = case['window'][channel]
                assert (voxels.min(), voxels.max()) == (low, high)
            np.testing.assert_allclose(case['spacing'], 1.5625)
            assert set(np.unique(case['mask'])) == {0, 1}
    for record in sum(records.values(), []):
        case = by_id[record['scan_id']]
        np.testing.assert_array_equal(record['cube'], part(case['cube'], record['origin']))
        np.testing.assert_array_equal(record['mask'], part(case['mask'], record['origin']))
        assert (record['cube'] > 0).any(axis=-1).mean() >= 0.1
        steps = record['origin'] * 1.5625 / 30
        np.testing.assert_allclose(steps, steps.round(), atol=0.5 * 1.5625 / 30)
    assert metadata(tmp_path, 'bms')['channels'] == ['T1CE', 'FLAIR']


def test_brats_crops_are_the_published_ones():
    """100 x 100 x 50 voxels of 1 mm, resized to 64 x 64 x 32, every 30 voxels."""
    shape = (154, 154, 99)  # 240 x 240 x 155 mm at 1.5625 mm
    voxels = np.ones((*shape, 1), np.int16)
    voxels[0, 0, 0] = 0
    volume = LabelledVolume(voxels, np.zeros(shape, np.uint8), (1.5625,) * 3, np.array([[0, 1]]))
    starts = np.array(GridPatches().starts(None, volume)) * 1.5625
    for axis, last in enumerate((120, 120, 90)):
        expected = np.arange(0, last + 1, 30)
        np.testing.assert_allclose(np.unique(starts[:, axis]), expected, atol=0.8)
    assert len(starts) == 5 * 5 * 4


@pytest.mark.parametrize(('positive', 'labels'), [('core', (1, 4)), ('enhancing', (4,))])
def test_parts_of_the_tumour_can_be_the_target(sources, tmp_path, positive, labels):
    flags = (f'--positive={positive}', '--spacing=5.55556,6.25,7')  # as stored
    assert prepare(brats, sources['brats2018'], tmp_path, *flags) == 0
    assert metadata(tmp_path, 'bms')['classes'] == ['background', f'tumour_{positive}']
    for case in sum(read(tmp_path, 'bms_cases').values(), []):
        (path,) = sources['brats2018'].joinpath(case['scan_id'].decode()).glob('*_seg.nii.gz')
        np.testing.assert_array_equal(case['mask'], np.isin(array_of(path)[0], labels))


def test_brats_refuses_missing_files(copied, tmp_path, capsys):
    source, data_dir = copied('brats2018'), tmp_path / 'data'
    next(source.rglob('*_001_1_t2.nii.gz')).unlink()
    assert prepare(brats, source, tmp_path / 'good') == 0  # it is not asked for
    said = refused(brats, source, data_dir, '--channels=t2', capsys=capsys)
    assert 'HGG/Brats18_PHANTOM_001_1 has no file of t2 (found: flair, seg, t1, t1ce); add' in said
    next(source.rglob('*_000_1_seg.nii.gz')).unlink()
    said = refused(brats, source, data_dir, capsys=capsys)
    assert 'HGG/Brats18_PHANTOM_000_1 has no file of its labels' in said
    said = refused(brats, source, data_dir, '--folds=9', capsys=capsys)
    assert 'no file of its labels' in said
    shutil.rmtree(source / 'HGG')
    said = refused(brats, source, data_dir, capsys=capsys)
    assert '1 patient cannot be assigned to 3 folds' in said


def test_labels_of_another_name_are_taken_if_they_are_the_only_ones(copied, tmp_path, capsys):
    """As of case 355 of 2020."""
    source, data_dir = copied('brats2018'), tmp_path / 'data'
    label = next(source.rglob('*_000_1_seg.nii.gz'))
    odd = label.rename(label.with_name('W39_1998.09.19_Segm.nii.gz'))
    flags = ('--spacing=5.55556,6.25,7',)  # as stored
    assert prepare(brats, source, data_dir, *flags) == 0
    said = capsys.readouterr().out
    scan = odd.parent.relative_to(source).as_posix()
    assert f'Labels of {scan}, by the end of its name: {odd.name}' in said
    cases = {case['scan_id']: case for case in sum(read(data_dir, 'bms_cases').values(), [])}
    np.testing.assert_array_equal(cases[scan.encode()]['mask'], array_of(odd)[0] > 0)
    shutil.copy(odd, odd.with_name('another_Segm.nii.gz'))
    assert 'has no file of its labels' in refused(brats, source, tmp_path / 'b', capsys=capsys)


@pytest.mark.parametrize(
    ('case', 'patient'),
    [
        ('HGG/brats_tcia_pat105_0002', 'HGG/brats_tcia_pat105'),
        ('LGG/Brats18_TCIA10_152_1', 'LGG/Brats18_TCIA10_152'),
        ('BraTS20_Training_001', 'BraTS20_Training_001'),
        ('BraTS2021_00002', 'BraTS2021_00002'),
        ('HG/0001', 'HG/0001'),
        ('train/BraTS-GLI-00005-001', 'train/BraTS-GLI-00005'),
        ('BraTS-MEN-00104-000', 'BraTS-MEN-00104'),
    ],
)
def test_brats_patients_are_told_from_examinations(case, patient):
    assert brats._EXAMINATION.sub(r'\1', case) == patient


def test_names_and_labels_of_2023(sources, tmp_path):
    flags = ('--channels=t1,t1ce,t2,flair', '--positive=enhancing', '--spacing=5.55556,6.25,7')
    assert prepare(brats, sources['brats2023'], tmp_path, *flags) == 0
    cases = sum(read(tmp_path, 'bms_cases').values(), [])
    assert {case['patient'] for case in cases} == {b'BraTS-GLI-%05d' % n for n in range(3)}
    for case in cases:
        scan = case['scan_id'].decode()
        files = [sources['brats2023'] / scan / f'{scan}-{k}.nii.gz' for k in ('t1n', 't1c', 't2w')]
        for channel, path in enumerate([*files, files[0].with_name(f'{scan}-t2f.nii.gz')]):
            # resampled at the stored spacing, as headers round it
            np.testing.assert_allclose(case['cube'][..., channel], array_of(path)[0], atol=1)
        label = array_of(files[0].with_name(f'{scan}-seg.nii.gz'))[0]
        np.testing.assert_array_equal(case['mask'], label == 3)


def test_names_of_2021(copied, tmp_path):
    source = copied('brats2018')
    for index, folder in enumerate(sorted(source.glob('?GG/*'))):
        target = source / f'BraTS2021_{index:05}'
        target.mkdir()
        for path in folder.iterdir():
            path.rename(target / f'{target.name}_{path.name.rpartition("_")[2]}')
        folder.rmdir()
    assert prepare(brats, source, tmp_path / 'data') == 0
    cases = sum(read(tmp_path / 'data', 'bms_cases').values(), [])
    assert {case['scan_id'] for case in cases} == {b'BraTS2021_%05d' % n for n in range(4)}


def test_label_3_is_no_enhancing_tumour_in_2013(sources, copied, tmp_path, capsys):
    flags = ('--positive=enhancing', '--spacing=5.55556,6.25,7')
    assert prepare(brats, sources['brats2013'], tmp_path / 'old', *flags) == 0
    for case in sum(read(tmp_path / 'old', 'bms_cases').values(), []):
        (path,) = (sources['brats2013'] / case['scan_id'].decode()).glob('*OT*/*')
        np.testing.assert_array_equal(case['mask'], array_of(path)[0] == 4)
    both = copied('brats2013')
    shutil.copytree(sources['brats2023'], both / 'new')
    assert 'prepare them apart' in refused(brats, both, tmp_path / 'd', *flags, capsys=capsys)
    jobs = brats.list_jobs(both, ('flair',), 3, 0)
    assert brats._labels('core', jobs) == (1, 3, 4)


def test_scans_of_2024_are_refused(copied, tmp_path, capsys):
    source = copied('brats2023')
    for path in sorted(source.rglob('*-00001-000*'), reverse=True):
        path.rename(path.with_name(path.name.replace('-00001-000', '-00001-101')))
    said = refused(brats, source, tmp_path / 'data', capsys=capsys)
    assert 'BraTS-GLI-00001-101 is of BraTS 2024' in said


def test_hidden_files_and_folders_are_no_cases(copied, tmp_path, capsys):
    source = copied('brats2023')
    for path in list(source.rglob('*.nii.gz')):  # as macOS unpacks them
        path.with_name(f'._{path.name}').write_bytes(b'\0\5\x16\7' * 20)
    shutil.copytree(source / 'BraTS-GLI-00000-000', source / '.Trash' / 'BraTS-GLI-00009-000')
    assert prepare(brats, source, tmp_path) == 0
    assert 'Scans read: 3, skipped: 0' in capsys.readouterr().out
