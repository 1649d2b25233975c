"""DICOM: files to series, and a series to one volume.

Volumes are built from their headers (`frames`, `stacks`), through pydicom. ITK lets the first file
decide for all, highdicom refuses without saying what a user can do, and dcm2niix writes files of
its own choice; see docs/formats.md.
"""

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.frames import (
    Frame,
    begins_like_dicom,
    decoded,
    frames_of,
    kind_of,
    quiet,
    read_dataset,
)
from genesis_jax.imaging.stacks import Stack, as_image, left_out, stack_frames

_MODALITIES = {'ct': 'CT', 'mri': 'MR'}
_SUFFIXES = ('.dcm', '.dicom', '.ima')
_TAGS = [
    'SOPClassUID', 'SOPInstanceUID', 'SeriesInstanceUID', 'PatientID', 'Modality', 'Rows',
    'ImagePositionPatient',
]  # fmt: skip
_FILL = {'ct': -1024.0}  # beyond a tilted stack; of others, the lowest value


@dataclass(frozen=True)
class Series:
    """Files of one series.

    Attributes:
      uid: of the series; a file's name where it has none, or none can be read.
      folder: that holds all of them.
      files: in the order of their names.
      remark: on the files; empty, or continues the name of the scan.
    """

    uid: str
    folder: Path
    files: tuple[Path, ...]
    remark: str = ''


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

    Files of one series in several folders are one series if no two of them lie at the same place,
    or if they are the same; else each folder has its own, with a remark. A file that cannot be read
    belongs to its folder's series if there is only one, which will then be refused; else it stands
    alone.
    """
    headers: dict[tuple[str, str], list[tuple[Path, pydicom.Dataset]]] = defaultdict(list)
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
        uid = str(header.get('SeriesInstanceUID') or path.name)
        headers[uid, str(header.get('PatientID', ''))].append((path, header))
    series = []
    for (uid, _), found in headers.items():
        series += _in_folders(uid, found)
    return _with_unreadable(series, unreadable), dict(others)


def _in_folders(uid: str, found: Sequence[tuple[Path, pydicom.Dataset]]) -> list[Series]:
    """The files of one series as one, or by folder where they cannot be."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path, _ in found:
        by_folder[path.parent].append(path)
    if len(by_folder) == 1:
        ((folder, paths),) = by_folder.items()
        return [Series(uid, folder, tuple(sorted(paths)))]
    places = {
        str(header.get('SOPInstanceUID', path)): str(header.get('ImagePositionPatient', path))
        for path, header in found
    }
    names = ', '.join(sorted(folder.name for folder in by_folder))
    if len(set(places.values())) == len(places):
        files = tuple(sorted(path for path, _ in found))
        folder = Path(os.path.commonpath(by_folder))
        return [Series(uid, folder, files, f'lies in {len(by_folder)} folders ({names})')]
    remark = f'shares its series UID with what lies in other folders ({names}), at the same places'
    return [
        Series(uid, folder, tuple(sorted(paths)), remark) for folder, paths in by_folder.items()
    ]


def _with_unreadable(series: list[Series], unreadable: Iterable[Path]) -> list[Series]:
    for path in unreadable:
        own = [index for index, one in enumerate(series) if one.folder == path.parent]
        if len(own) == 1:
            one = series[own[0]]
            files = (*one.files, path)
            series[own[0]] = Series(one.uid, one.folder, files, one.remark)
        else:
            series.append(Series(path.name, path.parent, (path,)))
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
    if modality == 'ct' and not all(frame.scaled for frame in stack.frames):
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
    for number, path in enumerate(files):
        datasets[number] = read_dataset(path, alone=len(files) == 1, **options)
        try:
            _check_kind(datasets[number], modality)
            frames += frames_of(datasets[number], path, number)
        except ScanError as error:
            odd[path.name] = error
            del datasets[number]
    left_out(odd, len(frames), 'no slices of it')
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
        raise ScanError(f'is a DICOM object that holds no scan ({kind}); move it away')
    kind, expected = str(dataset.get('Modality', '')), _MODALITIES.get(modality)
    if expected and kind != expected:
        raise ScanError(
            f'is a DICOM series of modality {kind or "unknown"} where {expected} was asked for; '
            'move it away or change --modality'
        )
    if int(dataset.get('SamplesPerPixel') or 1) > 1 or 'PALETTE' in dataset.get(
        'PhotometricInterpretation', ''
    ):
        raise ScanError('is a DICOM series of colour images where grey ones are expected; move it')


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
