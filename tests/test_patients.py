"""Scans and images of one patient never lie in two splits, and labels are no scans."""

import re

import numpy as np
import pytest
import tensorflow_datasets as tfds
from scanned import write, write_series

from data_prep import scans, slices
from data_prep.phantom import main as phantom
from data_prep.splits.patients import infer_patients, like_sequences
from genesis_jax.imaging.scans import Scan, find_scans

CUBES = ['--cube_size=16,16,16', '--cubes_per_scan=2']


@pytest.mark.parametrize(
    ('ids', 'patients'),
    [
        (['a', 'b', 'c'], ['a', 'b', 'c']),
        (['p1/t1', 'p1/t2', 'p2/t1'], ['p1', 'p1', 'p2']),
        (['HGG/p1/t1', 'HGG/p1/t2', 'LGG/p1/t1'], ['HGG/p1', 'HGG/p1', 'LGG/p1']),
        (['HGG/p1/T1.5/a', 'HGG/p1/T2.6/b', 'LGG/p2/T1.7/c'], ['HGG/p1', 'HGG/p1', 'LGG/p2']),
        (['all/p1/study/1.2', 'all/p1/other/1.3', 'all/p2/1.4'], ['all/p1', 'all/p1', 'all/p2']),
        (['sub-1/anat/T1w', 'sub-1/dwi/dwi', 'sub-2/anat/T1w'], ['sub-1', 'sub-1', 'sub-2']),
        (['imagesTr/a', 'imagesTr/b', 'imagesTs/c'], ['imagesTr/a', 'imagesTr/b', 'imagesTs/c']),
        (['Training Batch 1/v', 'test/v'], ['Training Batch 1/v', 'test/v']),
        (['flat/a', 'flat/b'], ['flat/a', 'flat/b']),
        (['raw/sub-1/a', 'derivatives/x/sub-1/a', 'raw/sub-2/a'], ['sub-1', 'sub-1', 'sub-2']),
        (['sub-1_ses-1_T1w', 'sub-1_ses-2_T1w', 'sub-2_T1w'], ['sub-1', 'sub-1', 'sub-2']),
        (['T1/sub-1_T1w', 'T2/sub-1_T2w', 'T1/sub-2_T1w'], ['sub-1', 'sub-1', 'sub-2']),
        (['a/sub-1', 'a/sub-x-1_a', 'b/sub-2'], ['a', 'a', 'b']),
        (['images/a_0000', 'images/a_0001', 'images/b_0000'], ['images/a', 'images/a', 'images/b']),
        (['s_0000', 's_0001', 's_0002'], ['s_0000', 's_0001', 's_0002']),
        (['s_0000', 's_0001', 't_0001'], ['s_0000', 's_0001', 't_0001']),
        (['training_7/t1', 'training_7/t2', 'x'], ['training_7', 'training_7', 'x']),
    ],
)  # fmt: skip
def test_folders_tell_the_patients(ids, patients):
    found = infer_patients([Scan(scan_id, scan_id, ()) for scan_id in ids])
    assert [found[scan_id] for scan_id in ids] == patients


NUMBERS = range(4)


@pytest.mark.parametrize(
    ('ids', 'example'),
    [
        (
            [f'IXI-T{t}/IXI00{n}-Guys-08{n}-T{t}' for n in NUMBERS for t in (1, 2)],
            'IXI-T1 and IXI-T2 both hold IXI000-Guys-080',
        ),
        ([f'T{t}/p{n}/x{t}' for n in NUMBERS for t in (1, 2)], 'T1 and T2 both hold p0'),
        ([f'T{t}/p_{n}' for n in NUMBERS for t in (1, 2)], 'T1 and T2 both hold p_0'),
        ([f'all/T{t}/p{n}' for n in NUMBERS for t in (1, 2)], 'all/T1 and all/T2 both hold p0'),
        # Patients, whose visits or sequences have the same names.
        ([f'p{n}/visit{v}/x' for n in NUMBERS for v in (1, 2)], ''),
        ([f'p{n}/visit_{v}' for n in NUMBERS for v in (1, 2)], ''),
        ([f'p{n}/p{n}_t{t}' for n in NUMBERS for t in (1, 2)], ''),
        ([f'sub-{n}/ses-{v}/x' for n in (1, 2) for v in NUMBERS], ''),
        ([f's{n % 2}/p{n}/x' for n in NUMBERS], ''),
        ([f'p{n}' for n in NUMBERS], ''),
    ],
)
def test_folders_that_look_like_sequences_are_told(ids, example):
    said = like_sequences(infer_patients([Scan(scan_id, scan_id, ()) for scan_id in ids]))
    assert f'({example})' in said if example else not said


def write_dicom(folder, named):
    """A series for every path below the folder, whose files name this patient."""
    for number, (path, name) in enumerate(named.items()):
        tags = {'t0010_0020': name, 't0020_000e': f'1.2.{number}'}
        write_series(folder / path, np.zeros((8, 8, 3), np.int16), **tags)


def test_folders_of_one_dicom_patient_are_joined(tmp_path):
    write_dicom(tmp_path, {'study10': 'ANN', 'study11': 'ANN', 'study20': 'BEN', 'unnamed': ''})
    found = infer_patients(find_scans(tmp_path))
    assert list(found.values()) == ['study10', 'study10', 'study20', 'unnamed']
    # What anonymising made all alike tells nothing.
    alone = infer_patients(find_scans(tmp_path / 'study10') + find_scans(tmp_path / 'study11'))
    assert len(set(alone.values())) == 2


