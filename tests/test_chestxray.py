"""ChestX-ray as the NIH releases it: two datasets, the official lists, whatever is missing."""

import csv
import re
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import chestxray
from data_prep.formats.chestxray_names import FINDINGS
from data_prep.phantom import main as phantom
from genesis_jax.imaging.images import read_grey

EIGHT = (
    'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass', 'Nodule', 'Pneumonia',
    'Pneumothorax',
)  # fmt: skip


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn') / 'nih'
    assert phantom(['--layout=chestxray', f'--out={folder}', '--shape=48,40']) == 0
    return folder


@pytest.fixture
def source(drawn, tmp_path):
    """The phantom of 40 patients, free to be spoiled."""
    shutil.copytree(drawn, tmp_path / 'nih')
    return tmp_path / 'nih'


@pytest.fixture
def run(source, tmp_path, capsys):
    """Runs the command; what it prints."""

    def call(*flags, status=0):
        flags = [f'--source={source}', f'--data_dir={tmp_path / "data"}', *flags]
        flags += ['--size=32,32', '--workers=1']
        if not status:
            assert chestxray.main(flags) == 0
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stop:
            chestxray.main(flags)
        said = capsys.readouterr().err
        assert stop.value.code == status and said.count('\n') == 1
        assert not (tmp_path / 'data' / 'chestxray').exists()
        return said

    return call


def read(tmp_path, name):
    builder = tfds.builder_from_directory(tmp_path / 'data' / name / '1.0.0')
    records = {split: list(builder.as_data_source(split)) for split in builder.info.splits}
    return records, builder.info.metadata


def ids(records):
    return {record['scan_id'].decode() for record in records}


def table_of(source):
    """Findings and patient, by the image's name without suffix, read independently."""
    with (source / 'Data_Entry_2017.csv').open(newline='') as file:
        rows = list(csv.reader(file))
    assert rows[0][:4] == ['Image Index', 'Finding Labels', 'Follow-up #', 'Patient ID']
    return {row[0].removesuffix('.png'): (row[1].split('|'), row[3]) for row in rows[1:]}


def listed(source, name):
    return {line.removesuffix('.png') for line in (source / name).read_text().split()}


def test_both_datasets_follow_the_official_lists(source, run, tmp_path):
    said = run()
    assert said.count('Split: by patient, 30 told by the column Patient ID\n') == 1
    assert '--config=configs/genesis_xray.py' in said and '--config=configs/dxc.py' in said
    unlabelled, about = read(tmp_path, 'chestxray')
    labelled, declared = read(tmp_path, 'dxc')
    assert about['recipe']['modality'] == 'other' and about['task'] is None
    assert declared['task'] == 'multilabel' and tuple(declared['classes']) == EIGHT
    assert declared['channels'] == ['grey'] and declared['full_range'] is True
    train_val, test = (listed(source, f'{part}_list.txt') for part in ('train_val', 'test'))
    for split in ('train', 'validation'):
        assert ids(unlabelled[split]) == ids(labelled[split])
    assert ids(labelled['train']) | ids(labelled['validation']) == train_val
    assert ids(labelled['test']) == test
    table, splits = table_of(source), {}
    for split, records in labelled.items():
        for record in records:
            names, patient = table[record['scan_id'].decode()]
            assert record['label'].tolist() == [int(finding in names) for finding in EIGHT]
            assert record['patient'].decode() == patient
            assert splits.setdefault(patient, split) == split
        assert len(records) == sum(count for _, count in declared['records'][split])
    assert sum(split == 'validation' for split in splits.values()) == 3  # 11 % of 30
    assert all(sum(r['label'][i] for r in labelled['test']) > 0 for i in range(8))


def test_records_hold_the_pixels_of_grey_and_rgba_files(source, run, tmp_path):
    files = {path.stem: path for path in source.glob('images_*/images/*.png')}
    modes = set()
    for path in files.values():
        with Image.open(path) as image:
            modes.add(image.mode)
    assert modes == {'L', 'RGBA'} and len(list(source.glob('images_*'))) > 1
    run('--only=dxc', '--findings=14')
    records, declared = read(tmp_path, 'dxc')
    assert tuple(declared['classes']) == FINDINGS and len(FINDINGS) == 14
    assert not (tmp_path / 'data' / 'chestxray').exists()
    for record in sum(records.values(), []):
        path = files[record['scan_id'].decode()]
        assert record['cube'].shape == (32, 32, 1) and record['window'].tolist() == [[0, 255]]
        np.testing.assert_array_equal(record['cube'][..., 0], read_grey(path, (32, 32)).pixels)


def test_what_is_absent_damaged_or_unlisted_is_reported(source, run, tmp_path):
    files = sorted(source.glob('images_*/images/*.png'))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:300])
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(source / 'images_001' / '99999999_000.png')
    unknown = source / 'train_val_list.txt'
    unknown.write_text(unknown.read_text() + '88888888_000.png\n')
    said = run()
    assert said.count(f'Listed, but not there: {files[0].name}, 88888888_000.png\n') == 2
    assert said.count('There, but in neither list: 99999999_000.png\n') == 2
    assert said.count('Listed, but not in Data_Entry_2017.csv: 88888888_000.png\n') == 2
    assert said.count(f'  {files[1].relative_to(source)} is damaged (Truncated') == 2
    records, _ = read(tmp_path, 'dxc')
    assert sum(map(len, records.values())) == len(files) - 2


