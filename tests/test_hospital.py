"""Archives of DICOM series and their labels: to a dataset, and a prediction back into one."""

import numpy as np
import pytest
from dicoms import save, structure_set
from hospital import box, drawn, placed, some_labels, write_series
from oblique import export_untrained, make_image, write
from segmented import metadata, prepare, read, refused

from data_prep import dicom_labels
from genesis_jax import parallel, predict
from genesis_jax.imaging.dicom_labels import match, read_label_file, read_labels
from genesis_jax.imaging.seg_writing import write_seg

pytest.importorskip('highdicom')
NAMES = ('liver', 'kidney')


def tags(number):
    return {
        'series': f'1.2.3.{number}', 'PatientID': f'Mustermann{number}',
        'FrameOfReferenceUID': f'1.2.9.{number}',
    }  # fmt: skip


def make_patient(source, number, **more):
    """A series in a folder of the year, among others; returns the scan and where it lies."""
    scan = write_series(source / '2024' / f'{number:05}', **tags(number) | more)
    return scan, placed(scan)[0]


def make_set(source, number, rois, name, **more):
    options = {'frame': f'1.2.9.{number}', 'uid': f'1.2.8.{number}'}
    made = structure_set(rois, f'1.2.3.{number}', patient=f'Mustermann{number}', **options | more)
    save(source / 'rt' / name, made)


@pytest.fixture
def archive(tmp_path):
    """Labels in folders of their own, with names that say nothing; what each scan is labelled."""
    source, expected = tmp_path / 'archive', {}
    for number in range(3):
        scan, grid = make_patient(source, number)
        labels = np.where(some_labels() == 2, 0, some_labels()) if number == 2 else some_labels()
        write_seg(labels, grid, source / 'seg' / f'x{7 - number}.dcm', scan, 'ct', NAMES)
        expected[number] = labels
    _, grid = make_patient(source, 3)
    contours = [drawn(grid, box(2.5, 8.5, 3.5, 9.5), place) for place in (3, 4)]
    make_set(source, 3, {'Liver': contours, 'BODY': [], 'Heart': contours}, 'a.dcm')
    expected[3] = np.zeros(grid.size, np.uint8)
    expected[3][3:9, 4:10, 3:5] = 1
    _, grid = make_patient(source, 4)
    make_set(source, 4, {'BODY': contours, 'Heart': contours}, 'b.dcm')
    make_patient(source, 5)  # nothing labels it
    make_set(source, 9, {'Liver': contours}, 'c.dcm')  # labels nothing
    return source, expected


def test_labels_are_found_by_what_they_refer_to(archive, tmp_path, capsys):
    source, expected = archive
    flags = ('--name=abdomen', '--modality=ct', '--classes=liver,Kidney', '--folds=2')
    assert prepare(dicom_labels, source, tmp_path / 'data', *flags, '--patches_per_scan=2') == 0
    said = capsys.readouterr().out
    assert 'Series without labels, passed over: 1 (2024/00005/1.2.3.5)' in said
    assert 'Labels of no series here: 1 (rt/c.dcm)' in said
    assert 'Labels, with numbers of scans: BODY 1, Heart 2, kidney 3, liver 4' in said
    assert 'Left out, as not in --classes: BODY, Heart' in said
    assert 'Scans without Kidney, where it counts as background: 1' in said
    assert 'Scans without liver' not in said
    assert "2024/00003/1.2.3.3 has no label 'Kidney', whose voxels count as background" in said
    assert (
        '2024/00004/1.2.3.4 has labels of none of the classes liver, Kidney; it has BODY, H' in said
    )
    assert 'Scans read: 4, skipped: 1' in said
    told = metadata(tmp_path / 'data', 'abdomen')
    assert told['classes'] == ['background', 'liver', 'Kidney'] and told['channels'] == ['CT']
    cases = sum(read(tmp_path / 'data', 'abdomen_cases').values(), [])
    assert len(cases) == 4
    for case in cases:
        number = int(case['scan_id'].decode()[-1])
        np.testing.assert_array_equal(case['mask'], expected[number])
    for path in (tmp_path / 'data').rglob('*.json'):
        assert 'Mustermann' not in path.read_text()
    assert not any(b'Mustermann' in case['patient'] for case in cases)


def test_without_classes_all_names_are(archive, tmp_path):
    source, _ = archive
    flags = ('--name=all', '--modality=ct', '--folds=2')
    assert prepare(dicom_labels, source, tmp_path / 'data', *flags) == 0
    told = metadata(tmp_path / 'data', 'all')
    assert told['classes'] == ['background', 'BODY', 'Heart', 'kidney', 'liver']


def test_points_are_no_class(tmp_path, capsys):
    source = tmp_path / 'archive'
    for number in range(3):
        _, grid = make_patient(source, number)
        contours = [drawn(grid, box(2.5, 8.5, 3.5, 9.5), 3)]
        rois = {'liver': contours, 'ISO': [('POINT', contours[0][:1])]}
        make_set(source, number, rois, f'{number}.dcm')
    flags = ('--name=all', '--modality=ct', '--folds=2')
    assert prepare(dicom_labels, source, tmp_path / 'data', *flags) == 0
    said = capsys.readouterr().out
    assert 'No labels, as ROIs without a closed contour, with numbers of scans: ISO 3' in said
    assert metadata(tmp_path / 'data', 'all')['classes'] == ['background', 'liver']
    for case in sum(read(tmp_path / 'data', 'all_cases').values(), []):
        assert np.count_nonzero(case['mask']) == 36


