"""LIDC-IDRI: the readers' outlines become masks, masks nodules, and nodules patches with a mask."""

import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import lidc
from data_prep.formats.lidc_xml import (
    Marking,
    Mask,
    Outline,
    consensus,
    group,
    rasterise,
    read_markings,
    series_of,
)
from data_prep.lidc import agree, list_jobs, split_patients
from data_prep.phantoms.chest import chest
from data_prep.phantoms.lidc import outline_of, write_lidc
from genesis_jax.errors import ScanError, collected_remarks

SPACING = (1.0, 1.0, 2.0)
SHAPE = (30, 28, 6)
SLICES = {f'sop{index}': index for index in range(6)} | {
    round(-100 + 2.5 * index, 2): index for index in range(6)
}


def disc(radius, middle=(12, 10), shape=(30, 28)):
    x, y = np.indices(shape)
    return (x - middle[0]) ** 2 + (y - middle[1]) ** 2 <= radius**2


def roi(points, sop='sop1', height='-97.5', inclusion='TRUE'):
    edges = ''.join(
        f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>' for x, y in points
    )
    return (
        f'<roi><imageZposition>{height}</imageZposition><imageSOP_UID>{sop}</imageSOP_UID>'
        f'<inclusion>{inclusion}</inclusion>{edges}</roi>'
    )


def nodule(*rois, traits=True):
    marked = '<characteristics><subtlety>4</subtlety></characteristics>' if traits else ''
    return (
        f'<unblindedReadNodule><noduleID>1</noduleID>{marked}{"".join(rois)}</unblindedReadNodule>'
    )


def write_xml(path, *sessions, uid='1.2.3', root='LidcReadMessage'):
    read = ''.join(f'<readingSession>{nodules}</readingSession>' for nodules in sessions)
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><{root} uid="x" xmlns="http://www.nih.gov">'
        f'<ResponseHeader><SeriesInstanceUid>{uid}</SeriesInstanceUid></ResponseHeader>'
        f'{read}</{root}>'
    )
    return path


def outline(points, sop='sop1', height=-97.5, included=True):
    return Outline(sop, height, included, np.array(points))


# XML


def test_outlines_of_every_reader_are_read(tmp_path):
    chain = outline_of(disc(3))
    small = nodule(roi([(5, 6)]), traits=False)
    other = (
        '<nonNodule><imageZposition>-95</imageZposition><imageSOP_UID>sop2</imageSOP_UID>'
        '<locus><xCoord>4</xCoord><yCoord>4</yCoord></locus></nonNodule>'
    )
    tip = roi([(12, 10)], sop='sop3')
    hole = roi(outline_of(disc(1)), inclusion='FALSE')
    path = write_xml(
        tmp_path / 'a.xml',
        nodule(roi(chain), hole, tip) + small + other,
        '',
        small + nodule(roi(chain, sop='sop2', height='')) + nodule(roi(chain)),
    )
    markings = read_markings(path)
    assert [marking.reader for marking in markings] == [0, 2, 2]
    first = markings[0].outlines
    assert [item.included for item in first] == [True, False]  # and not the tip of one pixel
    assert first[0].sop_uid == 'sop1' and first[0].height == -97.5
    np.testing.assert_array_equal(first[0].points, chain)
    assert np.isnan(markings[1].outlines[0].height)
    assert series_of(path) == '1.2.3'


def test_xml_of_something_else_is_told_apart(tmp_path):
    radiograph = write_xml(tmp_path / 'cxr.xml', root='IdriReadMessage')
    assert series_of(radiograph) is None
    with pytest.raises(ScanError, match='cxr.xml, which is not a CT reading of LIDC-IDRI'):
        read_markings(radiograph)
    (tmp_path / 'note.xml').write_text('<note/>')
    assert series_of(tmp_path / 'note.xml') is None
    (tmp_path / 'cut.xml').write_text('<LidcReadMessage xmlns="http://www.nih.gov"><Resp')
    for read in (series_of, read_markings):
        with pytest.raises(ScanError, match='cut.xml, which is not readable XML'):
            read(tmp_path / 'cut.xml')