def test_a_part_of_the_download_will_do(source, run):
    shutil.rmtree(source / 'images_002')
    left = len(list(source.glob('images_*/images/*.png')))
    said = run('--only=dxc')
    assert f'Files read: {left}, skipped: 0' in said
    assert re.search(r'Listed, but not there: \d{8}_\d{3}.png, .* and \d+ more\n', said)


def edit(source, name, old, new):
    text = (source / name).read_text()
    assert old in text
    (source / name).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    'spoil, said',
    [
        (
            lambda s: edit(s, 'Data_Entry_2017.csv', '_000.png,Atelectasis', '_000.png,Atelektase'),
            "Data_Entry_2017.csv, row 2: the finding is 'Atelektase', expected one of Atelectasis",
        ),
        (
            lambda s: edit(s, 'Data_Entry_2017.csv', 'Patient ID', 'Person'),
            'Data_Entry_2017.csv lacks the column Patient ID',
        ),
        (
            lambda s: edit(s, 'Data_Entry_2017.csv', '00000002_000', '00000001_000'),
            'the image 00000001_000.png is listed twice; remove one of the rows',
        ),
        (
            lambda s: (s / 'Data_Entry_2017.csv').unlink(),
            'holds no Data_Entry_2017.csv; put it there, or give --csv',
        ),
        (
            lambda s: (s / 'test_list.txt').unlink(),
            'holds no test_list.txt; download it from the NIH, beside the images',
        ),
        (
            lambda s: edit(s, 'test_list.txt', '00000004_000', '00000001_000'),
            '00000001_000.png is in both lists; download them again',
        ),
        (
            lambda s: edit(s, 'Data_Entry_2017.csv', ',0,4,', ',0,1,'),
            'patient 1 is in both lists: 00000001_000.png and 00000004_000.png; download them',
        ),
        (
            lambda s: shutil.copytree(s / 'images_001', s / 'again'),
            'images_001/images/00000001_000.png are one image; keep one',
        ),
        (
            lambda s: [shutil.rmtree(folder) for folder in s.glob('images_*')],
            'listed images, such as 00000001_000.png; unpack images_001.tar.gz and so on there',
        ),
    ],
)
def test_a_release_that_contradicts_itself_is_refused(spoil, said, source, run):
    spoil(source)
    assert said in run(status=1)


@pytest.mark.parametrize(
    ('kept', 'whose'), [('00000001_', 'of one patient only (1)'), ('x', 'of no patient')]
)
def test_one_patient_cannot_train_and_validate(kept, whose, source, run):
    train_val = listed(source, 'train_val_list.txt')
    for path in source.glob('images_*/images/*.png'):
        if path.stem in train_val and not path.name.startswith(kept):
            path.unlink()
    said = f'the radiographs of train_val_list.txt that are there are {whose}, at least two needed'
    assert f'{said} to train and validate; add radiographs of others\n' in run(status=1)


def test_no_copy_of_a_test_image_is_pretrained_on(source, run, tmp_path):
    """Under another name, and stored in another format."""
    files = {path.stem: path for path in source.glob('images_*/images/*.png')}
    trained = sorted(listed(source, 'train_val_list.txt'))[:2]
    for copy, tested in zip(trained, sorted(listed(source, 'test_list.txt')), strict=False):
        with Image.open(files[tested]) as image:
            image.convert('RGB').save(files[copy])
    said = run('--only=chestxray')
    assert f'skipped: {len(trained)}\n' in said and 'holds the same image as images_001/' in said
    records, _ = read(tmp_path, 'chestxray')
    assert set(records) == {'train', 'validation'}
    kept = ids(records['train']) | ids(records['validation'])
    assert kept == listed(source, 'train_val_list.txt') - set(trained)


def test_what_is_there_is_not_overwritten(run, tmp_path, capsys):
    run('--only=dxc')
    said = run(status=1)
    assert 'data/dxc/1.0.0 already exists; delete that folder or make the other alone' in said
    assert 'with --only=chestxray, or choose another --data_dir' in said
    said = run('--only=dxc', status=1)
    assert 'already exists; delete that folder or choose another --data_dir' in said
    assert 'the file nope.csv does not exist; check its name' in run('--csv=nope.csv', status=2)


def test_the_phantom_has_a_patient_for_every_split(tmp_path, capsys):
    flags = ['--layout=chestxray', f'--out={tmp_path / "few"}', '--shape=48,40']
    with pytest.raises(SystemExit):
        phantom([*flags, '--patients=3'])
    assert '--patients is 3; chestxray needs at least 4' in capsys.readouterr().err
    assert phantom([*flags, '--patients=4']) == 0
    flags = [f'--source={tmp_path / "few"}', f'--data_dir={tmp_path / "d"}', '--size=32,32']
    assert chestxray.main([*flags, '--workers=1']) == 0
