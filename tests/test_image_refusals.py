"""What cannot be used is not written: a split without an image, an image of two labels."""

import csv

import pytest
from pixels import damage

from data_prep import images


@pytest.fixture
def prepare(frames, tmp_path, capsys):
    """Runs the command on the frames and rows of a table; its status and what it prints."""
    source, _ = frames

    def call(rows=None, columns=('image', 'label', 'patient'), *flags):
        if rows is not None:
            with (tmp_path / 't.csv').open('w', newline='') as file:
                csv.writer(file).writerows([columns, *rows])
            flags = [*flags, f'--csv={tmp_path / "t.csv"}']
        flags = [*flags, f'--source={source}', f'--data_dir={tmp_path / "data"}', '--name=made']
        try:
            status = images.main([*flags, '--size=32,32', '--workers=1'])
        except SystemExit as stop:
            status = stop.code
        return status, ''.join(capsys.readouterr())

    return call


def nothing_left(tmp_path):
    return not list((tmp_path / 'data').rglob('*'))


def test_a_labelled_split_without_an_image_is_no_dataset(frames, prepare, tmp_path):
    source, rows = frames
    splits = ('train', 'train', 'train', 'validation', 'test', 'test')
    rows = [[*row, splits[index // 2]] for index, row in enumerate(rows)]
    for name, *_, split in rows:
        if split == 'validation':
            damage('text', source / name)
    columns = ('image', 'label', 'patient', 'split')
    status, said = prepare(rows, columns, '--split_column=split')
    assert status == 1 and nothing_left(tmp_path)
    assert f'  {rows[6][0]} is no PNG, JPEG, TIFF or BMP file' in said
    assert said.endswith(
        'The validation split has no images, because its files were skipped or gave none, so no '
        'dataset was written; correct those listed, add files or choose another --seed\n'
    )


def test_an_unlabelled_split_without_an_image_is_no_dataset(frames, prepare, tmp_path):
    source, rows = frames
    for name, *_ in rows[2:]:
        damage('text', source / name)
    status, said = prepare(None, (), '--patient_pattern=(.*)/')
    assert status == 1 and nothing_left(tmp_path)
    assert said.endswith(
        'split has no images, because its files were skipped or gave none, so no dataset was '
        'written; correct those listed, add files or choose another --seed\n'
    )


@pytest.mark.parametrize('patient', ['patient0', 'patient2'])
def test_an_image_of_two_labels_is_refused(patient, frames, prepare, tmp_path):
    source, rows = frames
    for copy, (name, *_) in (('x.png', rows[0]), ('y.png', rows[0]), ('same.png', rows[4])):
        (source / copy).write_bytes((source / name).read_bytes())
    copies = [['x.png', 'b', patient], ['y.png', 'c', patient], ['same.png', *rows[4][1:]]]
    status, said = prepare(rows + copies)
    assert status == 1 and nothing_left(tmp_path) and said.count('\n') == 1
    assert said.startswith(f'error: {tmp_path}/t.csv: ')
    assert said.count(' hold one image, labelled ') == 2 and said.endswith('; correct it\n')
    assert all(name in said for name in ('p0/f0.png', 'x.png', 'y.png')) and 'same' not in said


def test_an_image_of_other_findings_is_refused(frames, prepare, tmp_path):
    source, rows = frames
    (source / 'x.png').write_bytes((source / 'p0/f0.png').read_bytes())
    rows = [[name, 'mass|edema', patient] for name, _, patient in rows]
    status, said = prepare([*rows, ['x.png', '', 'patient0']], ('image', 'labels', 'patient'))
    assert status == 1 and nothing_left(tmp_path)
    expected = 'p0/f0.png and x.png hold one image, labelled edema|mass and nothing; correct it\n'
    assert said.endswith(expected)
