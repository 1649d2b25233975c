"""Patches inside masks, whatever the masks are called, and the default rule for any folder."""

import json
from functools import partial

import masked
import numpy as np
import pytest
from masked import ORGAN, SHAPE, mask_of, scan_of, write, write_scans

from data_prep import luna16, scans
from data_prep.phantom import write_luna16
from data_prep.sampling.cubes import CubeRule, sample_cubes
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.label_files import masks_by_name
from genesis_jax.imaging.scans import find_scans

SIZE = ['--cube_size=16,16,8', '--cubes_per_scan=12', '--workers=1', '--validation_share=0.25']


prepare, read = partial(masked.prepare, SIZE, name='organ'), partial(masked.read, name='organ')


def about(data_dir, name='organ'):
    return json.loads((data_dir / name / '1.0.0' / 'metadata.json').read_text())


def centres(records, size=(16, 16, 8)):
    return [tuple(np.add(record['origin'], size) - np.array(size) // 2) for record in records]


@pytest.fixture
def source(tmp_path):
    """Four scans, whose masks are in `organs`; each file with its axes in another order."""
    for case in range(4):
        path = tmp_path / 'organs' / f'case{case}.nii.gz'
        write(path, mask_of(), orientation=('RAS', 'LPS', 'LPS', 'SPL')[case])
    return write_scans(tmp_path / 'scans')


# Inside


def test_patches_are_centred_in_the_masks(source, tmp_path, capsys):
    assert prepare(source, tmp_path, f'--inside={tmp_path / "organs"}') == 0
    records = read(tmp_path)
    assert len(records) == 48 and 'skipped: 0' in capsys.readouterr().out
    organ = mask_of()
    assert all(organ[centre] for centre in centres(records))
    starts = {}
    for record in records:
        case = int(record['scan_id'].decode()[-6])
        x, y, z = record['origin']
        expected = scan_of(case)[x : x + 16, y : y + 16, z : z + 8]
        np.testing.assert_array_equal(record['cube'][..., 0], expected)
        starts.setdefault(case, set()).add((x, y, z))
    assert all(len(own) == 12 for own in starts.values())  # each around another voxel
    assert starts[0] != starts[1]  # each scan has draws of its own
    assert 'valid' not in records[0] and about(tmp_path)['recipe']['inside'] is True


def test_draws_inside_depend_on_the_scan_and_the_seed_alone(source, tmp_path):
    inside = f'--inside={tmp_path / "organs"}'
    for name, seed in (('organ', 0), ('other', 1)):
        assert prepare(source, tmp_path, inside, f'--seed={seed}', name=name) == 0
    (source / 'imagesTr' / 'case2_0000.nii.gz').unlink()
    assert prepare(source, tmp_path, inside, name='fewer') == 0
    all_of, other, fewer = (
        {(record['scan_id'], *centre) for record, centre in zip(r, centres(r), strict=True)}
        for r in (read(tmp_path, name=name) for name in ('organ', 'other', 'fewer'))
    )
    assert len(fewer) == 36 and fewer < all_of and other != all_of


def test_masks_are_resampled_with_their_scans(source, tmp_path):
    flags = f'--inside={tmp_path / "organs"}', '--spacing=2,1,1'
    assert prepare(source, tmp_path, *flags) == 0
    organ = [(part.start, part.stop) for part in ORGAN]
    for x, y, z in centres(read(tmp_path)):
        for index, (first, end) in zip((x * 2, y, z / 2), organ, strict=True):
            assert first - 0.5 <= index <= end - 0.5


def test_only_the_labels_asked_for_count(source, tmp_path, capsys):
    organ = mask_of(value=1)
    organ[14:18, 22:26, 9:11] = 3
    for case in range(4):
        write(tmp_path / 'organs' / f'case{case}.nii.gz', organ)
    inside = f'--inside={tmp_path / "organs"}'
    assert prepare(source, tmp_path, inside, '--inside_labels=2,3') == 0
    assert {organ[centre] for centre in centres(read(tmp_path))} == {3}
    assert about(tmp_path)['recipe']['inside_labels'] == [2, 3]
    assert prepare(source, tmp_path, inside, '--inside_labels=5', name='none') == 1
    said = capsys.readouterr().out
    assert 'case0_0000.nii.gz has a mask without a voxel of 5 (case0.nii.gz); correct it' in said


def test_values_that_rounding_moved_count_as_whole(source, tmp_path):
    organ = mask_of(value=1).astype(np.float32)
    organ[14:18, 22:26, 9:11] = 3
    for case in range(4):
        write(tmp_path / 'organs' / f'case{case}.nii.gz', organ * 0.9999 + 1e-4)
    inside = f'--inside={tmp_path / "organs"}'
    assert prepare(source, tmp_path, inside) == 0  # a ten-thousandth is no organ
    assert {organ[centre] for centre in centres(read(tmp_path))} == {1, 3}
    assert prepare(source, tmp_path, inside, '--inside_labels=3', name='three') == 0
    assert {organ[centre] for centre in centres(read(tmp_path, name='three'))} == {3}


def test_a_mask_at_the_edge_gives_patches_moved_into_the_scan():
    mask = np.zeros(SHAPE, bool)
    mask[:3, :2, 20:] = True
    rule = CubeRule((16, 16, 8), 50, 50, (0, 0, 0), (0, 0, 0), max_tissue=1)
    cubes = sample_cubes(np.random.default_rng(0), scan_of(0), rule, mask)
    np.testing.assert_array_equal(np.unique(cubes.origins, axis=0), [(0, 0, 16)])
    assert len(cubes.origins) == mask.sum() == 24  # no more than it has voxels


def test_scans_whose_patches_were_moved_are_counted(source, tmp_path, capsys):
    write(tmp_path / 'organs' / 'case2.nii.gz', mask_of((slice(20, 30), slice(20, 30), slice(3))))
    assert prepare(source, tmp_path, f'--inside={tmp_path / "organs"}') == 0
    moved = [r for r in read(tmp_path) if not mask_of()[tuple(r['origin'] + (8, 8, 4))]]
    assert {int(record['origin'][2]) for record in moved} == {0}
    assert {record['scan_id'] for record in moved} == {b'imagesTr/case2_0000'}
    assert 'so patches were moved into the scan: 1\n' in capsys.readouterr().out


def test_scans_without_a_usable_mask_are_named_and_skipped(source, tmp_path, capsys):
    write(source / 'imagesTr' / 'case4_0000.nii.gz', scan_of(4))
    write(source / 'imagesTr' / 'case5_0000.nii.gz', scan_of(5))
    write(tmp_path / 'organs' / 'case1.nii.gz', mask_of(), origin=(-10.0, 5.0, 33.0))
    write(tmp_path / 'organs' / 'case2.nii.gz', np.zeros(SHAPE, np.uint8))
    (tmp_path / 'organs' / 'case5.nii.gz').write_bytes(b'junk')
    write(tmp_path / 'organs' / 'case7_mask.nii.gz', mask_of())
    assert prepare(source, tmp_path, f'--inside={tmp_path / "organs"}') == 0
    said = capsys.readouterr().out
    assert 'Scans read: 2, skipped: 4' in said
    for line in (
        'case1_0000.nii.gz has a mask of another grid (imagesTr/case1_0000.nii.gz and case1.nii.gz '
        'differ in origin); resample the mask to that of the scan\n',
        'case2_0000.nii.gz has a mask without a voxel (case2.nii.gz); correct it or remove the',
        'case4_0000.nii.gz has no mask in --inside; add one called like it\n',
        'case5_0000.nii.gz has the mask case5.nii.gz, which ',
        'Masks of no scan by their names, in --inside: case7_mask.nii.gz\n',
    ):
        assert line in said


def test_masks_below_the_source_are_no_scans(source, tmp_path, capsys):
    (tmp_path / 'organs').rename(source / 'hearts')
    assert prepare(source, tmp_path, f'--inside={source / "hearts"}') == 0
    assert 'Scans read: 4, skipped: 0' in capsys.readouterr().out


# Names


def names(tmp_path, given, masks, dicom=()):
    for name in (*given, *(f'masks/{mask}' for mask in masks)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'masks').mkdir(exist_ok=True)
    found = [scan for scan in find_scans(tmp_path) if not scan.shown.startswith('masks/')]
    own, others = masks_by_name({scan.scan_id: (scan,) for scan in found}, tmp_path / 'masks')
    return {scan_id: mask.shown for scan_id, mask in own.items()}, [m.shown for m in others]


@pytest.mark.parametrize(
    ('given', 'masks', 'expected'),
    [
        (['a.nii'], ['a.nrrd'], {'a': 'a.nrrd'}),
        (['a.nii'], ['a_Mask.nii.gz'], {'a': 'a_Mask.nii.gz'}),
        (['imagesTr/a_0000.nii'], ['a.nii'], {'imagesTr/a_0000': 'a.nii'}),
        (['a_0000.nii', 'a_0001.nii'], ['a.nii'], {'a_0000': 'a.nii', 'a_0001': 'a.nii'}),
        (['p/t1.nii', 'q/t1.nii'], ['p/t1.nii'], {'p/t1': 'p/t1.nii'}),
        (['p/t1.nii', 'q/t2.nii'], ['t2-label.nii'], {'q/t2': 't2-label.nii'}),
        (['p/t1.nii', 'q/t1.nii'], ['q/t1_gt.nii', 'p/t1.nii'], {'p/t1': 'p/t1.nii'}),
    ],
)
def test_masks_are_called_like_their_scans(tmp_path, given, masks, expected):
    own, others = names(tmp_path, given, masks)
    assert expected.items() <= own.items() and set(own.values()) | set(others) == set(masks)


@pytest.mark.parametrize(
    ('given', 'masks', 'message'),
    [
        (['a.nii'], ['a_seg.nii', 'a_mask.nii'], 'a_mask.nii and a_seg.nii .* both masks of'),
        (['p/t1.nii', 'q/t1.nii'], ['t1.nii'], 't1.nii in .* of the scans p/t1 and q/t1; put it'),
    ],
)
def test_names_that_do_not_tell_are_refused(tmp_path, given, masks, message):
    with pytest.raises(PrepareError, match=message):
        names(tmp_path, given, masks)


def test_labels_beside_the_scans_are_their_masks(tmp_path):
    for name in ('p1/p1.nii', 'p1/p1_seg.nii', 'p2/p2.nii'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {s.scan_id: (s,) for s in find_scans(tmp_path) if '_seg' not in s.shown}
    own, others = masks_by_name(found, tmp_path)
    assert (list(own), own['p1/p1'].shown, others) == (['p1/p1'], 'p1/p1_seg.nii', [])


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--inside=SOURCE/labels'], 'is called like a scan (a scan: imagesTr/case0_0000; a mask:'),
        (['--inside=/nowhere'], 'the folder /nowhere does not exist'),
        (['--inside_labels=1'], '--inside_labels is of the masks of --inside; give that, too'),
        (['--inside=SOURCE', '--inside_labels=0'], "expected whole numbers from 1, found '0'"),
        (['--rule=paper', '--modality=mri'], '--rule=paper is of chest CTs and --modality is mri'),
    ],
)
def test_wrong_options_are_one_sentence(source, tmp_path, capsys, flags, message):
    write(source / 'labels' / 'other.nii.gz', mask_of())
    with pytest.raises(SystemExit):
        prepare(source, tmp_path, *(flag.replace('SOURCE', str(source)) for flag in flags))
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


# The default rule


def test_any_ct_fits_without_options(tmp_path, capsys):
    """As a chest CT of 512 x 512 x 48 voxels, which the paper's borders refuse."""
    shape = (80, 72, 34)
    for case in range(2):
        voxels = np.full(shape, -1000, np.int16)
        voxels[:30] = scan_of(case, (30, *shape[1:]))  # bone and muscle alone, at the scan's border
        write(tmp_path / 'scans' / f'{case}.nii.gz', voxels)
    where = [f'--source={tmp_path / "scans"}', f'--data_dir={tmp_path}', '--workers=1']
    assert scans.main([*where, '--name=any', '--modality=ct']) == 0
    records, rule = read(tmp_path, name='any'), about(tmp_path, 'any')['recipe']['rule']
    assert len(records) == 64 and records[0]['cube'].shape == (64, 64, 32, 1)
    assert min(record['origin'][0] for record in records) == 0
    assert (rule['min_tissue'], rule['max_tissue'], rule['tissue_threshold']) == (0.01, 1, -150)
    capsys.readouterr()
    assert scans.main([*where, '--name=lungs', '--modality=ct', '--rule=paper']) == 1
    assert 'patch and its borders need at least 265 x 265 x 96' in capsys.readouterr().out


def test_air_is_refused_and_a_thin_scan_gets_a_remedy(tmp_path, capsys):
    for case, shape in enumerate(((40, 40, 16), (40, 40, 16), (40, 40, 6))):
        voxels = np.full(shape, -1000 - case, np.int16)
        voxels[:20, :20] = 40
        write(tmp_path / 'scans' / f'{case}.nii.gz', voxels)
    assert prepare(tmp_path / 'scans', tmp_path) == 0
    said = capsys.readouterr().out
    wanted = '2.nii.gz has 40 x 40 x 6 voxels where a patch needs at least 16 x 16 x 8; lower --cub'
    assert wanted in said and ' as air\n' in said and 'as tissue' not in said
    assert all((record['cube'] == 40).mean() > 0.01 for record in read(tmp_path))


def test_luna16_keeps_to_the_papers_rule(tmp_path, capsys):
    write_luna16(tmp_path / 'luna', 10, (40, 36, 24), 0)
    flags = [f'--source={tmp_path / "luna"}', f'--data_dir={tmp_path}', '--workers=1']
    assert luna16.main(flags) == 1
    refused = '40 x 36 x 24 voxels where a patch and its borders need at least 265 x 265 x 96'
    assert capsys.readouterr().out.count(refused) == 7
