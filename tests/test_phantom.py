"""The phantom is a LUNA16 folder of chests that the paper's rule accepts; the demo is real."""

import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import demo
from data_prep.phantom import main, write_luna16
from data_prep.phantoms.thorax import thorax
from data_prep.sampling.cubes import CubeRule, sample_cubes
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_volume

SPACING = (0.7, 0.7, 1.25)


@pytest.fixture(scope='module')
def patient():
    return thorax(np.random.default_rng(0), (288, 288, 112), SPACING)


def test_a_patient_has_lungs_soft_tissue_fat_and_bone(patient):
    hu, _ = patient
    assert hu.dtype == np.int16 and hu.shape == (288, 288, 112)
    shares = {
        'air': (hu < -950).mean(),
        'lung': ((hu > -920) & (hu < -700)).mean(),
        'fat': ((hu > -150) & (hu < -50)).mean(),
        'soft': ((hu > 0) & (hu < 200)).mean(),
        'bone': (hu > 350).mean(),
    }
    least = {'air': 0.3, 'lung': 0.1, 'fat': 0.03, 'soft': 0.1, 'bone': 0.003}
    assert all(shares[tissue] > share for tissue, share in least.items()), shares
    corner = hu[:20, :20].astype(float)
    assert -1010 < corner.mean() < -990 and 15 < corner[corner > -1024].std() < 20


def test_a_patient_lies_in_lps(patient):
    hu, _ = patient
    bone = np.argwhere(hu > 350).mean(axis=0)
    lung = np.argwhere((hu > -920) & (hu < -700)).mean(axis=0)
    assert bone[1] > lung[1]  # the spine is at the back
    trachea = (hu[:, :, -1] < -900) & (hu[:, :, 56] > -200)
    assert trachea.any()  # and the windpipe enters from the head


def test_nodules_are_where_they_are_said_to_be():
    spacing = (1, 1, 1)
    for seed in range(5):
        hu, nodules = thorax(np.random.default_rng(seed), (160, 160, 100), spacing)
        assert nodules
        for nodule in nodules:
            assert 4 <= nodule.diameter <= 20
            x, y, z = (int(n) for n in nodule.centre)
            assert hu[x, y, z] > -500  # denser than any lung


def test_the_papers_rule_finds_cubes_in_every_patient():
    for seed in range(3):
        hu, _ = thorax(np.random.default_rng(seed), (288, 288, 112), SPACING)
        patches = sample_cubes(np.random.default_rng(0), hu, CubeRule())
        assert len(patches.origins) == 32
        assert patches.tissue > 0


def test_the_folder_is_luna16(tmp_path):
    write_luna16(tmp_path, 20, (40, 36, 24), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'subset{n}' for n in range(10)]
    scans = find_scans(tmp_path)
    assert len({scan.files[0].stem for scan in scans}) == 20
    spacings = set()
    for scan in scans:
        uid = scan.files[0].stem
        assert uid.startswith('1.3.6.1.4.1.14519.5.2.1.6279.6001.') and len(uid) == 64
        assert scan.files[0].with_suffix('.raw').stat().st_size == 2 * 40 * 36 * 24
        volume = read_volume(scan, 'ct')
        assert volume.voxels.shape == (40, 36, 24)
        spacings.add(volume.spacing)
        assert 0 not in sitk.ReadImage(str(scan.files[0])).GetOrigin()
    assert len(spacings) == 20


def test_the_seed_decides_the_patients(tmp_path):
    for folder, seed in (('a', 1), ('b', 1), ('c', 2)):
        write_luna16(tmp_path / folder, 10, (20, 20, 16), seed)
    contents = [
        b''.join(path.read_bytes() for path in sorted((tmp_path / folder).rglob('*.raw')))
        for folder in 'abc'
    ]
    assert contents[0] == contents[1] != contents[2]


def test_the_command_refuses_what_it_would_overwrite(tmp_path, capsys):
    command = [f'--out={tmp_path / "new"}', '--shape=20,20,16', '--seed=3']
    assert main(command) == 0
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    assert 'already exists; delete it or choose another --out' in capsys.readouterr().err


# The demo


def test_the_demo_is_prepared_once(tmp_path):
    assert demo.prepare_demo(tmp_path) == 'ct_chest_demo'
    folder = tmp_path / 'ct_chest_demo' / '1.0.0'
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert demo.prepare_demo(tmp_path) == 'ct_chest_demo'
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    builder = tfds.builder_from_directory(folder)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        'train': 192,
        'validation': 48,
    }
    reached = {}
    for split in ('train', 'validation'):
        records = list(builder.as_data_source(split))
        assert {record['cube'].shape for record in records} == {(32, 32, 16, 1)}
        assert min(record['cube'].min() for record in records) >= -1024
        lefts = [int(r['scan_id'].decode().rpartition('x')[2]) + r['origin'][0] for r in records]
        reached[split] = (min(lefts), max(lefts) + 32)
    assert reached['train'][1] <= reached['validation'][0]  # no voxel in both


def test_the_demo_without_its_extra_says_what_to_install(tmp_path):
    script = (
        'import sys; from importlib.machinery import PathFinder\n'
        'find = PathFinder.find_spec\n'
        'PathFinder.find_spec = lambda name, *a: None if name == "slicerio" else find(name, *a)\n'
        'from data_prep.demo import main; main(sys.argv[1:])'
    )
    command = [sys.executable, '-c', script, f'--data_dir={tmp_path}']
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    advice = "needs slicerio; in a checkout of genesis-jax run: pip install -e '.[demo]'"
    assert advice in result.stderr
    assert 'Traceback' not in result.stderr