def test_an_outline_without_numbers_is_refused(tmp_path):
    path = write_xml(tmp_path / 'a.xml', nodule(roi([(1, 2), (3, 'x')])))
    with pytest.raises(ScanError, match='a.xml, in which an outline holds something else'):
        read_markings(path)


# Outlines to masks


@pytest.mark.parametrize('radius', [0, 1, 2, 3.5, 5, 8.2])
def test_an_outline_lies_just_outside_of_what_it_surrounds(radius):
    mask = rasterise(Marking(3, (outline(outline_of(disc(radius))),)), SHAPE, SLICES)
    assert mask.reader == 3
    whole = mask.within(np.zeros(3, int), np.array(SHAPE))
    np.testing.assert_array_equal(whole[:, :, 1], disc(radius))
    assert not whole[:, :, [0, 2, 3, 4, 5]].any()
    np.testing.assert_allclose(mask.centre, (12, 10, 1))


def test_open_and_sparse_chains_are_closed_by_lines():
    corners = [(2, 2), (2, 8), (9, 8), (9, 2)]
    mask = rasterise(Marking(0, (outline(corners),)), SHAPE, SLICES)
    expected = np.zeros((30, 28), bool)
    expected[3:9, 3:8] = True
    np.testing.assert_array_equal(mask.within(np.zeros(3, int), np.array(SHAPE))[:, :, 1], expected)


def test_what_is_excluded_is_inside_of_its_outline():
    outlines = (outline(outline_of(disc(6))), outline(outline_of(disc(2)), included=False))
    mask = rasterise(Marking(0, outlines), SHAPE, SLICES)
    whole = mask.within(np.zeros(3, int), np.array(SHAPE))
    np.testing.assert_array_equal(whole[:, :, 1], disc(6) & ~disc(2))


def test_slices_are_found_by_uid_and_else_by_height():
    chain = outline_of(disc(3))
    outlines = (outline(chain, 'sop4'), outline(chain, '', -92.5), outline(chain, 'gone', -95))
    mask = rasterise(Marking(0, outlines), SHAPE, SLICES)
    assert mask.start[2] == 2 and mask.voxels.any(axis=(0, 1)).all() and mask.stop[2] == 5
    gone = Marking(0, (outline(chain, 'gone', -50),))
    with pytest.raises(ScanError, match=r'on a slice that it does not hold \(gone, at -50 mm\)'):
        rasterise(gone, SHAPE, SLICES)


def test_outlines_that_enclose_nothing_or_leave_the_slice():
    line = outline([(4, 4), (5, 4), (6, 4), (5, 4)])
    assert rasterise(Marking(0, (line,)), SHAPE, SLICES) is None
    stray = outline([(4, 4), (30, 4), (6, 9)])
    with pytest.raises(ScanError, match=r'pixel \(30, 4\), outside its slices of 30 x 28 pixels'):
        rasterise(Marking(0, (stray,)), SHAPE, SLICES)


# Masks to nodules


def box(reader, start, size=(4, 4, 2)):
    return Mask(reader, np.array(start), np.ones(size, bool))


def test_overlapping_masks_of_different_readers_are_one_nodule():
    masks = [box(0, (2, 2, 1)), box(1, (4, 3, 1)), box(2, (20, 20, 1)), box(3, (5, 5, 2))]
    groups = group(masks, SPACING)
    assert sorted(sorted(m.reader for m in found) for found in groups) == [[0, 1, 3], [2]]


def test_masks_of_one_reader_are_different_nodules():
    masks = [box(0, (2, 2, 1)), box(0, (5, 2, 1)), box(1, (2, 2, 1)), box(1, (6, 2, 1))]
    groups = group(masks, SPACING)
    starts = sorted(sorted(int(m.start[0]) for m in found) for found in groups)
    assert starts == [[2, 2], [5, 6]]  # the nearest belong together


def test_near_masks_without_a_common_voxel_are_one_nodule():
    beside = [box(0, (2, 2, 1), (2, 2, 1)), box(1, (4, 2, 1), (2, 2, 1))]
    assert len(group(beside, SPACING)) == 2  # 2 mm apart, radii 1.2 mm
    on_top = [box(0, (2, 2, 1), (6, 6, 1)), box(1, (2, 2, 2), (6, 6, 1))]
    assert len(group(on_top, SPACING)) == 1  # 2 mm apart, radii 2.6 mm


