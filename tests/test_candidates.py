"""Candidates, LUNA16's and anybody's, become cubes in whose middle lies what the table names."""

import csv
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import brats, candidates, lidc, lits, luna16_candidates, nnunet
from data_prep.luna16_candidates import draw, list_cases, read_candidates
from data_prep.phantom_points import write_candidates, write_luna16_candidates
from data_prep.points import gather
from data_prep.prepare import PrepareError

SHAPE, SPACING = (20, 18, 12), (0.7, 0.8, 2.0)
SIZE = ('--cube_size=8,16,8', '--workers=1')
LUNA_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'class')
COLUMNS = ('scan', 'x', 'y', 'z', 'label', 'patient')


def chest_of(number, orientation='LPS'):
    """A scan of noise whose voxel i, i, i for i of 2 ... 9 holds 1000 + 10 * number + i."""
    voxels = np.random.default_rng(number).integers(-900, 100, SHAPE).astype(np.int16)
    for index in range(2, 10):
        voxels[index, index, index] = 1000 + 10 * number + index
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(SPACING)
    image.SetOrigin((-20.0 - number, 7.5, 100))
    return sitk.DICOMOrient(image, orientation)


def world(image, index):
    """The world point of voxel i, i, i of the scan in LPS."""
    turned = sitk.DICOMOrient(image, 'LPS')
    return turned.TransformIndexToPhysicalPoint((index,) * 3)


def write_table(path, columns, rows):
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([columns, *rows])


def luna_rows(number, positives, negatives):
    image = chest_of(number)
    labels = [1] * positives + [0] * negatives
    return [(f'uid{number}', *world(image, 2 + index), label) for index, label in enumerate(labels)]


@pytest.fixture
def luna(tmp_path):
    """LUNA16 with a scan in each subset; 1 nodule and 7 others in each, none in the second."""
    source = tmp_path / 'luna'
    rows = []
    for number in range(10):
        (source / f'subset{number}').mkdir(parents=True)
        image = chest_of(number, 'RAS' if number % 3 == 0 else 'LPS')
        sitk.WriteImage(image, str(source / f'subset{number}' / f'uid{number}.mhd'))
        rows += luna_rows(number, 0 if number == 1 else 1, 7)
    write_table(source / 'candidates_V2.csv', LUNA_COLUMNS, rows)
    return source


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


def read(data_dir, name):
    builder = tfds.builder_from_directory(data_dir / name / '1.0.0')
    return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def metadata_of(data_dir, name):
    return json.loads((data_dir / name / '1.0.0' / 'metadata.json').read_text())


