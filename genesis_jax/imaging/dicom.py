"""DICOM: files to series, and a series to one volume.

Volumes are built from their headers (`frames`, `stacks`), through pydicom. ITK lets the first file
decide for all, highdicom refuses without saying what a user can do, and dcm2niix writes files of
its own choice; see docs/formats.md.
"""

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.frames import (
    Frame,
    NotASlice,
    begins_like_dicom,
    frames_of,
    kind_of,
    quiet,
    read_dataset,
)
from genesis_jax.imaging.pixels import decoded
from genesis_jax.imaging.stacks import Stack, as_image, left_out, stack_frames

_MODALITIES = {'ct': 'CT', 'mri': 'MR'}
_SUFFIXES = ('.dcm', '.dicom', '.ima')
_TAGS = [
    'SOPClassUID', 'SOPInstanceUID', 'SeriesInstanceUID', 'PatientID', 'Modality', 'Rows',
    'ImagePositionPatient', 'NumberOfFrames',
]  # fmt: skip
_NO_UID = 'without_series_uid'  # what files of a folder are called that have none
_FILL = {'ct': -1024.0}  # beyond a tilted stack; of others, the lowest value


_Found = Sequence[tuple[Path, pydicom.Dataset]]  # files with their headers


@dataclass(frozen=True)
class Series:
    """Files of one series.

    Attributes:
      uid: of the series; a file's name where it has none, or none can be read.
      folder: that holds all of them.
      files: in the order of their names.
      remark: on the files; empty, or continues the name of the scan.
      named: whether they name that UID themselves.
    """

    uid: str
    folder: Path
    files: tuple[Path, ...]
    remark: str = ''
    named: bool = True


def is_dicom(path: Path) -> bool:
    """Whether the file claims to be DICOM, by its suffix or by how it begins."""
    if path.name.upper() == 'DICOMDIR':
        return False  # an index of files, not an image
    if path.suffix.lower() in _SUFFIXES:
        return True
    # Opening a pipe would wait.
    return path.is_file() and os.access(path, os.R_OK) and begins_like_dicom(path)


@quiet()
def find_series(paths: Iterable[Path]) -> tuple[list[Series], dict[str, list[Path]]]:
    """The series of files of any folders; and files of no image, by what they are.

    Files of one series in several folders, or of several frames each, are one series if together
    they form a stack; else each folder or file has its own, with a remark. So has each of several
    patients who are named. A file that cannot be read belongs to its folder's series if there is
    only one, which will then be refused; else it stands alone.
    """
    headers: dict[str, list[tuple[Path, pydicom.Dataset]]] = defaultdict(list)
    others: dict[str, list[Path]] = defaultdict(list)
    unreadable = []
    for path in paths:
        try:
            header = read_header(path)
        except ScanError:
            unreadable.append(path)
            continue
        if kind := kind_of(header):
            others[kind].append(path)
            continue
        uid = str(header.get('SeriesInstanceUID') or f'{path.parent}/{_NO_UID}')
        headers[uid].append((path, header))
    series = []
    for uid, found in headers.items():
        for part, remark in _by_patient(found):
            series += _parts(uid.rpartition('/')[2], part, remark)
    return _with_unreadable(series, unreadable), dict(others)


def _by_patient(found: _Found) -> list[tuple[_Found, str]]:
    """The files of each patient, with a remark if they are several; no PatientID tells nobody."""
    named = dict.fromkeys(str(header.get('PatientID') or '') for _, header in found)
    named.pop('', None)
    if len(named) < 2:
        return [(found, '')]
    remark = 'shares its series UID with a scan of another PatientID'
    patients = {name: [one for one in found if one[1].get('PatientID') == name] for name in named}
    nobody = [one for one in found if not one[1].get('PatientID')]
    return [(files, remark) for files in (*patients.values(), nobody) if files]


def _parts(uid: str, found: _Found, remark: str) -> list[Series]:
    """The files of one series as one; by folder, or each file by itself, where they cannot be."""
    paths = sorted(path for path, _ in found)
    folders = sorted({path.parent for path in paths})
    several = len(paths) > 1 and any(
        header.get('NumberOfFrames') not in (None, 1) for _, header in found
    )
    whole = Series(uid, Path(os.path.commonpath(folders)), tuple(paths), remark, uid != _NO_UID)
    if len(folders) == 1 and not several:
        return [whole]
    names = ', '.join(folder.name for folder in folders)
    if _is_stack(paths):
        place = f'lies in {len(folders)} folders ({names})' if len(folders) > 1 else ''
        return [replace(whole, remark=' and '.join(filter(None, (place, remark))))]
    groups = (
        [[path] for path in paths]
        if several
        else [[path for path in paths if path.parent == folder] for folder in folders]
    )
    other = f'shares its series UID with what lies in other {"files" if several else "folders"}'
    other += '' if several else f' ({names})'
    remark = ' and '.join(filter(None, (f'{other}, which is no part of one stack with it', remark)))
    return [Series(uid, files[0].parent, tuple(files), remark) for files in groups]


