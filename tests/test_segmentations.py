"""LiTS, BraTS and nnU-Net's layout: from raw files in their own format to aligned records."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import brats, lits, nnunet, phantom
from data_prep.patches import GridPatches, LabelledVolume, RandomPatches, cut_patches

SHAPE = (36, 32, 24)
PATCH = (16, 16, 8)


def make(layout, out, patients):
    shape = ','.join(map(str, SHAPE))
    flags = [f'--layout={layout}', f'--out={out}', f'--patients={patients}', f'--shape={shape}']
    assert phantom.main(flags) == 0
    return out


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """One phantom per layout, not to be changed."""
    base = tmp_path_factory.mktemp('sources')
    return {
        layout: make(layout, base / layout, patients)
        for layout, patients in (
            ('lits', 6), ('brats2013', 3), ('brats2018', 4), ('nnunet', 5), ('decathlon', 5)
        )
    }  # fmt: skip


@pytest.fixture
def copied(sources, tmp_path):
    """Makes a copy of a phantom, to be spoiled."""
    return lambda layout: shutil.copytree(sources[layout], tmp_path / layout)


def prepare(module, source, data_dir, *flags):
    size = ','.join(map(str, PATCH))
    common = [f'--source={source}', f'--data_dir={data_dir}', f'--cube_size={size}']
    return module.main([*common, '--workers=1', *flags])


def refused(module, source, data_dir, *flags, capsys):
    """The one sentence of a refused preparation, which leaves no file."""
    with pytest.raises(SystemExit) as stop:
        prepare(module, source, data_dir, *flags)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and error.startswith(f'python -m {module.__name__}: ')
    assert not [path for path in data_dir.rglob('*') if path.is_file()]
    return error


def builder(data_dir, name):
    return tfds.builder_from_directory(data_dir / name / '1.0.0')


def read(data_dir, name):
    """All records, by split."""
    made = builder(data_dir, name)
    return {split: list(made.as_data_source(split)) for split in made.info.splits}


def metadata(data_dir, name):
    return json.loads((data_dir / name / '1.0.0' / 'metadata.json').read_text())


def part(array, origin, size=PATCH):
    return array[tuple(slice(o, o + n) for o, n in zip(origin, size, strict=True))]


def array_of(path):
    """Stored voxels [X, Y, Z] after turning them to LPS by hand."""
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image).T
    turned = np.reshape(image.GetDirection(), (3, 3)).round()
    assert abs(turned).tolist() == np.eye(3).tolist()
    return voxels[tuple(slice(None, None, int(sign)) for sign in np.diag(turned))], image


# LiTS


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
    assert 'Cases read: 4, skipped: 2' in said
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


def move(image):
    image.SetOrigin([mm + 5 for mm in image.GetOrigin()])


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


@pytest.mark.parametrize('value', [3, 300, -1, 0.5])
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


# BraTS


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
            # a case id ends in the examination, which is not the patient's
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
    assert '1 patients cannot be dealt into 3 folds' in said


@pytest.mark.parametrize(
    ('case', 'patient'),
    [
        ('HGG/brats_tcia_pat105_0002', 'HGG/brats_tcia_pat105'),
        ('LGG/Brats18_TCIA10_152_1', 'LGG/Brats18_TCIA10_152'),
        ('BraTS20_Training_001', 'BraTS20_Training_001'),
        ('BraTS2021_00002', 'BraTS2021_00002'),
        ('HG/0001', 'HG/0001'),
    ],
)
def test_brats_patients_are_told_from_examinations(case, patient):
    assert brats._EXAMINATION.sub(r'\1', case) == patient


def test_patches_without_brain_are_left_out():
    voxels = np.zeros((40, 40, 20, 1), np.int16)
    voxels[20:, 20:] = -5  # below the black around it
    volume = LabelledVolume(voxels, np.zeros((40, 40, 20), np.uint8), (1,) * 3, np.zeros((1, 2)))
    assert GridPatches((10, 10, 10), 10, 0.1).starts(None, volume) == [
        (x, y, z) for x in (20, 30) for y in (20, 30) for z in (0, 10)
    ]


# nnU-Net and the Medical Decathlon


def test_an_oblique_case_ends_in_lps_with_its_label(sources, tmp_path):
    flags = ('--name=nn', '--patches_per_scan=4')
    assert prepare(nnunet, sources['nnunet'], tmp_path, *flags) == 0
    told = metadata(tmp_path, 'nn')
    assert told['channels'] == ['T1', 'FLAIR'] and told['modality'] == 'mri'
    assert told['classes'] == ['background', 'oedema', 'core']
    cases = sum(read(tmp_path, 'nn_cases').values(), [])
    assert len(cases) == 5
    for case in cases:
        name = case['scan_id'].decode()
        for channel in range(2):
            path = sources['nnunet'] / 'imagesTr' / f'{name}_{channel:04}.nii.gz'
            stored, image = array_of(path)
            assert not np.allclose(np.abs(image.GetDirection()), np.eye(3).ravel(), atol=0.05)
            np.testing.assert_array_equal(case['cube'][..., channel], stored)
            sample = stored[::4, ::4, ::4]
            expected = np.percentile(sample, (0.5, 99.5))
            np.testing.assert_allclose(case['window'][channel], expected, rtol=1e-6)
        labels, _ = array_of(sources['nnunet'] / 'labelsTr' / f'{name}.nii.gz')
        np.testing.assert_array_equal(case['mask'], labels)
        np.testing.assert_allclose(case['spacing'], image.GetSpacing(), rtol=1e-6)


def test_the_decathlons_4d_files_are_the_same_records(sources, tmp_path):
    for layout in ('nnunet', 'decathlon'):
        assert prepare(nnunet, sources[layout], tmp_path, f'--name={layout}') == 0
    one, other = (read(tmp_path, layout) for layout in ('nnunet', 'decathlon'))
    assert set(one) == set(other) == {f'fold_{fold}' for fold in range(5)}
    for split, records in one.items():
        for record, twin in zip(records, other[split], strict=True):
            for name in ('cube', 'mask', 'origin', 'scan_id', 'window'):
                np.testing.assert_array_equal(record[name], twin[name])


def test_folds_follow_nnunets_own_file(copied, tmp_path, capsys):
    source = copied('nnunet')
    names = [f'phantom_{number:03}' for number in range(5)]
    folds = [{'train': names[2:], 'val': names[:2]}, {'train': names[:2], 'val': names[2:]}]
    (source / 'splits_final.json').write_text(json.dumps(folds))
    assert prepare(nnunet, source, tmp_path, '--name=nn') == 0
    for fold, rows in metadata(tmp_path, 'nn_cases')['records'].items():
        assert sorted(patient for patient, _ in rows) == folds[int(fold[-1])]['val']
    folds[1]['val'] = names[1:]
    (source / 'splits_final.json').write_text(json.dumps(folds))
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'has the case phantom_001 in 2 "val" lists' in said
    folds[1]['val'] = names[3:]
    (source / 'splits_final.json').write_text(json.dumps(folds))
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'has the case phantom_002 in 0 "val" lists' in said
    assert prepare(nnunet, source, tmp_path, '--name=anew', '--folds=3') == 0
    assert set(metadata(tmp_path, 'anew')['records']) == {'fold_0', 'fold_1', 'fold_2'}


def test_a_labelled_test_set_is_the_test_split(copied, tmp_path, capsys):
    source = copied('nnunet')
    for number in range(2):
        path = source / 'imagesTr' / f'phantom_004_{number:04}.nii.gz'
        path.rename(source / 'imagesTs' / path.name)
    (source / 'labelsTs').mkdir()
    (source / 'labelsTr' / 'phantom_004.nii.gz').rename(source / 'labelsTs' / 'phantom_004.nii.gz')
    assert prepare(nnunet, source, tmp_path, '--name=nn') == 0
    told = metadata(tmp_path, 'nn')['records']
    assert {split: len(rows) for split, rows in told.items()} == {
        'train': 3, 'validation': 1, 'test': 1,
    }  # fmt: skip
    assert told['test'][0][0] == 'phantom_004'
    assert set(read(tmp_path, 'nn_cases')) == {'test'}
    assert '--config=configs/segment.py' in capsys.readouterr().out
    assert prepare(nnunet, source, tmp_path, '--name=chest_labels', '--folds=2') == 0
    assert '--config=configs/demo_labels.py' in capsys.readouterr().out  # has its own recipe
    assert set(metadata(tmp_path, 'chest_labels')['records']) == {'fold_0', 'fold_1'}


def test_cases_of_a_patient_stay_together(copied, tmp_path, capsys):
    source = copied('nnunet')
    for folder in ('imagesTr', 'labelsTr'):
        for path in sorted((source / folder).iterdir()):
            shutil.copy(path, path.with_name(path.name.replace('phantom', 'again')))
    flags = ('--name=nn', '--patches_per_scan=2')
    assert prepare(nnunet, source, tmp_path, *flags, '--patient_pattern=_([0-9]+)') == 0
    told = metadata(tmp_path, 'nn')['records']
    assert sorted(row for rows in told.values() for row in rows) == [
        [f'{number:03}', 4] for number in range(5)
    ]
    said = refused(
        nnunet, source, tmp_path / 'd', *flags, '--patient_pattern=phantom_(.*)', capsys=capsys
    )
    assert 'phantom_(.*) finds nothing in the name of the case again_000' in said


def declare(source, **fields):
    path = source / 'dataset.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'labels': {'background': 0, 'whole': [1, 2], 'core': 2}}, "'whole' as a region of"),
        ({'labels': {'background': 0, 'a': 1, 'ignore': 2}}, 'declares the label "ignore"'),
        ({'labels': {'a': 1, 'b': 2}}, 'expected 0 for background'),
        ({'labels': {'background': 0, 'a': 1, 'b': 1}}, 'two labels of one name or value'),
        ({'labels': {'background': 0, 'a': 'x'}}, "gives the label 'a' the value 'x'"),
        ({'labels': []}, "has no usable 'labels'"),
        ({'channel_names': {'1': 'T1', '2': 'T2'}}, 'numbers its channels 1, 2; expected 0, 1'),
        ({'channel_names': {'0': 'a', '1': 'b', '2': 'c'}}, 'phantom_000_0002.nii.gz; add it or'),
        ({'channel_names': {'0': 'T1'}}, 'imagesTr/phantom_000_0001.nii.gz is channel 1 of the'),
        ({'file_ending': '.nrrd'}, 'holds no label file ending in .nrrd'),
        ({'labels': {'background': 0, 'a': 1}}, 'but dataset.json declares 0, 1; correct one'),
    ],
)
def test_declarations_that_do_not_hold_are_refused(copied, tmp_path, capsys, fields, message):
    source = copied('nnunet')
    declare(source, **fields)
    assert message in refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)


def test_channels_of_another_geometry_and_missing_labels_are_refused(copied, tmp_path, capsys):
    source = copied('nnunet')
    path = source / 'imagesTr' / 'phantom_001_0001.nii.gz'
    image = sitk.ReadImage(str(path))
    move(image)
    sitk.WriteImage(image, str(path))
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'imagesTr/phantom_001_0001.nii.gz has the origin' in said
    assert 'where imagesTr/phantom_001_0000.nii.gz has' in said
    (source / 'labelsTr' / 'phantom_003.nii.gz').unlink()
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'imagesTr/phantom_003_0000.nii.gz has no label labelsTr/phantom_003.nii.gz' in said
    (source / 'dataset.json').write_text('{')
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'dataset.json is not JSON' in said
    (source / 'dataset.json').unlink()
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'holds no dataset.json; check --source' in said


def test_the_decathlons_list_must_hold(copied, tmp_path, capsys):
    source = copied('decathlon')
    listed = json.loads((source / 'dataset.json').read_text())['training']
    for training, message in (
        ([*listed, listed[0]], 'lists ./labelsTr/phantom_000.nii.gz twice'),
        ([{'image': 'no.nii.gz', 'label': 'no.nii.gz'}], 'lists no.nii.gz, which is not there'),
        ([], 'lists no "training" pairs'),
    ):
        declare(source, training=training)
        assert message in refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)


@pytest.mark.parametrize(
    ('names', 'modality'),
    [(['CT'], 'ct'), (['CT', 'PET'], 'other'), (['FLAIR', 'T1w'], 'mri'), (['MRI'], 'mri')],
)
def test_the_modality_is_what_the_channels_say(copied, tmp_path, names, modality):
    source = copied('nnunet')
    declare(source, channel_names={str(n): name for n, name in enumerate(names)})
    declared = nnunet.read_dataset_json(source)
    assert declared.modality == modality and declared.channels == tuple(names)


# Patches


@pytest.fixture
def volume(rng):
    voxels = rng.integers(-500, 500, (30, 28, 20, 2)).astype(np.int16)
    mask = np.zeros((30, 28, 20), np.uint8)
    mask[5:25, 6:20, 4:18] = 1
    mask[12, 13, 14] = 2
    return LabelledVolume(voxels, mask, (1, 1, 2), np.array([[-400, 400], [-300.5, 400]]))


def test_half_of_the_patches_are_centred_on_each_class_in_turn(rng, volume):
    size = (8, 8, 4)
    starts = RandomPatches(size, 200, 0.5).starts(rng, volume)
    centres = [volume.mask[tuple(np.add(start, np.array(size) // 2))] for start in starts[:100]]
    assert 0 not in centres and 30 < centres.count(2) < 70
    assert len(set(starts[100:])) > 80
    mask = np.zeros_like(volume.mask)
    empty = LabelledVolume(volume.voxels, mask, volume.spacing, volume.window)
    assert len(RandomPatches(size, 10, 0.5).starts(rng, empty)) == 10


def test_patches_beyond_a_small_scan_are_filled_up(rng, volume):
    size = (34, 8, 25)
    for rule in (RandomPatches(size, 5, 0.5), GridPatches(size, 10, 0.1)):
        starts = rule.starts(rng, volume)
        assert {(start[0], start[2]) for start in starts} == {(-2, -3)}
        for item in cut_patches(volume, starts, size):
            assert item.cube.shape == (*size, 2) and item.mask.shape == size
            y = item.origin[1]
            inside = (slice(2, 32), slice(None), slice(3, 23))
            np.testing.assert_array_equal(item.cube[inside], volume.voxels[:, y : y + 8])
            np.testing.assert_array_equal(item.mask[inside], volume.mask[:, y : y + 8])
            assert (item.cube[:2] == (-400, -300)).all() and not item.mask[:2].any()