def refusal(main, flags, capsys, data_dir):
    """What a preparation says that stops; nothing is left of it."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, flags), f'--data_dir={data_dir}'])
    assert stop.value.code == 1
    assert not data_dir.exists() or not list(data_dir.iterdir())
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'Traceback' not in said
    return said


# LUNA16


def prepare_luna(luna, data_dir, *flags):
    assert (
        luna16_candidates.main([f'--source={luna}', f'--data_dir={data_dir}', *SIZE, *flags]) == 0
    )
    return read(data_dir, 'ncc')


def test_luna16_candidates_are_in_the_middle_of_their_cubes(luna, tmp_path, capsys):
    splits = prepare_luna(luna, tmp_path / 'data', '--negatives_per_positive=all')
    said = capsys.readouterr().out
    assert '--config=configs/ncc.py' in said and 'Cases read: 10, skipped: 0' in said
    assert {split: len(records) for split, records in splits.items()} == {
        'train': 39,
        'validation': 16,
        'test': 24,
    }
    folds = {'train': range(5), 'validation': (5, 6), 'test': (7, 8, 9)}
    for split, records in splits.items():
        for record in records:
            number = int(record['scan_id'].decode().removeprefix('uid'))
            assert number == record['fold'] and number in folds[split]
            assert record['patient'] == record['scan_id']
            assert record['cube'].shape == (8, 16, 8, 1) and record['cube'].dtype == np.int16
            value = record['cube'][4, 8, 4, 0]
            index = int(value) - 1000 - 10 * number
            assert record['origin'].tolist() == [index - 4, index - 8, index - 4]
            assert record['label'] == (index == 2 and number != 1)
            np.testing.assert_allclose(record['spacing'], SPACING, rtol=1e-6)
            assert record['window'].tolist() == [[-1000, 1000]]


def test_luna16_metadata_tells_what_readers_need(luna, tmp_path):
    splits = prepare_luna(luna, tmp_path / 'data')
    metadata = metadata_of(tmp_path / 'data', 'ncc')
    assert metadata['task'] == 'classification' and metadata['modality'] == 'ct'
    assert metadata['classes'] == ['non-nodule', 'nodule'] and metadata['channels'] == ['CT']
    assert metadata['spacing'] is None
    assert metadata['recipe']['negatives_per_positive']['test'] == 'all'
    assert str(tmp_path) not in json.dumps(metadata['recipe'])
    for split, records in splits.items():
        named = [r['patient'].decode() for r in records]
        assert [p for p, count in metadata['records'][split] for _ in range(count)] == named


def test_negatives_are_drawn_over_the_scans_of_a_split(luna, tmp_path):
    flags = ('--negatives_per_positive=2', '--test_negatives_per_positive=0')
    splits = prepare_luna(luna, tmp_path / 'data', *flags)
    labels = {split: [int(r['label']) for r in records] for split, records in splits.items()}
    assert sorted(labels['train']) == [0] * 8 + [1] * 4
    assert sorted(labels['validation']) == [0] * 4 + [1] * 2
    assert labels['test'] == [1] * 3


def test_a_draw_depends_on_the_seed_and_the_scan_only():
    points = {
        f'uid{n}': gather([(row, (row, n, 0), int(row == 0)) for row in range(50)])
        for n in range(6)
    }
    few, more = draw(points, 3, seed=0), draw(points, 10, seed=0)
    turned = draw(dict(reversed(points.items())), 3, seed=0)
    other = draw(points, 3, seed=1)
    assert sum(len(found.labels) for found in few.values()) == 6 + 18
    assert sum(len(found.labels) for found in more.values()) == 6 + 60
    for uid in points:
        rows = [set(chosen[uid].rows) for chosen in (few, more, turned)]
        assert rows[0] <= rows[1] and rows[0] == rows[2]
    assert any(set(few[uid].rows) != set(other[uid].rows) for uid in points)
    assert len(draw(points, 100, 0)['uid0'].labels) == 50
    assert not draw({}, 3, 0)


def test_scans_without_a_nodule_give_negatives(luna):
    folds = {'train': (1,), 'validation': (5,), 'test': (7,)}
    ratios = dict.fromkeys(folds, 3.0)
    cases = list_cases(luna, read_candidates(luna / 'candidates_V2.csv'), folds, ratios, 0)
    by_split = {case.split: case.source[1].labels.tolist() for case in cases}
    assert by_split['train'] == [0, 0, 0]


def test_a_broken_scan_is_skipped(luna, tmp_path, capsys):
    (luna / 'subset0' / 'uid0.raw').write_bytes(b'short')
    prepare_luna(luna, tmp_path / 'data')
    said = capsys.readouterr().out
    assert 'skipped: 1' in said and 'subset0/uid0.mhd is truncated' in said


def test_some_subsets_suffice(luna, tmp_path, capsys):
    for number in (1, 2, 3, 4, 6, 8, 9):
        (luna / f'subset{number}' / f'uid{number}.mhd').unlink()
        (luna / f'subset{number}' / f'uid{number}.raw').unlink()
        (luna / f'subset{number}').rmdir()
    flags = ('--train_folds=0', '--validation_folds=5', '--test_folds=7')
    splits = prepare_luna(luna, tmp_path / 'data', *flags)
    assert {r['scan_id'] for records in splits.values() for r in records} == {
        b'uid0',
        b'uid5',
        b'uid7',
    }
    # seven scans are gone, whose rows are 8 each, but 7 of the second
    assert '\nRows passed over, whose scan is not there: 55\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    'row, said',
    [
        (('uid11', 0, 0, 0, 1), 'row 81: no subset of'),
        (
            ('uid4', 500, 10, 110, 1),
            'row 81: the point 500, 10, 110 (voxel 749, 3, 5) lies outside',
        ),
        (('uid4', -20, 'x', 100, 1), 'row 81: coordX, coordY, coordZ are -20, x, 100, but must be'),
        (('uid4', -20, 'nan', 100, 1), 'but must be numbers'),
        (('uid4', -20, 10, 100, 2), "row 81: the class is '2', expected 0 (non-nodule) or 1"),
        (('uid4', -20, 10, 100, ''), 'row 81: the column class is empty'),
        (('uid4', -20, 10), 'row 81: the column coordZ is empty'),
    ],
)
def test_a_bad_row_is_refused(luna, tmp_path, capsys, row, said):
    with (luna / 'candidates_V2.csv').open('a') as file:
        file.write(','.join(map(str, row)) + '\n')
    flags = [f'--source={luna}', *SIZE]
    assert said in refusal(luna16_candidates.main, flags, capsys, tmp_path / 'data')


def test_a_bad_table_is_refused(luna, tmp_path, capsys):
    flags, data = [f'--source={luna}', *SIZE], tmp_path / 'data'
    table = luna / 'candidates_V2.csv'
    table.write_text('seriesuid;coordX\n')
    assert 'lacks the column seriesuid' in refusal(luna16_candidates.main, flags, capsys, data)
    table.write_text(','.join(LUNA_COLUMNS) + '\n')
    assert 'holds no candidate' in refusal(luna16_candidates.main, flags, capsys, data)
    table.write_bytes(b'\xff\xfe\x00')
    assert 'is not a CSV file' in refusal(luna16_candidates.main, flags, capsys, data)
    table.unlink()
    assert 'holds no candidates_V2.csv' in refusal(luna16_candidates.main, flags, capsys, data)
    named = [*flags, f'--csv={tmp_path / "none.csv"}']
    assert 'No such file' in refusal(luna16_candidates.main, named, capsys, data)


# Any scans with a table


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
        ((NAME, 2, 2, 12, 0, 'patient0'), ('--coordinates=voxel',), 'row 2: the point'),
        ((NAME, -15, 10, 110, 0, 'patient1'), (), 'scan p0/scan0 has the patient patient1, but'),
        ((NAME, -15, 10, 110, 0, ''), (), 'row 20: the column patient is empty'),
        ((NAME, -15, 10, 110, 0), (), 'row 20: the column patient is empty'),
        ((NAME, -15, 10, 110, 'clot', 'patient0'), ('--classes=a,b',), "label is 'clot', expected"),
        ((NAME, -15, 10, 110, 2, 'patient0'), ('--classes=a,b',), "the label is '2', expected one"),
        ((NAME, -15, 10, 110, 1, 'patient0'), ('--folds=4',), '3 patients cannot be dealt into 4'),
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
    from scanned import write_series

    write_series(tmp_path / 'scans' / 'one', np.zeros((8, 8, 4), np.int16))
    scan = candidates.find_scans(tmp_path / 'scans')[0]
    row = {'scan': 'one', 'x': '3', 'y': '3', 'z': '9', 'label': '0'}
    table = tmp_path / 'list.csv'
    scans = [scan, scan.__class__('two/uid', 'two/uid', scan.files, is_dicom=True)]
    rows = [(2, row), (3, {**row, 'scan': 'two', 'z': '1'})]
    cases = candidates.list_cases(scans, table, rows, ('a', 'b'), None, 2, 0)
    rule = candidates.PointRule((4, 4, 4), None, 'ct', True, 'list.csv')
    candidates.check_points(cases, rule)  # leaves DICOM to the workers
    with pytest.raises(PrepareError, match='list.csv, row 2: the point 3, 3, 9 lies outside'):
        candidates.cut_points(cases[0], rule)
    assert len(candidates.cut_points(cases[1], rule).items) == 1


# Phantoms


def test_the_phantom_of_luna16_holds_nodules_where_it_says(tmp_path):
    write_luna16_candidates(tmp_path / 'luna', 10, (56, 56, 40), 0)
    splits = prepare_luna(tmp_path / 'luna', tmp_path / 'data')
    middles = {0: [], 1: []}
    for records in splits.values():
        for record in records:
            middles[int(record['label'])].append(record['cube'][4, 8, 4, 0])
    assert min(len(found) for found in middles.values()) > 15
    assert np.mean(np.array(middles[1]) > -500) > 0.95
    assert 0.2 < np.mean(np.array(middles[0]) > -500) < 0.8  # vessels and air


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
