"""nnU-Net's layout and the Medical Decathlon's: from their files to aligned records."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from segmented import array_of, metadata, move, prepare, read, refused

from data_prep import nnunet

PHANTOMS = {'nnunet': 5, 'decathlon': 5}  # patients by layout


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
    assert 'has the scan phantom_001 in 2 "val" lists' in said
    folds[1]['val'] = names[3:]
    (source / 'splits_final.json').write_text(json.dumps(folds))
    said = refused(nnunet, source, tmp_path / 'd', '--name=nn', capsys=capsys)
    assert 'has the scan phantom_002 in 0 "val" lists' in said
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
    declare(source, config='demo_labels')
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
    assert capsys.readouterr().out.count('of the same patient; both are kept') == 5
    assert sorted(row for rows in told.values() for row in rows) == [
        [f'{number:03}', 4] for number in range(5)
    ]
    said = refused(
        nnunet, source, tmp_path / 'd', *flags, '--patient_pattern=phantom_(.*)', capsys=capsys
    )
    assert 'phantom_(.*) finds nothing in the name of the scan again_000' in said


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