def test_consensus_is_half_of_those_who_outlined_it():
    one, two, three = box(0, (0, 0, 0)), box(1, (2, 0, 0)), box(2, (3, 0, 0))
    both = consensus([one, two])
    assert both.start.tolist() == [0, 0, 0] and both.voxels[:, 0, 0].tolist() == [True] * 6
    votes = consensus([one, two, three]).voxels[:, 0, 0]
    assert votes.tolist() == [False, False, True, True, True, True, False]
    strict = consensus([one, two, three], share=1.0)
    assert strict.voxels[:, 0, 0].nonzero()[0].tolist() == [3]
    assert consensus([box(0, (0, 0, 0)), box(1, (4, 0, 0))], share=1.0) is None


def test_a_nodule_needs_enough_readers():
    masks = [box(0, (2, 2, 1)), box(1, (3, 2, 1)), box(2, (20, 20, 1))]
    assert len(agree(masks, SPACING, 0.5, 1)) == 2
    assert len(agree(masks, SPACING, 0.5, 2)) == 1
    assert not agree(masks, SPACING, 0.5, 3)


# The split


@pytest.mark.parametrize('seed', range(5))
def test_the_papers_split(seed):
    patients = {f'LIDC-IDRI-{n:04}': 2 if n < 8 else 1 for n in range(1010)}
    splits = split_patients(patients, seed)
    cases = Counter(splits[name] for name, scans in patients.items() for _ in range(scans))
    assert cases == {'train': 510, 'validation': 100, 'test': 408}
    assert splits != split_patients(patients, seed + 1)
    assert splits == split_patients(dict(reversed(patients.items())), seed)


@pytest.mark.parametrize('scans', [1, 3])
@pytest.mark.parametrize('count', [3, 4, 7, 20])
def test_a_small_source_fills_all_splits(count, scans):
    splits = split_patients({f'p{n}': scans for n in range(count)}, 0)
    assert set(splits.values()) == {'train', 'validation', 'test'} and len(splits) == count


# The whole preparation


@pytest.fixture(scope='module')
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp('phantom') / 'LIDC-IDRI'
    write_lidc(folder, 4, (64, 60, 40), 1)
    return folder


@pytest.fixture
def source(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / 'LIDC-IDRI')


def series(source):
    """The CT folders, by patient."""
    return sorted({path.parent for path in source.rglob('*.dcm') if '000002' in path.name})


def prepare(source, data_dir, *flags):
    paths = [f'--source={source}', f'--data_dir={data_dir}', '--workers=1', '--cube_size=24,24,16']
    assert lidc.main([*paths, *flags]) == 0
    builder = tfds.builder_from_directory(data_dir / 'ncs' / '1.0.0')
    return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def refusal(capsys, data_dir, *flags):
    with pytest.raises(SystemExit) as stop:
        lidc.main([*map(str, flags), f'--data_dir={data_dir}'])
    assert stop.value.code == 1 and not data_dir.exists()
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    return said


def test_nodules_of_the_phantom_are_found_where_they_were_drawn(pristine, tmp_path):
    """Also in series whose rows and columns run the other way."""
    splits = prepare(pristine, tmp_path, '--min_readers=1')
    records = [record for found in splits.values() for record in found]
    patients = {}
    for record in records:
        patients.setdefault(record['patient'].decode(), []).append(record)
    assert sorted(patients) == [f'LIDC-IDRI-{n:04}' for n in range(1, 5)]
    scores = []
    for name, found in patients.items():
        rng = np.random.default_rng((1, int(name[-4:]) - 1))
        image, nodules = chest(rng, (64, 60, 40), (150, 150, 120))
        assert len(found) >= len(nodules) - 1  # two may overlap
        for record in found:
            assert record['cube'].shape == (24, 24, 16, 1) and record['mask'].dtype == np.uint8
            assert record['spacing'].tolist() == [1, 1, 1]
            grid = np.stack(np.indices((24, 24, 16)), axis=-1) + record['origin']  # mm
            truth = np.zeros((24, 24, 16), bool)
            for item in nodules:
                centre = np.array(item.centre) * image.GetSpacing()
                truth |= np.linalg.norm(grid - centre, axis=-1) <= item.diameter / 2
            mask = record['mask'].astype(bool)
            if mask.sum() > 200:  # the voxels of a phantom are 2.3 mm, so small ones are rough
                scores.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
                assert record['cube'][mask].mean() > record['cube'][~mask].mean()
    assert len(scores) > 5 and min(scores) > 0.5 and np.mean(scores) > 0.75