def test_what_cannot_be_prepared_is_one_sentence(archive, tmp_path, capsys):
    source, _ = archive
    flags = ('--name=n', '--modality=ct')
    data = tmp_path / 'data'
    said = refused(dicom_labels, source, data, *flags, '--classes=spleen', capsys=capsys)
    assert 'no labels are called spleen; they are called (with numbers of scans): BODY 1' in said
    said = refused(dicom_labels, source / '2024', data, *flags, capsys=capsys)
    assert 'holds 6 DICOM series and 0 SEG or RTSTRUCT' in said


def test_a_broken_slice_skips_its_scan_alone(tmp_path, capsys):
    source = tmp_path / 'archive'
    for number in range(3):
        _, grid = make_patient(source, number)
        rois = {'liver': [drawn(grid, box(2.5, 8.5, 3.5, 9.5), 3)]}
        make_set(source, number, rois, f'{number}.dcm')
    (source / '2024' / '00001' / '0.dcm').write_bytes(b'nothing')
    flags = ('--name=n', '--modality=ct', '--folds=2', '--patches_per_scan=1')
    prepare(dicom_labels, source, tmp_path / 'data', *flags)
    assert 'holds 0.dcm, which is not a readable DICOM image' in capsys.readouterr().out


def test_one_label_in_two_files_is_refused_and_a_copy_is_not(tmp_path, capsys):
    source = tmp_path / 'archive'
    for number in range(3):
        _, grid = make_patient(source, number)
        rois = {'liver': [drawn(grid, box(2.5, 8.5, 3.5, 9.5), 3)]}
        make_set(source, number, rois, f'{number}.dcm')
    make_set(source, 0, rois, 'copy.dcm')
    make_set(source, 1, rois, 'other.dcm', uid='1.2.8.77')
    flags = ('--name=n', '--modality=ct', '--folds=2', '--patches_per_scan=1')
    prepare(dicom_labels, source, tmp_path / 'data', *flags)
    said = capsys.readouterr().out
    assert "1.2.3.1 has 'liver' in two label files (1.dcm and other.dcm)" in said
    assert 'skipped: 1' in said and 'Copies of label files, left out: 1' in said


@pytest.mark.parametrize('named', ['image', 'frame'])
def test_labels_that_name_no_series(tmp_path, capsys, named):
    """They name an image of it, or nothing but its frame of reference."""
    source = tmp_path / 'archive'
    for number in range(2):
        _, grid = make_patient(source, number)
        rois = {'liver': [drawn(grid, box(2.5, 8.5, 3.5, 9.5), 3)]}
        made = structure_set(rois, '', frame=f'1.2.9.{number}', uid=f'1.2.8.{number}')
        if named == 'image':
            image = type(made)()
            image.ReferencedSOPInstanceUID = f'1.2.3.{number}.4'
            made.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [image]
        save(source / f'{number}.dcm', made)
    flags = ('--name=n', '--modality=ct', '--folds=2')
    assert prepare(dicom_labels, source, tmp_path / 'data', *flags) == 0
    assert 'Scans read: 2, skipped: 0' in capsys.readouterr().out


def test_what_one_file_may_label(tmp_path):
    """All series that it names; but not one of two that share no more than its frame."""
    frame = {'FrameOfReferenceUID': '1.2.9'}
    scans = [make_patient(tmp_path, number, PatientID='P1', **frame)[0] for number in range(2)]
    rois = {'liver': [[(0, 0, 0), (1, 0, 0), (0, 1, 0)]]}
    both = structure_set(rois, '1.2.3.0')
    named = both.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    other = type(both)()
    other.SeriesInstanceUID = '1.2.3.1'
    named.RTReferencedSeriesSequence.append(other)
    files = [read_label_file(save(tmp_path / 'both.dcm', both))]
    neither = structure_set(rois, '', uid='1.2.8.1')
    files.append(read_label_file(save(tmp_path / 'neither.dcm', neither)))
    owned, strays = match(scans, files)
    assert [owned[scan.scan_id] for scan in scans] == [files[:1]] * 2
    assert strays == files[1:]


# --- predictions ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return export_untrained(tmp_path_factory.mktemp('run'))


def command(run, source, output, *options):
    arguments = [f'--model={run}', f'--input={source}', f'--output={output}', *options]
    return predict.main([*arguments, '--batch_size=2'])


def test_a_prediction_is_the_same_as_image_and_as_seg(tmp_path, run, monkeypatch, capsys):
    import SimpleITK as sitk

    monkeypatch.setattr(parallel, 'start', lambda: None)
    scan = write_series(tmp_path / 'in' / 'ct', flipped=True)
    write(make_image(), tmp_path / 'in' / 'other.nii.gz')
    assert command(run, tmp_path / 'in', tmp_path / 'out') == 0
    name = tmp_path / 'out' / 'ct' / '1.2.3'
    image = sitk.ReadImage(f'{name}.nii.gz')
    assert command(run, tmp_path / 'in', tmp_path / 'out', '--format=seg', '--overwrite') == 1
    said = capsys.readouterr().out
    assert 'other.nii.gz is no DICOM series, to which a DICOM SEG could refer; leave out' in said
    assert not list((tmp_path / 'out').rglob('*.nii.gz'))  # of the earlier network
    file = read_label_file(name.with_name('1.2.3.dcm'))
    labels = read_labels(scan, [file], ['bone'], 'ct')
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(image))
    assert 0 < sitk.GetArrayFromImage(labels).mean() < 1
    for source, options, words in (
        (tmp_path / 'in' / 'other.nii.gz', [], 'other.nii.gz is no DICOM series'),
        (tmp_path / 'in', ['--probabilities'], 'a DICOM SEG holds no probabilities'),
    ):
        with pytest.raises(SystemExit):
            command(run, source, tmp_path / 'no', '--format=seg', *options)
        assert words in capsys.readouterr().err