@pytest.mark.parametrize(
    ('named', 'patients'),
    [
        # By sequence, and by year with a patient who returns.
        (
            {'T1/a': 'ANN', 'T1/b': 'BEN', 'T2/a': 'ANN', 'T2/b': 'BEN'},
            ['T1/a/1.2.0', 'T1/b/1.2.1', 'T1/a/1.2.0', 'T1/b/1.2.1'],
        ),
        (
            {'2019/a': 'ANN', '2019/b': 'BEN', '2020/a': 'ANN', '2020/b': ''},
            ['2019/a/1.2.0', '2019/b/1.2.1', '2019/a/1.2.0', '2019/a/1.2.0'],
        ),
        # The folder is left to those whom nothing names, in whatever order they come.
        (
            {'2019/a': '', '2019/b': 'BEN', '2019/c': 'ANN', '2018': 'BEN'},
            ['2018', '2019', '2018', '2019/c/1.2.2'],
        ),
    ],
)
def test_dicom_patients_are_told_apart_within_a_folder(named, patients, tmp_path):
    write_dicom(tmp_path, named)
    assert list(infer_patients(find_scans(tmp_path)).values()) == patients


def test_folders_of_one_patient_each_stay_so_whatever_anonymising_left(tmp_path):
    write_dicom(tmp_path, {'p1/a': 'ANON', 'p1/b': 'ANON', 'p2/a': 'ANON', 'p2/b': ''})
    assert list(infer_patients(find_scans(tmp_path)).values()) == ['p1', 'p1', 'p2', 'p2']


@pytest.fixture(scope='module')
def brats(tmp_path_factory):
    """Five patients in HGG and LGG, each a folder of four sequences and their labels."""
    out = tmp_path_factory.mktemp('brats') / 'source'
    flags = ['--layout=brats2018', '--patients=5', '--shape=40,40,24', f'--out={out}']
    assert phantom(flags) == 0
    return out


def homes(folder):
    """Scan ids by split."""
    builder = tfds.builder_from_directory(folder / 'd' / '1.0.0')
    assert set(builder.info.splits) == {'train', 'validation'}
    return [
        {record['scan_id'].decode() for record in builder.as_data_source(split)}
        for split in ('train', 'validation')
    ]


@pytest.mark.parametrize(
    ('module', 'flags', 'config'),
    [(scans, CUBES, 'genesis_mri'), (slices, ['--size=32,32'], 'genesis_ct_2d')],
)
def test_sequences_of_a_patient_stay_together_without_their_labels(
    module, flags, config, brats, tmp_path, capsys
):
    flags = [*flags, f'--source={brats}', f'--data_dir={tmp_path}', '--name=d', '--modality=mri']
    assert module.main([*flags, '--workers=1']) == 0
    said = capsys.readouterr().out
    assert 'Scans read: 20, skipped: 0' in said
    assert 'Skipped, as labels by their names: 5 of 25 files (HGG/' in said
    assert 'Split: by patient, 5 told by folders and files (HGG/' in said
    assert f'--config=configs/{config}.py' in said
    train, validation = homes(tmp_path)
    assert len(train) == 16 and len(validation) == 4
    assert not any(scan_id.endswith('_seg') for scan_id in train | validation)
    assert not {i.rpartition('/')[0] for i in train} & {i.rpartition('/')[0] for i in validation}


def test_a_pattern_tells_patients_otherwise(brats, tmp_path, capsys):
    flags = [f'--source={brats}', f'--data_dir={tmp_path}', '--name=d', '--modality=mri', *CUBES]
    assert scans.main([*flags, '--patient_pattern=_(t1|t1ce|t2|flair)$', '--workers=1']) == 0
    assert 'Split: by patient, 4 found by --patient_pattern' in capsys.readouterr().out
    ends = [{re.search('[^_]+$', scan_id)[0] for scan_id in split} for split in homes(tmp_path)]
    assert len(ends[0]) == 3 and len(ends[1]) == 1 and not ends[0] & ends[1]


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (
            ['--patient_pattern=(Brats18)'],
            'the scans are of one patient only (Brats18), at least two needed to split by patient; '
            'tell them apart with --patient_pattern, or add scans\n',
        ),
        (['--patient_pattern=nobody'], 'nobody finds nothing in the name of the scan HGG/Brats18'),
        (['--patient_pattern=nobody'], '_flair; correct it or leave it out\n'),
    ],
)
@pytest.mark.parametrize('module', [scans, slices])
def test_patterns_that_cannot_split_are_refused(module, flags, said, brats, tmp_path, capsys):
    flags = [*flags, f'--source={brats}', f'--data_dir={tmp_path}', '--name=d', '--modality=mri']
    with pytest.raises(SystemExit):
        module.main(flags)
    error = capsys.readouterr().err
    assert said in error and error.count('\n') == 1


def test_the_summary_says_that_folders_look_like_sequences(tmp_path, capsys):
    for number in range(3):
        for folder in ('T1', 'T2'):
            (tmp_path / 's' / folder).mkdir(parents=True, exist_ok=True)
            voxels = np.random.default_rng(number).normal(size=(40, 40, 24)).astype(np.float32)
            write(tmp_path / 's' / folder, f'p{number}_{folder}.nii.gz', voxels)
    flags = [f'--source={tmp_path}/s', f'--data_dir={tmp_path}', '--name=d', '--modality=mri']
    assert scans.main([*flags, *CUBES, '--workers=1']) == 0
    lines = capsys.readouterr().out.splitlines()
    (index,) = [number for number, line in enumerate(lines) if line.startswith('Split: ')]
    assert '2 told by folders and files (T1, T2)' in lines[index]
    assert '(T1 and T2 both hold p0)' in lines[index + 1]