def test_metadata_and_summary(pristine, tmp_path, capsys):
    splits = prepare(pristine, tmp_path)
    said = capsys.readouterr().out
    assert '--config=configs/ncs.py' in said and 'Scans read: 4, skipped: 0' in said
    assert set(splits) == {'train', 'validation', 'test'}
    metadata = json.loads((tmp_path / 'ncs' / '1.0.0' / 'metadata.json').read_text())
    assert metadata['task'] == 'segmentation' and metadata['spacing'] == [1, 1, 1]
    assert metadata['classes'] == ['background', 'nodule']
    for split, records in splits.items():
        named = [record['patient'].decode() for record in records]
        assert [p for p, count in metadata['records'][split] for _ in range(count)] == named
        assert all(set(np.unique(record['mask'])) == {0, 1} for record in records)
    assert not (tmp_path / 'ncs_cases').exists()


def test_fewer_nodules_have_more_readers(pristine, tmp_path, capsys):
    counts = []
    for readers in (1, 3, 4):  # four leave splits without any
        flags = [f'--source={pristine}', '--cube_size=24,24,16', f'--min_readers={readers}']
        lidc.main([*flags, f'--data_dir={tmp_path / str(readers)}', '--workers=1'])
        said = capsys.readouterr().out
        counts.append(sum(map(int, re.findall(r': (\d+) patch(?:es)?', said))))
    assert counts[0] > counts[1] > counts[2] > 0


def test_annotations_may_lie_elsewhere(source, tmp_path, capsys):
    by_folder = prepare(source, tmp_path / 'a')
    elsewhere = tmp_path / 'tcia-lidc-xml' / '157'
    elsewhere.mkdir(parents=True)
    for path in source.rglob('*.xml'):
        path.rename(elsewhere / f'{path.parent.name[-6:]}.xml')
    said = refusal(capsys, tmp_path / 'b', f'--source={source}')
    assert "4 CT series have no readers' XML, the first is LIDC-IDRI-0001/" in said
    apart = prepare(source, tmp_path / 'c', f'--annotations={elsewhere.parent}')
    for split, records in by_folder.items():
        for one, other in zip(records, apart[split], strict=True):
            np.testing.assert_array_equal(one['mask'], other['mask'])


def test_series_that_contradict_their_xml_are_skipped(source, tmp_path, capsys):
    first, second, third, fourth = series(source)
    for path in first.glob('*.xml'):
        path.write_text(path.read_text()[:-300])
    for path in second.glob('*.xml'):
        text = path.read_text().replace('<imageSOP_UID>1', '<imageSOP_UID>9')
        path.write_text(re.sub('<imageZposition>[^<]*', '<imageZposition>9999', text))
    shutil.copy(next(third.glob('*.dcm')), fourth / 'stray.dcm')
    cases = {case.patient: case for case in list_jobs(source, source, 0)}
    reasons = {}
    for patient, case in cases.items():
        try:
            with collected_remarks():
                assert lidc.cut_nodules(case, (24, 24, 16), (1, 1, 1)).patches
        except ScanError as error:
            reasons[patient] = str(error)
    assert 'not readable XML' in reasons['LIDC-IDRI-0001']
    assert 'is annotated on a slice that it does not hold' in reasons['LIDC-IDRI-0002']
    assert 'LIDC-IDRI-0003' not in reasons
    assert 'mixes series (stray.dcm is of another one)' in reasons['LIDC-IDRI-0004']


def test_a_source_without_ct_is_refused(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    said = refusal(capsys, tmp_path / 'data', f'--source={tmp_path / "empty"}')
    assert 'holds no CT series of DICOM slices; check --source' in said


def test_too_few_patients_are_refused(source, tmp_path, capsys):
    for folder in sorted(source.iterdir())[2:]:
        shutil.rmtree(folder)
    said = refusal(capsys, tmp_path / 'data', f'--source={source}')
    assert '2 patients cannot be split into train, validation, test' in said
