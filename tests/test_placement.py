"""Whatever the format: what is read, predicted and written lies at one place, with its values."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicoms import frames, save, single
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predict import run_bright

from genesis_jax.errors import collected_remarks
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.volumes import read_image

SIZE = (17, 19, 9)
LPS = np.diag([-1.0, -1, 1, 1])


def as_nifti(folder, voxels, matrix, *codes):
    image = nibabel.Nifti1Image(voxels, LPS @ matrix)
    for code, setter in zip(codes, (image.set_qform, image.set_sform), strict=True):
        setter(LPS @ matrix if code else None, code)
    nibabel.save(image, folder / 'scan.nii.gz')


def as_itk(folder, voxels, matrix, suffix):
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    sitk.WriteImage(image, str(folder / f'scan{suffix}'))


def as_dicom(folder, voxels, matrix, several):
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    x, y, _ = (matrix[:3, :3] / spacing).T
    places = [matrix[:3, 3] + k * matrix[:3, 2] for k in range(SIZE[2])]
    options = {'axes': (*x, *y), 'spacing': (spacing[1], spacing[0])}
    if several:
        options['axes'] = [options['axes']] * SIZE[2]
        save(folder / 'scan' / 'all.dcm', frames(np.ascontiguousarray(voxels.T), places, **options))
        return
    for k, place in enumerate(places):
        plane = np.ascontiguousarray(voxels[:, :, k].T)
        save(folder / 'scan' / f'{k}.dcm', single(plane, place, k, **options))


FORMATS = {
    'qform': (as_nifti, (1, 0)),
    'sform': (as_nifti, (0, 2)),
    'qform and sform': (as_nifti, (1, 2)),
    'NRRD': (as_itk, ('.nrrd',)),
    'MetaImage': (as_itk, ('.mha',)),
    'DICOM': (as_dicom, (False,)),
    'DICOM of several frames': (as_dicom, (True,)),
}


@pytest.mark.parametrize('name', FORMATS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1 << 30), spacing=st.tuples(*[st.floats(0.3, 4)] * 3))
def test_a_bright_box_is_found_where_it_was_written(tmp_path_factory, name, seed, spacing):
    """Oblique, anisotropic, and for half of the seeds mirrored, where the format has mirrors."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if name.startswith('DICOM') and np.linalg.det(axes) < 0:
        axes[:, 2] *= -1  # slices are in the order of their normal
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes * spacing, rng.uniform(-200, 200, 3)
    voxels = rng.integers(-1000, -400, SIZE).astype(np.int16)
    start = rng.integers(1, 5, 3)
    box = tuple(slice(a, a + 4) for a in start)
    voxels[box] = rng.integers(300, 1000, (4, 4, 4))
    folder = tmp_path_factory.mktemp('placed')
    write, options = FORMATS[name]
    (folder / 'in').mkdir()
    write(folder / 'in', voxels, matrix, *options)

    (scan,) = find_scans(folder / 'in')
    with collected_remarks() as told:
        image = read_image(scan, 'ct')
    assert not told
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, voxels)  # HU to the last unit
    outcome = run_bright(folder / 'in', folder / 'out')
    assert outcome.scans == 1, outcome.skipped
    (file,) = (path for path in (folder / 'out').rglob('*') if path.suffix != '.csv' and
               path.is_file())  # fmt: skip

    wanted = (matrix @ [*(start + 1.5), 1])[:3]
    found = sitk.ReadImage(str(file))
    labels = sitk.GetArrayFromImage(found).T
    assert labels.sum() == 64
    middle = np.argwhere(labels).mean(axis=0)
    place = found.TransformContinuousIndexToPhysicalPoint(middle.tolist())
    half = 0.5 * min(spacing)
    assert np.linalg.norm(place - wanted) <= half
    if file.name.endswith('.nii.gz'):
        read = nibabel.load(file)
        middle = np.argwhere(np.asarray(read.dataobj)).mean(axis=0)
        place = (LPS @ read.affine @ [*middle, 1])[:3]
        assert np.linalg.norm(place - wanted) <= half
