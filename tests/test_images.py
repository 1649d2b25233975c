"""Folders of 2D images become grey records; a CSV of labels is taken at its word."""

import csv
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from pixels import SIZE, damage, pixels_of

from data_prep import images
from data_prep.phantom import main as phantom
from genesis_jax.imaging.images import read_grey

FIXED = ('--size=32,32', '--workers=1')


def write_table(path, columns, rows):
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command on a source; what it prints. A refusal leaves nothing behind."""
    data_dir = tmp_path / 'data'

    def call(source, *flags, status=0, name='made'):
        flags = [f'--source={source}', f'--data_dir={data_dir}', f'--name={name}', *FIXED, *flags]
        if not status:
            assert images.main(flags) == 0
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stop:
            images.main(flags)
        said = capsys.readouterr().err
        assert stop.value.code == status and said.count('\n') == 1
        assert not data_dir.exists() or not list(data_dir.iterdir())
        return said

    return call


def read(tmp_path, name='made'):
    builder = tfds.builder_from_directory(tmp_path / 'data' / name / '1.0.0')
    records = {split: list(builder.as_data_source(split)) for split in builder.info.splits}
    return records, builder.info.metadata


def test_12_bits_of_16_are_pointed_out_and_spread_if_asked_for(frames, run, tmp_path):
    values = pixels_of(0, 4096, np.uint16)
    Image.fromarray(values).save(frames[0] / 'deep.png')
    said = run(frames[0], name='dark')
    assert (
        'Files that use less than an eighth of their bit depth, so are nearly black' in said
        and ('the own range of each): 1\n' in said)
    )
    assert 'nearly black' not in run(frames[0], '--window=robust')
    image = read_grey(frames[0] / 'deep.png', SIZE, 'robust')
    low, high = np.percentile(values[::4, ::4], (0.5, 99.5))
    assert image.window == pytest.approx((low, high))
    np.testing.assert_array_equal(image.pixels, values.T)


# Without labels


def test_a_folder_without_labels_is_split_by_patient(frames, run, tmp_path):
    source, _ = frames
    damage('flipped', source / 'p0' / 'bad.png')
    said = run(source, '--patient_pattern=(.*)/')
    assert 'Files read: 12, skipped: 1\n  train: 10 images from 10 files of 5 patients\n' in said
    assert 'Split: by patient, 6 found by --patient_pattern\n' in said
    assert '  p0/bad.png is damaged (broken PNG file' in said
    assert '--config=configs/genesis_ultrasound.py' in said
    records, metadata = read(tmp_path)
    patients = {
        split: {record['scan_id'].decode().partition('/')[0] for record in found}
        for split, found in records.items()
    }
    assert not patients['train'] & patients['validation']
    for record in records['train'] + records['validation']:
        assert record['cube'].shape == (32, 32, 1) and record['cube'].dtype == np.int16
        assert record['window'].tolist() == [[0, 255]] and record['spacing'].tolist() == [1, 1, 1]
        shown = next(source.glob(f'{record["scan_id"].decode()}.*'))
        np.testing.assert_array_equal(record['cube'][..., 0], read_grey(shown, (32, 32)).pixels)
    assert str(source) not in json.dumps(metadata)


def test_patients_that_nothing_tells_are_pointed_out(frames, run):
    assert 'Every image counts as a patient of its own' in run(frames[0])


@pytest.mark.parametrize(
    'flags, status, said',
    [
        (['--size=33,32'], 2, "must divide by 32, found '33,32'; the nearest is 32,32"),
        (['--size=32'], 2, "expected two numbers x,y, found '32'"),
        (['--classes=a,b'], 2, '--classes is of a CSV file; give --csv, too'),
        (['--split_column=set'], 2, '--split_column is of a CSV file; give --csv, too'),
        (['--folds=5'], 2, '--folds is of a CSV file; give --csv, too'),
        (['--csv=nope.csv'], 2, 'the file nope.csv does not exist; check its name'),
        (['--patient_pattern=(q)'], 1, 'in the name of the image p0/f0; correct it or leave'),
        (['--patient_pattern=p'], 1, 'patient; tell them apart with --patient_pattern, or add im'),
    ],
)
def test_options_that_cannot_be_met_are_refused(flags, status, said, frames, run):
    assert said in run(frames[0], *flags, status=status)


@pytest.mark.parametrize(
    ('columns', 'flags', 'status', 'said'),
    [
        (
            ('image', 'label', 'patient'),
            ['--patient_pattern=q(.)'],
            1,
            '--patient_pattern and the column patient of ',
        ),
        (('image', 'label', 'set'), ['--validation_share=0.5'], 2, 'is of images without labels'),
        (
            ('image', 'label', 'set'),
            ['--split_column=set', '--folds=3'],
            2,
            '--folds and --split_column exclude each other; give one of them',
        ),
    ],
)
def test_options_that_do_nothing_are_refused(columns, flags, status, said, frames, run, tmp_path):
    source, rows = frames
    table = write_table(tmp_path / 't.csv', columns, rows)
    assert said in run(source, f'--csv={table}', *flags, status=status)


def test_copies_under_another_name_are_kept_once(frames, run, tmp_path):
    source, _ = frames
    Image.open(source / 'p0' / 'f0.png').save(source / 'p0' / 'copy.tif')
    Image.open(source / 'p0' / 'f0.png').save(source / 'other.tif')
    said = run(source, '--patient_pattern=(.*?)(/|$)')
    assert 'Files read: 12, skipped: 2\n' in said or 'Files read: 13, skipped: 1\n' in said
    records, _ = read(tmp_path)
    pixels = {split: {r['cube'].tobytes() for r in found} for split, found in records.items()}
    assert not pixels['train'] & pixels['validation']


def test_a_folder_without_images_is_refused(run, tmp_path):
    (tmp_path / 'none').mkdir()
    assert 'holds no image (.png, .jpg' in run(tmp_path / 'none', status=1)


# With labels


def test_a_table_of_classes(frames, run, tmp_path):
    source, rows = frames
    damage('cut', source / 'p9.png')
    Image.fromarray(pixels_of(30)).save(source / 'extra.png')
    rows[3][0] = rows[3][0].rpartition('.')[0]  # the suffix may be left out
    rows += [['p9.png', 'a', 'patient9'], ['gone.png', 'b', 'patient5']]
    table = write_table(tmp_path / 't.csv', ('image', 'label', 'patient'), rows)
    said = run(source, f'--csv={table}')
    assert 'Files read: 12, skipped: 1' in said and '  p9.png is damaged' in said
    assert 'Listed in t.csv, but not there: gone.png\n' in said
    assert 'There, but not listed in t.csv: extra.png\n' in said
    assert '--config=configs/iuc.py' in said
    records, metadata = read(tmp_path)
    assert metadata['task'] == 'classification' and metadata['classes'] == ['a', 'b', 'c']
    assert metadata['channels'] == ['grey'] and metadata['full_range'] is True
    expected = {row[0].partition('.')[0]: row[1:] for row in rows}
    patients = {}
    for split, found in records.items():
        for record in found:
            label, patient = expected[record['scan_id'].decode()]
            assert 'abc'[record['label']] == label and record['patient'].decode() == patient
            assert record['cube'].shape == (32, 32, 1) and record['window'].shape == (1, 2)
            assert patients.setdefault(patient, split) == split
    assert sorted(set(patients.values())) == ['fold_0', 'fold_1', 'fold_2']


def test_a_table_of_findings_and_given_splits(frames, run, tmp_path):
    source, rows = frames
    cells = ['', 'mass', 'mass | edema', 'No Finding']
    splits = ('train', 'train', 'train', 'validation', 'validation', 'test')
    given = [
        [row[0], cells[index % 4], row[2], splits[index // 2]] for index, row in enumerate(rows)
    ]
    table = write_table(tmp_path / 't.csv', ('image', 'labels', 'patient', 'set'), given)
    assert 'The column set of t.csv was not used' in run(source, f'--csv={table}', name='assigned')
    said = run(
        source, f'--csv={table}', '--split_column=set', '--classes=mass,node,edema', name='dxc'
    )
    assert '  train: 6 images (3 with mass, 0 with node, 1 with edema) from 6 files' in said
    assert '--config=configs/dxc.py' in said
    records, metadata = read(tmp_path, 'dxc')
    assert metadata['task'] == 'multilabel' and metadata['classes'] == ['mass', 'node', 'edema']
    assert {split: len(found) for split, found in records.items()} == {
        'train': 6, 'validation': 4, 'test': 2,
    }  # fmt: skip
    answers = [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]]
    for record in records['train']:
        index = int(record['scan_id'].decode().partition('f')[2])
        assert record['label'].dtype == np.int64
        assert record['label'].tolist() == answers[index % 4]
    assert read(tmp_path, 'assigned')[1]['classes'] == ['edema', 'mass']


def test_an_image_of_two_patients_is_kept_once(frames, run, tmp_path):
    source, rows = frames
    (source / 'p0' / 'f0.png').unlink()
    (source / 'p0' / 'f0.png').write_bytes((source / 'p2' / 'f4.png').read_bytes())
    rows[4][1] = rows[0][1]
    table = write_table(tmp_path / 't.csv', ('image', 'label', 'patient'), rows)
    said = run(source, f'--csv={table}')
    assert 'Files read: 11, skipped: 1' in said
    one, other = ('p0/f0.png', 'patient0'), ('p2/f4.png', 'patient2')
    assert any(
        f'  {skipped[0]} holds the same image as {kept[0]}, of patient {kept[1]}\n' in said
        for skipped, kept in ((one, other), (other, one))
    )


def change(rows, row, column, value):
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    'columns, spoil, flags, said',
    [
        (
            ('image', 'label', 'patient'),
            lambda rows: change(rows, 2, 1, 'tumour'),
            ['--classes=a,b,c'],
            "t.csv, row 4: the label is 'tumour', expected one of a, b, c; correct it or add",
        ),
        (
            ('image', 'labels', 'patient'),
            lambda rows: change(rows, 2, 1, 'a|tumour'),
            ['--classes=a,b,c'],
            "t.csv, row 4: the finding is 'tumour', expected one of a, b, c; correct it or add",
        ),
        (
            ('image', 'label', 'patient'),
            lambda rows: change(rows, 2, 1, 'a|b'),
            [],
            "t.csv, row 4: the label is 'a|b'; name the column labels if an image may have several",
        ),
        (
            ('image', 'label', 'patient'),
            lambda rows: change(rows, 2, 1, ''),
            [],
            't.csv, row 4: the column label is empty; fill it in or remove the row',
        ),
        (
            ('image', 'labels', 'patient'),
            lambda rows: [[row[0], 'no finding', row[2]] for row in rows],
            [],
            't.csv names no finding in its column labels; fill it in',
        ),
        (
            ('image', 'class', 'patient'),
            list,
            [],
            'needs either the column label, for one class an image, or the column labels',
        ),
        (('file', 'label', 'patient'), list, [], 't.csv lacks the column image'),
        (
            ('image', 'label', 'patient'),
            lambda rows: [*rows, rows[0]],
            [],
            't.csv, row 14: the image p0/f0.png is listed in row 2 already; remove one of the rows',
        ),
        (
            ('image', 'label', 'patient'),
            lambda rows: [[f'elsewhere/{row[0]}', *row[1:]] for row in rows],
            [],
            'lists 12 images and the source has none of them, such as elsewhere/p0/f0.png; check',
        ),
        (
            ('image', 'label', 'patient'),
            lambda rows: change(rows, 2, 2, ''),
            [],
            't.csv, row 4: the column patient is empty; fill it in',
        ),
        (
            ('image', 'label', 'set'),
            lambda rows: [[*row[:2], 'training'] for row in rows],
            ['--split_column=set'],
            "t.csv, row 2: the split is 'training', expected train, validation, test or a fold",
        ),
        (
            ('image', 'label', 'patient'),
            lambda rows: [[*row[:2], 'one'] for row in rows],
            [],
            '1 patient cannot be assigned to 3 folds; lower --folds or add patients',
        ),
    ],
)
def test_a_table_that_cannot_be_taken_is_refused(
    columns, spoil, flags, said, frames, run, tmp_path
):
    source, rows = frames
    table = write_table(tmp_path / 't.csv', columns, spoil(rows))
    assert said in run(source, f'--csv={table}', *flags, status=1)


def test_the_ultrasound_phantom_is_prepared_by_the_command_it_prints(run, tmp_path, capsys):
    out = tmp_path / 'phantom'
    flags = ['--layout=ultrasound', f'--out={out}', '--patients=6', '--shape=48,40']
    assert phantom(flags) == 0
    command = capsys.readouterr().out.partition('data_prep.images ')[2].split()
    assert command[:3] == [f'--source={out}', f'--csv={out}/labels.csv', '--name=iuc']
    said = run(out, command[1], name='iuc')
    assert 'fold_0: 12 images (4 of RoI, 4 of background, 4 of bulb)' in said
    with pytest.raises(SystemExit):
        phantom(['--layout=ultrasound', f'--out={tmp_path / "x"}', '--shape=32,32,32'])
    assert '--shape is 32,32,32; ultrasound needs 2 numbers' in capsys.readouterr().err
