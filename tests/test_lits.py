"""LiTS: from its files to aligned records; labels that contradict their scan are refused."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from segmented import array_of, metadata, move, part, prepare, read, refused

from data_prep import lits

PHANTOMS = {'lits': 6}  # patients by layout


def test_lits_records_are_the_raw_voxels(sources, tmp_path):
    flags = ('--split=3,1,2', '--patches_per_scan=6')
    assert prepare(lits, sources['lits'], tmp_path, *flags) == 0
    records, cases = read(tmp_path, 'lcs'), read(tmp_path, 'lcs_cases')
    assert {split: len(rows) for split, rows in records.items()} == {
        'train': 18, 'validation': 6, 'test': 12,
    }  # fmt: skip
    assert set(cases) == {'test'} and len(cases['test']) == 2
    indices = {split: {int(r['scan_id'][7:]) for r in rows} for split, rows in records.items()}
    assert indices == {'train': {0, 1, 2}, 'validation': {3}, 'test': {4, 5}}
    assert {record['fold'] for record in records['test']} == {2}
    for record in sum(records.values(), cases['test']):
        name = record['scan_id'].decode()
        (volume,) = sources['lits'].rglob(f'{name}.nii')
        voxels, image = array_of(volume)
        labels, _ = array_of(volume.with_name(f'segmentation-{name[7:]}.nii'))
        size = record['mask'].shape
        np.testing.assert_array_equal(record['cube'][..., 0], part(voxels, record['origin'], size))
        np.testing.assert_array_equal(record['mask'], part(labels, record['origin'], size) > 0)
        np.testing.assert_allclose(record['spacing'], image.GetSpacing(), rtol=1e-5)
        np.testing.assert_array_equal(record['window'], [[-1000, 1000]])
    told = metadata(tmp_path, 'lcs')
    assert (told['classes'], told['channels']) == (['background', 'liver'], ['CT'])
    assert told['modality'] == 'ct' and told['spacing'] is None
    assert str(tmp_path) not in json.dumps(told)
    orientations = {sitk.ReadImage(str(p)).GetDirection() for p in sources['lits'].rglob('vol*')}
    assert len(orientations) == 2  # so turning was tested


def test_lesions_can_be_a_class_and_scans_be_resampled(sources, tmp_path):
    flags = ('--split=4,1,1', '--lesion', '--spacing=12,12,12', '--name=two')
    assert prepare(lits, sources['lits'], tmp_path, *flags) == 0
    told = metadata(tmp_path, 'two')
    assert told['classes'] == ['background', 'liver', 'lesion'] and told['spacing'] == [12, 12, 12]
    (case,) = read(tmp_path, 'two_cases')['test']
    assert set(np.unique(case['mask'])) == {0, 1, 2}
    (path,) = sources['lits'].rglob('segmentation-5.nii')
    labels, image = array_of(path)
    steps = [12 / mm for mm in image.GetSpacing()]
    x, y, z = (np.floor(np.arange(n) * s + 0.5).astype(int) for n, s in
               zip(case['mask'].shape, steps, strict=True))  # fmt: skip
    inside = np.ix_(*(i[i < n] for i, n in zip((x, y, z), labels.shape, strict=True)))
    nearest = labels[inside]
    same = case['mask'][tuple(slice(n) for n in nearest.shape)] == nearest
    assert same.mean() > 0.999  # but for ties


def test_the_dataset_does_not_depend_on_the_workers(sources, tmp_path):
    for name, workers in (('a', 1), ('b', 2)):
        flags = ('--split=4,1,1', '--patches_per_scan=4', f'--workers={workers}')
        assert prepare(lits, sources['lits'], tmp_path / name, *flags) == 0
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob('*.*')
         if p.is_file()}
        for name in 'ab'
    )  # fmt: skip
    assert one and one == two


def test_a_broken_scan_is_skipped_and_named(copied, tmp_path, capsys):
    source = copied('lits')
    (path,) = source.rglob('volume-1.nii')
    path.write_bytes(path.read_bytes()[:2000])
    (path,) = source.rglob('segmentation-2.nii')
    path.write_bytes(b'junk')
    assert prepare(lits, source, tmp_path / 'data', '--split=4,1,1') == 0
    said = capsys.readouterr().out
    assert 'Scans read: 4, skipped: 2' in said and ' patches (' in said
    assert 'Training Batch 1/volume-1.nii is truncated' in said
    assert 'volume-2.nii has the file segmentation-2.nii, which does not start with' in said
    assert f'--config=configs/lcs.py --config.data.dir={tmp_path / "data"} --workdir=' in said


def test_lits_refuses_what_does_not_pair(copied, tmp_path, capsys):
    source, data_dir = copied('lits'), tmp_path / 'data'
    said = refused(lits, source, data_dir, capsys=capsys)
    assert 'no scan 100 to 114 for the split validation (found: 0 to 5)' in said
    (path,) = source.rglob('segmentation-4.nii')
    path.rename(path.with_name('segmentation-9.nii'))
    said = refused(lits, source, data_dir, '--split=4,1,1', capsys=capsys)
    assert 'Training Batch 2/volume-4.nii has no segmentation-4.nii or .nii.gz' in said
    shutil.copy(path.with_name('segmentation-9.nii'), source / 'segmentation-9.nii')
    said = refused(lits, source, data_dir, '--split=4,1,1', capsys=capsys)
    assert 'are the same segmentation; keep one of them' in said
    said = refused(lits, tmp_path / 'lits' / 'Training Batch 1', data_dir, capsys=capsys)
    assert 'no scan 100 to 114' in said


def test_one_scan_under_two_numbers_is_refused(copied, tmp_path, capsys):
    source, data_dir = copied('lits'), tmp_path / 'data'
    for kind in ('volume', 'segmentation'):
        (path,) = source.rglob(f'{kind}-2.nii')
        image = sitk.ReadImage(str(path))
        (other,) = source.rglob(f'{kind}-5.nii')
        other.unlink()
        sitk.WriteImage(image, f'{other}.gz')
    said = refused(lits, source, data_dir, '--split=4,1,1', capsys=capsys)
    assert 'volume-2.nii' in said and 'volume-5.nii.gz' in said and 'hold the same image' in said
    assert 'two patients (volume-' in said


# Labels that contradict their image or their declaration


def respace(image):
    image.SetSpacing([mm * 1.1 for mm in image.GetSpacing()])


def tilt(image):
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.2, 0, 0).GetMatrix())


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (respace, 'has the spacing ('),
        (move, 'has the origin ('),
        (tilt, 'has the direction ('),
    ],
)
def test_labels_of_another_geometry_are_refused(copied, tmp_path, capsys, spoil, message):
    source, data_dir = copied('lits'), tmp_path / 'data'
    (path,) = source.rglob('segmentation-0.nii')
    image = sitk.ReadImage(str(path))
    spoil(image)
    sitk.WriteImage(image, str(path))
    said = refused(lits, source, data_dir, '--split=4,1,1', capsys=capsys)
    assert f'Training Batch 1/segmentation-0.nii {message}' in said
    assert 'where Training Batch 1/volume-0.nii has (' in said and '--same_grid' in said
    assert prepare(lits, source, data_dir, '--split=4,1,1', '--same_grid') == 0


def test_labels_of_another_size_are_refused_whatever_is_asked_for(copied, tmp_path, capsys):
    source = copied('lits')
    (path,) = source.rglob('segmentation-0.nii')
    sitk.WriteImage(sitk.ReadImage(str(path))[:, :, :-1], str(path))
    for flags in ((), ('--same_grid',)):
        said = refused(lits, source, tmp_path / 'd', '--split=4,1,1', *flags, capsys=capsys)
        assert 'segmentation-0.nii has the size (36, 32, 23) where Training Batch 1/vol' in said


@pytest.mark.parametrize('factor', [0.99999994, 1.00049, 0.99951])
def test_labels_that_rounding_moved_are_whole(copied, sources, tmp_path, factor):
    source = copied('lits')
    for path in source.rglob('segmentation-*.nii'):
        image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32)
        sitk.WriteImage(image * factor, str(path))
    for name, folder in (('moved', source), ('whole', sources['lits'])):
        flags = ('--split=4,1,1', '--lesion', f'--name={name}')
        assert prepare(lits, folder, tmp_path / 'data', *flags) == 0
    moved, whole = (read(tmp_path / 'data', name)['train'] for name in ('moved', 'whole'))
    for record, other in zip(moved, whole, strict=True):
        np.testing.assert_array_equal(record['mask'], other['mask'])
    assert {int(value) for record in whole for value in np.unique(record['mask'])} == {0, 1, 2}


@pytest.mark.parametrize('value', [3, 300, -1, 0.5, 0.99899995, 1234567, 255])
def test_labels_that_nobody_declared_are_refused(copied, tmp_path, capsys, value):
    source = copied('lits')
    (path,) = source.rglob('segmentation-0.nii')
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32)
    image[4, 5, 6] = value
    sitk.WriteImage(image, str(path))
    said = refused(lits, source, tmp_path / 'data', '--split=4,1,1', capsys=capsys)
    expected = f'segmentation-0.nii holds the value {value} at voxel 4, 5, 6, but LiTS declares 0, '
    assert expected in said


def test_labels_stored_as_floats_are_read(copied, tmp_path):
    source = copied('lits')
    (path,) = source.rglob('segmentation-5.nii')
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat64), str(path))
    assert prepare(lits, source, tmp_path, '--split=4,1,1') == 0
    (case,) = read(tmp_path, 'lcs_cases')['test']
    np.testing.assert_array_equal(case['mask'], array_of(path)[0] > 0)


def test_hidden_files_and_folders_are_no_scans(copied, tmp_path, capsys):
    source = copied('lits')
    for path in list(source.rglob('*.nii')):
        path.with_name(f'._{path.name}').write_bytes(b'\0\5\x16\7' * 20)
    shutil.copytree(source / 'Training Batch 1', source / '.Trash')
    assert prepare(lits, source, tmp_path, '--split=4,1,1') == 0
    assert 'Scans read: 6, skipped: 0' in capsys.readouterr().out
