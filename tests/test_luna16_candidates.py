"""LUNA16's candidates become cubes in whose middle lies what its table names."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from pointed import SIZE, SPACING, chest_of, metadata_of, read, refusal, world, write_table

from data_prep import luna16_candidates
from data_prep.luna16_candidates import draw, list_jobs, read_candidates
from data_prep.phantoms.points import write_luna16_candidates
from genesis_jax.imaging.points import gather

LUNA_COLUMNS = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'class')


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


def prepare_luna(luna, data_dir, *flags):
    assert (
        luna16_candidates.main([f'--source={luna}', f'--data_dir={data_dir}', *SIZE, *flags]) == 0
    )
    return read(data_dir, 'ncc')


def test_luna16_candidates_are_in_the_middle_of_their_cubes(luna, tmp_path, capsys):
    splits = prepare_luna(luna, tmp_path / 'data', '--negatives_per_positive=all')
    said = capsys.readouterr().out
    assert '--config=configs/ncc.py' in said and 'Scans read: 10, skipped: 0' in said
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
    cases = list_jobs(luna, read_candidates(luna / 'candidates_V2.csv'), folds, ratios, 0)
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
    assert '\nRows skipped, whose scan is not there: 55\n' in capsys.readouterr().out


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