def _is_stack(paths: Sequence[Path]) -> bool:
    """Whether the headers of files form one stack."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ScanRemark)
        try:
            read_stack(paths, 'other')
        except ScanError:
            return False
    return True


def _with_unreadable(series: list[Series], unreadable: Iterable[Path]) -> list[Series]:
    for path in unreadable:
        own = [index for index, one in enumerate(series) if one.folder == path.parent]
        if len(own) == 1:
            one = series[own[0]]
            files = (*one.files, path)
            series[own[0]] = replace(one, files=files)
        else:
            series.append(Series(path.name, path.parent, (path,), named=False))
    return series


@quiet()
def read_series(files: Sequence[Path], modality: str) -> sitk.Image:
    """Reads one series as a volume, its slices in the order of their positions.

    Its voxels are int16, or int32 or float32 where a slice has values that need it.

    Raises:
      ScanError: not of this modality, unreadable, a single slice, or frames that do not form one
        evenly spaced stack.
    """
    stack, datasets = _read_stack(files, modality)
    lacking = [frame.name for frame in stack.frames if not frame.scaled]
    if 0 < len(lacking) < len(stack.frames):
        raise ScanError(
            f'holds {lacking[0]}, which has no rescale slope and intercept where others have; '
            'correct its header'
        )
    if modality == 'ct' and lacking:
        warnings.warn(
            'says nothing of how its values become HU (no rescale tags), so they are taken as HU',
            ScanRemark,
            stacklevel=2,
        )
    voxels = _voxels(stack, datasets, files)
    return as_image(stack, voxels, _FILL.get(modality, float(voxels.min())))


@quiet()
def read_stack(files: Sequence[Path], modality: str) -> tuple[Stack, dict[int, pydicom.Dataset]]:
    """Where the slices of a series lie, and its headers by the numbers of their files.

    Raises:
      ScanError: as `read_series`, but of pixels.
    """
    return _read_stack(files, modality, stop_before_pixels=True)


def _read_stack(files, modality, **options):
    datasets = {}
    frames: list[Frame] = []
    odd: dict[str, ScanError] = {}
    apart = len({path.parent for path in files}) > 1
    for number, path in enumerate(files):
        name = f'{path.parent.name}/{path.name}' if apart else path.name
        datasets[number] = read_dataset(path, alone=len(files) == 1, **options)
        try:
            _check_kind(datasets[number], modality)
            frames += frames_of(datasets[number], name, number)
        except NotASlice as error:
            odd[name] = error
            del datasets[number]
    left_out(odd, len(frames), 'not of its slices')
    return stack_frames(frames), datasets


def read_header(path: Path) -> pydicom.Dataset:
    """What tells of one file whose it is, and what: without its pixels.

    Raises:
      ScanError: it cannot be read.
    """
    return read_dataset(path, stop_before_pixels=True, specific_tags=_TAGS)


@quiet()
def patient_id(path: Path) -> str:
    """The patient that a file names, empty if it names none or cannot be read."""
    try:
        return str(read_header(path).get('PatientID') or '').strip()
    except ScanError:  # told when the scan is read
        return ''


def _check_kind(dataset: pydicom.Dataset, modality: str) -> None:
    if kind := kind_of(dataset):
        raise NotASlice(f'is a DICOM object that holds no scan ({kind}); move it away')
    kind, expected = str(dataset.get('Modality', '')), _MODALITIES.get(modality)
    if expected and kind != expected:
        raise NotASlice(
            f'is a DICOM series of modality {kind or "unknown"} where {expected} was asked for; '
            'move it away or change --modality'
        )
    if int(dataset.get('SamplesPerPixel') or 1) > 1 or 'PALETTE' in dataset.get(
        'PhotometricInterpretation', ''
    ):
        raise NotASlice('is a DICOM series of colour images where grey ones are expected; move it')


def _voxels(
    stack: Stack, datasets: dict[int, pydicom.Dataset], files: Sequence[Path]
) -> np.ndarray:
    """The values [slices, rows, columns], each by its own slope and intercept."""
    columns, rows = stack.frames[0].size
    voxels: np.ndarray = np.empty((len(stack.frames), rows, columns), _dtype(stack.frames))
    uses = Counter(frame.file for frame in stack.frames)
    pixels: dict[int, np.ndarray] = {}
    for place, frame in enumerate(stack.frames):
        if frame.file not in pixels:
            pixels[frame.file] = decoded(datasets.pop(frame.file), files[frame.file])
        stored = pixels[frame.file][frame.number]
        uses[frame.file] -= 1
        if not uses[frame.file]:
            del pixels[frame.file]
        voxels[place] = stored
        if frame.slope != 1:
            voxels[place] *= voxels.dtype.type(frame.slope)
        if frame.intercept:
            voxels[place] += voxels.dtype.type(frame.intercept)
    return voxels


def _dtype(frames: Sequence[Frame]) -> type:
    """The smallest type that holds every value of all slices."""
    low = high = 0.0
    for frame in frames:
        if frame.bounds is None or frame.slope % 1 or frame.intercept % 1:
            return np.float32
        values = [frame.slope * bound + frame.intercept for bound in frame.bounds]
        low, high = min(low, *values, *frame.bounds), max(high, *values, *frame.bounds)
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.float64
