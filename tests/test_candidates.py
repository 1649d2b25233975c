"""Candidates that a table names in any scans become patches in whose middle they lie."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from pointed import SIZE, chest_of, metadata_of, read, refusal, world, write_table
from scanned import make_voxels, write_series

from data_prep import brats, candidates, lidc, lits, luna16_candidates, nnunet
from data_prep.phantoms.points import write_candidates
from genesis_jax.errors import PrepareError

COLUMNS = ('scan', 'x', 'y', 'z', 'label', 'patient')


@pytest.fixture
def lists(tmp_path):
    """Three patients with two scans each, in several formats, and a table of candidates.csv."""
    source = tmp_path / 'scans'
    rows = []
    for number in range(6):
        suffix = ('nii.gz', 'nrrd', 'mha')[number % 3]
        path = source / f'p{number % 3}' / f'scan{number}.{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        image = chest_of(number, ('LPS', 'RAI', 'PIR')[number // 2])
        sitk.WriteImage(image, str(path))
        name = path.relative_to(source).as_posix()
        name = name if number % 2 else name.removesuffix(f'.{suffix}')
        for index, label in ((3, 0), (7, 1), (5, 0)):
            rows.append((name, *world(image, index), label, f'patient{number % 3}'))
    write_table(tmp_path / 'candidates.csv', COLUMNS, rows)
    return source, tmp_path / 'candidates.csv', rows


def prepare_lists(source, table, data_dir, *flags):
    paths = [f'--source={source}', f'--csv={table}', f'--data_dir={data_dir}']
    assert candidates.main([*paths, *SIZE, *flags]) == 0
    return read(data_dir, 'ecc')


def content(splits):
    return [
        (split, r['scan_id'], int(r['label']), r['cube'].tobytes(), tuple(r['origin']))
        for split, records in splits.items()
        for r in records
    ]


def test_points_of_any_scans_are_in_the_middle_of_their_cubes(lists, tmp_path):
    source, table, _ = lists
    splits = prepare_lists(source, table, tmp_path / 'data', '--native')
    assert set(splits) == {'fold_0', 'fold_1', 'fold_2'}
    for split, records in splits.items():
        assert len(records) == 6
        assert len({r['patient'] for r in records}) == 1
        assert [r['fold'] for r in records] == [int(split[-1])] * 6
        for record in records:
            number = int(record['scan_id'].decode()[-1])
            index = int(record['cube'][4, 8, 4, 0]) - 1000 - 10 * number
            assert index in (3, 5, 7) and record['label'] == (index == 7)
    metadata = metadata_of(tmp_path / 'data', 'ecc')
    assert metadata['classes'] == ['negative', 'positive'] and metadata['spacing'] is None


def test_voxel_coordinates_are_those_of_the_file(lists, tmp_path):
    source, table, rows = lists
    by_world = prepare_lists(source, table, tmp_path / 'world', '--native')
    suffixes = {0: 'nii.gz', 1: 'nrrd', 2: 'mha'}
    for number, (name, *point, label, patient) in enumerate(rows):
        scan = number // 3
        path = source / f'p{scan % 3}' / f'scan{scan}.{suffixes[scan % 3]}'
        index = sitk.ReadImage(str(path)).TransformPhysicalPointToIndex(point)
        rows[number] = (name, *index, label, patient)
    write_table(table, COLUMNS, rows)
    flags = ('--native', '--coordinates=voxel')
    by_voxel = prepare_lists(source, table, tmp_path / 'voxel', *flags)
    assert content(by_world) == content(by_voxel)


def test_the_extent_decides_the_spacing(lists, tmp_path):
    source, table, _ = lists
    prepare_lists(source, table, tmp_path / 'a')
    assert metadata_of(tmp_path / 'a', 'ecc')['spacing'] == [2.5, 2.5, 2.5]  # 20 mm over 8
    splits = prepare_lists(source, table, tmp_path / 'b', '--spacing=1,1,2', '--modality=mri')
    assert metadata_of(tmp_path / 'b', 'ecc')['spacing'] == [1, 1, 2]
    assert metadata_of(tmp_path / 'b', 'ecc')['channels'] == ['MRI']
    assert splits['fold_0'][0]['spacing'].tolist() == [1, 1, 2]
    assert splits['fold_0'][0]['window'].tolist() != [[-1000, 1000]]


def test_classes_have_names_and_splits_a_column(lists, tmp_path):
    source, table, rows = lists
    names = {0: 'node', 1: 'clot'}
    split_of = {'patient0': 'train', 'patient1': 'validation', 'patient2': 'test'}
    rows = [(*row[:4], names[row[4]], row[5], split_of[row[5]]) for row in rows]
    write_table(table, (*COLUMNS, 'part'), rows)
    splits = prepare_lists(source, table, tmp_path / 'a', '--split_column=part')
    assert set(splits) == {'train', 'validation', 'test'}
    assert metadata_of(tmp_path / 'a', 'ecc')['classes'] == ['clot', 'node']
    flags = ('--split_column=part', '--classes=other,node,clot')
    splits = prepare_lists(source, table, tmp_path / 'b', *flags)
    assert sorted(int(r['label']) for r in splits['test']) == [1, 1, 1, 1, 2, 2]
    folds = {'train': 'fold_1', 'validation': '0', 'test': '2'}
    write_table(table, (*COLUMNS, 'part'), [(*row[:6], folds[row[6]]) for row in rows])
    splits = prepare_lists(source, table, tmp_path / 'c', '--split_column=part')
    assert {r['patient'] for r in splits['fold_1']} == {b'patient0'}


def test_names_and_folds_in_one_split_column_are_refused(lists, tmp_path, capsys):
    source, table, rows = lists
    split_of = {'patient0': 'train', 'patient1': '1', 'patient2': 'fold_0'}
    write_table(table, (*COLUMNS, 'part'), [(*row, split_of[row[5]]) for row in rows])
    flags = [f'--source={source}', f'--csv={table}', *SIZE, '--split_column=part']
    said = refusal(candidates.main, flags, capsys, tmp_path / 'data')
    assert f'{table}, row 5: the split is fold_1, but train in row 2; give every' in said
    write_table(table, (*COLUMNS, 'part'), [(*row, 10**9) for row in rows])
    said = refusal(candidates.main, flags, capsys, tmp_path / 'data')
    assert "row 2: the split is '1000000000', expected train, validation, test or a fold" in said


def test_without_patients_every_scan_is_one(lists, tmp_path):
    source, table, rows = lists
    write_table(table, COLUMNS[:5], [row[:5] for row in rows])
    splits = prepare_lists(source, table, tmp_path / 'data')
    for records in splits.values():
        assert len({r['patient'] for r in records}) == 2
        assert all(r['patient'] == r['scan_id'] for r in records)


NAME = 'p0/scan0'


@pytest.mark.parametrize(
    'row, flags, said',
    [
        (('p0/scan9', 0, 0, 0, 0, 'patient0'), (), "row 20: the source has no scan 'p0/scan9'"),
        ((NAME, 900, 0, 0, 0, 'patient0'), (), 'row 20: the point 900, 0, 0 (voxel 1314, -9, -50)'),
        ((NAME, 2, 2, 12, 0, 'patient0'), ('--coordinates=voxel',), 'lies outside its scan'),
        ((NAME, -15, 10, 110, 0, 'patient1'), (), 'scan p0/scan0 has the patient patient1, but'),
        ((NAME, -15, 10, 110, 0, ''), (), 'row 20: the column patient is empty'),
        ((NAME, -15, 10, 110, 0), (), 'row 20: the column patient is empty'),
        ((NAME, -15, 10, 110, 'clot', 'patient0'), ('--classes=a,b',), "label is 'clot', expected"),
        ((NAME, -15, 10, 110, 2, 'patient0'), ('--classes=a,b',), "the label is '2', expected one"),
        ((NAME, -15, 10, 110, 1, 'patient0'), ('--folds=4',), '3 patients cannot be assigned to 4'),
        ((NAME, -15, 10, 110, 1, 'patient0'), ('--split_column=q',), 'lacks the column q'),
        ((NAME, -15, 10, 110, 1, 'patient0'), ('--split_column=y',), "the split is '"),
    ],
)
def test_a_bad_candidate_is_refused(lists, tmp_path, capsys, row, flags, said):
    source, table, _ = lists
    with table.open('a') as file:
        file.write(','.join(map(str, row)) + '\n')
    flags = [f'--source={source}', f'--csv={table}', *SIZE, *flags]
    assert said in refusal(candidates.main, flags, capsys, tmp_path / 'data')


def test_a_patient_in_two_splits_is_refused(lists, tmp_path, capsys):
    source, table, rows = lists
    parts = ['train', 'validation', 'test'] * 6
    write_table(table, (*COLUMNS, 'part'), [(*r, p) for r, p in zip(rows, parts, strict=True)])
    flags = [f'--source={source}', f'--csv={table}', *SIZE, '--split_column=part']
    said = refusal(candidates.main, flags, capsys, tmp_path / 'data')
    assert 'row 3: the patient patient0 has the split validation, but train in row 2' in said


@pytest.mark.parametrize('module', (candidates, luna16_candidates, lidc, lits, brats, nnunet))
def test_sides_that_no_network_takes_are_refused_at_once(module, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        module.main([f'--source={tmp_path}', '--csv=x', '--name=x', '--cube_size=3,20,33'])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "every side must divide by 8, found '3,20,33'; the nearest is 8,24,32\n" in said


def test_one_label_is_no_classification(lists, tmp_path, capsys):
    source, table, rows = lists
    write_table(table, COLUMNS, [row for row in rows if row[4] == 0])
    flags = [f'--source={source}', f'--csv={table}', *SIZE]
    assert 'has the label 0 only' in refusal(candidates.main, flags, capsys, tmp_path / 'data')


def test_class_numbers_have_no_gap(lists, tmp_path, capsys):
    source, table, rows = lists
    write_table(table, COLUMNS, [*rows[:4], (*rows[4][:4], 9, rows[4][5]), *rows[5:]])
    flags = [f'--source={source}', f'--csv={table}', *SIZE]
    said = refusal(candidates.main, flags, capsys, tmp_path / 'data')
    assert f'{table}, row 6: the label is 9, but no row has the label 2' in said
    write_table(table, COLUMNS, [(*row[:4], row[4] + 1, row[5]) for row in rows])
    said = refusal(candidates.main, flags, capsys, tmp_path / 'data')
    assert (
        'row 2: the label is 1, but no row has the label 0' in said and '--classes=1,2 to' in said
    )
    prepare_lists(source, table, tmp_path / 'data', '--classes=1,2')
    assert metadata_of(tmp_path / 'data', 'ecc')['classes'] == ['1', '2']


def test_a_split_column_that_is_not_used_is_said(lists, tmp_path, capsys):
    source, table, rows = lists
    write_table(table, (*COLUMNS, 'Split'), [(*row, 'train') for row in rows])
    prepare_lists(source, table, tmp_path / 'data')
    said = capsys.readouterr().out
    assert '\nThe column Split of candidates.csv was not used' in said
    assert '--split_column=Split takes' in said and 'configs/ecc.py' in said
    named = {'patient0': 'train', 'patient1': 'validation', 'patient2': 'test'}
    write_table(table, (*COLUMNS, 'Split'), [(*row, named[row[5]]) for row in rows])
    flags = [f'--source={source}', f'--csv={table}', f'--data_dir={tmp_path / "data"}', *SIZE]
    assert candidates.main([*flags, '--split_column=Split', '--name=points']) == 0
    said = capsys.readouterr().out
    assert 'was not used' not in said and '--config=configs/classify.py' in said


def test_one_scan_of_two_patients_is_refused(lists, tmp_path, capsys):
    source, table, rows = lists
    shutil.copy(source / 'p2' / 'scan2.mha', source / 'p0' / 'again.mha')
    again = [('p0/again', *row[1:5], 'patient0') for row in rows if row[0].startswith('p2/scan2')]
    write_table(table, COLUMNS, [*rows, *again])
    flags = [f'--source={source}', f'--csv={table}', *SIZE]
    said = refusal(candidates.main, flags, capsys, tmp_path / 'data')
    assert 'p2/scan2.mha' in said and 'p0/again.mha' in said and 'hold the same image' in said
    write_table(table, COLUMNS, [*rows, *((*row[:5], 'patient2') for row in again)])
    prepare_lists(source, table, tmp_path / 'data')  # a patient may have it twice


def test_a_point_outside_a_dicom_series_is_refused_by_the_worker(tmp_path):
    write_series(tmp_path / 'scans' / 'one', make_voxels(shape=(8, 8, 4)))
    scan = candidates.find_scans(tmp_path / 'scans')[0]
    row = {'scan': 'one', 'x': '3', 'y': '3', 'z': '9', 'label': '0'}
    table = tmp_path / 'list.csv'
    scans = [scan, scan.__class__('two/uid', 'two/uid', scan.files, is_dicom=True)]
    rows = [(2, row), (3, {**row, 'scan': 'two', 'z': '1'})]
    cases = candidates.list_jobs(scans, table, rows, ('a', 'b'), None, 2, 0)
    rule = candidates.PointRule((4, 4, 4), None, 'ct', True, 'list.csv')
    candidates.check_points([case.source for case in cases], rule)  # leaves DICOM to the workers
    with pytest.raises(PrepareError, match='list.csv, row 2: the point 3, 3, 9 lies outside'):
        candidates.cut_points(cases[0], rule)
    assert len(candidates.cut_points(cases[1], rule).patches) == 1


def test_the_phantom_of_emboli_darkens_vessels(tmp_path):
    write_candidates(tmp_path / 'pe', 4, (80, 80, 60), 0)
    flags = ('--extent=8', '--folds=2', '--classes=negative,embolism')
    source = tmp_path / 'pe'
    splits = prepare_lists(source, source / 'candidates.csv', tmp_path / 'data', *flags)
    records = [r for found in splits.values() for r in found]
    assert len({r['patient'] for r in records}) == 4 and len({r['scan_id'] for r in records}) == 5
    middle = [(int(r['label']), int(r['cube'][4, 8, 4, 0]), int(r['cube'].max())) for r in records]
    clots = [(value, brightest) for label, value, brightest in middle if label]
    others = [value for label, value, _ in middle if not label]
    assert np.median([value for value, _ in clots]) < 150 < 200 < np.median(others)
    assert np.median([brightest for _, brightest in clots]) > 200
