"""A predicted segmentation as DICOM SEG: one segment a class, on the slices that it was made of."""

import copy
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.valuerep import DA, TM
from pydicom.valuerep import DSfloat as DS

from genesis_jax import __version__
from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.dicom import read_stack
from genesis_jax.imaging.frames import groups_of, quiet, value_of
from genesis_jax.imaging.geometry import Grid
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.seg_reading import to_slices
from genesis_jax.imaging.stacks import Stack

_MAKER = 'genesis-jax'
# Of patient and study; a standard-conforming file has them, if only empty.
_MAY_BE_EMPTY = (
    'PatientID', 'PatientName', 'PatientBirthDate', 'PatientSex', 'StudyDate', 'StudyTime',
    'StudyID', 'AccessionNumber', 'ReferringPhysicianName',
)  # fmt: skip
_KINDS: dict[str, Callable] = {
    'PatientBirthDate': DA,
    'PatientSex': ('', 'F', 'M', 'O').index,
    'StudyDate': DA,
    'StudyTime': TM,
}
_NEEDED = ('StudyInstanceUID', 'FrameOfReferenceUID', 'SOPInstanceUID', 'SeriesInstanceUID')


def write_seg(
    labels: np.ndarray, grid: Grid, path: Path, scan: Scan, modality: str, names: Sequence[str]
) -> None:
    """Writes class indices as a DICOM SEG that refers to its series; complete, or not there.

    Args:
      labels: uint8 [I, J, K], 0 is background.
      grid: of the labels: the scan's as read; a tilted series is read on another than its own, and
        its slices take the nearest voxels.
      scan: a DICOM series.
      names: of the classes, without background.

    Raises:
      ScanError: a SEG cannot refer to the series, as it lacks what one has to repeat or is of
        several files of many frames each.
    """
    stack, headers = read_stack(scan.files, modality)
    voxels = np.ascontiguousarray(labels.T)
    if stack.drift.any():
        voxels = to_slices(voxels, grid.affine, stack)
    if not voxels.any():
        warnings.warn('has no voxel of any class; its segments are empty', ScanRemark, stacklevel=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.partial_', dir=path.parent) as scratch:
        file = Path(scratch, path.name)
        _save(file, voxels, stack, headers, names)
        os.replace(file, path)


def check_series(scan: Scan, modality: str, names: Sequence[str]) -> None:
    """Raises ScanError if `write_seg` could not refer to a series, as it would."""
    stack, headers = read_stack(scan.files, modality)
    voxels = np.zeros(stack.shape, np.uint8)
    voxels[0, 0, 0] = 1  # a SEG of one frame: all checks, and little work
    with tempfile.TemporaryDirectory() as scratch:
        _save(Path(scratch, 'seg.dcm'), voxels, stack, headers, names)


def _save(
    file: Path,
    voxels: np.ndarray,
    stack: Stack,
    headers: dict[int, pydicom.Dataset],
    names: Sequence[str],
) -> None:
    voxels, sources = _in_order(voxels, stack, headers)
    try:
        _segmentation(voxels, sources, names).save_as(file, enforce_file_format=True)
    except (AttributeError, TypeError, ValueError) as error:  # of what a header lacks or says
        raise ScanError(
            f'has headers that no DICOM SEG can refer to ({error}); leave out --format=seg'
        ) from None


def _in_order(
    voxels: np.ndarray, stack: Stack, headers: dict[int, pydicom.Dataset]
) -> tuple[np.ndarray, list[pydicom.Dataset]]:
    """The slices in the order of their files, or of the frames of the only one."""
    files = list(dict.fromkeys(frame.file for frame in stack.frames))
    count = int(headers[files[0]].get('NumberOfFrames') or 1)
    if len(files) == 1 and count > 1:
        ordered = np.zeros((count, *voxels.shape[1:]), voxels.dtype)
        ordered[[frame.number for frame in stack.frames]] = voxels
        voxels = ordered
    elif len(files) < len(stack.frames):
        raise ScanError(
            'lies in several files of many frames each, to which no DICOM SEG can refer; leave out '
            '--format=seg'
        )
    sources = [_completed(headers[file], stack) for file in files]
    if len({source.SOPInstanceUID for source in sources}) < len(sources):
        raise ScanError(
            'has slices of the same SOPInstanceUID, which a DICOM SEG could not tell apart; export '
            'it again or leave out --format=seg'
        )
    return voxels, sources


def _completed(header: pydicom.Dataset, stack: Stack) -> pydicom.Dataset:
    """A header with all that a SEG repeats of it: of geometry what was checked, alike in all."""
    for name in _NEEDED:
        if not header.get(name):
            raise ScanError(
                f'has no {name}, which a DICOM SEG must repeat; export it again or leave out '
                '--format=seg'
            )
    header = copy.copy(header)
    for name in _MAY_BE_EMPTY:
        if name not in header or not _is_sound(header, name):
            setattr(header, name, '')
    first, groups = stack.frames[0], groups_of(header, 0)
    measures, orientation = pydicom.Dataset(), pydicom.Dataset()
    gap = DS(stack.gap, auto_format=True)
    measures.PixelSpacing = [DS(mm, auto_format=True) for mm in first.spacing[::-1]]
    measures.SliceThickness = value_of(header, groups, 'PixelMeasures', 'SliceThickness') or gap
    measures.SpacingBetweenSlices = gap
    orientation.ImageOrientationPatient = [DS(cosine, auto_format=True) for cosine in first.axes]
    if 'PerFrameFunctionalGroupsSequence' not in header:
        header.update(measures)
        header.update(orientation)
        return header
    shared = copy.copy(groups[-1]) or pydicom.Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    header.SharedFunctionalGroupsSequence = [shared]
    return header


def _is_sound(header: pydicom.Dataset, name: str) -> bool:
    """Whether a value is one that a SEG may have; if not, that is remarked on."""
    try:
        if kind := _KINDS.get(name):
            kind(header[name].value or '')
    except (TypeError, ValueError):
        text = f'has a {name} that is no valid one, which is left empty in the DICOM SEG'
        warnings.warn(text, ScanRemark, stacklevel=2)
        return False
    return True


@quiet()
def _segmentation(
    voxels: np.ndarray, sources: Sequence[pydicom.Dataset], names: Sequence[str]
) -> pydicom.Dataset:
    import highdicom
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    how = highdicom.AlgorithmIdentificationSequence(
        name=_MAKER, family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            # A name is all that is known of a class.
            segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
            segmented_property_type=codes.DCM.SelectedRegion,
            algorithm_type='AUTOMATIC',
            algorithm_identification=how,
        )
        for number, name in enumerate(names, start=1)
    ]
    # A name of one word, as anonymised, is repeated as it is.
    warnings.filterwarnings('ignore', 'The string .* is unlikely to represent the intended person')
    return Segmentation(
        source_images=sources,
        pixel_array=voxels,
        segmentation_type='BINARY',
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=1000 + int(sources[0].get('SeriesNumber') or 0),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=__version__,
        device_serial_number='0',
        series_description=f'Segmentation by {_MAKER}',
    )
