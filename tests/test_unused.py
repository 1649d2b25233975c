"""What a source holds that a preparation cannot use is counted in its summary, by kind."""

import numpy as np
import pytest
from PIL import Image
from segmented import prepare

from data_prep import brats, images, lits, luna16, nnunet
from data_prep.lidc import _find_series
from genesis_jax.imaging.images import find_images
from genesis_jax.imaging.scans import find_scans

PHANTOMS = {'lits': 3, 'brats2018': 4, 'nnunet': 5}


def add(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('no image\n')


@pytest.mark.parametrize(
    ('module', 'layout', 'flags'),
    [
        (lits, 'lits', ['--split=1,1,1', '--patches_per_scan=1']),
        (brats, 'brats2018', ['--folds=2']),
        (nnunet, 'nnunet', ['--name=made', '--patches_per_scan=1']),
    ],
)
def test_names_of_no_use_are_counted(module, layout, flags, copied, tmp_path, capsys):
    source = copied(layout)
    add(source, 'more/notes.txt', 'more/tumour.nii.gz', 'more/.hidden')
    assert prepare(module, source, tmp_path / 'data', *flags) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if 'of no use here by their names' in line]
    assert '.nii.gz ' in line and '.txt 1' in line and '.json' not in line


def test_images_count_all_but_their_table(tmp_path, capsys):
    source = tmp_path / 'images'
    add(source, 'p0/notes.txt', 'p1/more.txt', 'p1/film.avi')
    for number in range(4):
        (source / f'p{number}').mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(source / f'p{number}' / 'a.png')
    rows = [f'p{number}/a.png,p{number},{number % 2}\n' for number in range(4)]
    table = source / 'labels.csv'
    table.write_text('image,patient,label\n' + ''.join(rows))
    line = 'Passed over, as of no format that is read: 3 (.txt 2, .avi 1)'
    where = [f'--source={source}', f'--data_dir={tmp_path / "d"}', '--size=32,32', '--workers=1']
    images.main([*where, '--name=with', f'--csv={table}', '--folds=2'])
    assert line in capsys.readouterr().out.splitlines()
    images.main([*where, '--name=without', '--validation_share=0.5'])
    said = capsys.readouterr().out
    assert 'is read: 4 (' in said and '.csv 1' in said
    lines = []
    for find in (find_images, find_scans):
        find(source / 'p0', lines.append, [source / 'p0' / 'notes.txt', source / 'p0' / 'a.png'])
    assert not lines


def test_luna16_and_lidc_tell(tmp_path):
    add(tmp_path, 'subset0/notes.txt', 'subset0/a.mhd', 'subset1/readers.xml')
    lines = []
    luna16.list_jobs(tmp_path, {'train': [0], 'validation': [1]}, lines.append)
    assert lines == [
        'subset0: Passed over, as of no format that is read: 1 (.txt 1)',
        'subset1: Passed over, as of no format that is read: 1 (.xml 1)',
    ]
    lines.clear()
    assert not _find_series(tmp_path, lines.append)
    assert lines == ['Passed over, as of no format that is read: 2 (.mhd 1, .txt 1)']
