"""DICOM: files to series, and a series to one volume whose slices belong together.

Through ITK: pydicom would be a second reader, and neither it nor ITK refuses missing slices.
"""

import locale
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from genesis_jax.errors import ScanError
from genesis_jax.imaging.integrity import check_spacing

_MODALITIES = {'ct': 'CT', 'mri': 'MR'}
_SUFFIXES = ('.dcm', '.dicom', '.ima')
# Of the median gap: scanners jitter by a few percent, a lost slice doubles it.
_GAP_TOLERANCE = 0.25


@dataclass(frozen=True)
class _Slice:
    name: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]  # mm, of a row's and a column's neighbours
    axes: tuple[float, ...]  # direction cosines of a row, then of a column
    position: tuple[float, ...]  # mm, of the first voxel

    @property
    def height(self) -> float:
        """Position along the slices' normal, in mm."""
        return float(np.dot(np.cross(self.axes[:3], self.axes[3:]), self.position))


def is_dicom(path: Path) -> bool:
    """Whether the file claims to be DICOM, by its suffix or by the mark after its preamble."""
    if path.name.upper() == 'DICOMDIR':
        return False  # an index of files, not an image
    if path.suffix.lower() in _SUFFIXES:
        return True
    if not (path.is_file() and os.access(path, os.R_OK)):
        return False  # opening a pipe would wait
    with path.open('rb') as file:
        return file.read(132)[128:] == b'DICM'


def group_series(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Files of one folder by series UID.

    A file whose header cannot be read belongs to the folder's series if there is only one, which
    will then be refused; else it stands alone, under its name.
    """
    series, unreadable = defaultdict(list), []
    for path in files:
        try:
            series[tag_of(read_header(path), '0020|000e') or path.name].append(path)
        except ScanError:
            unreadable.append(path)
    if len(series) == 1:
        return {uid: paths + unreadable for uid, paths in series.items()}
    return {**series, **{path.name: [path] for path in unreadable}}


def read_series(files: Sequence[Path], modality: str) -> sitk.Image:
    """Reads one series as a volume, its slices in the order of their positions.

    Raises:
      ScanError: not of this modality, unreadable, a single slice, or slices that differ in size,
        spacing or orientation, lie at the same place, or are missing.
    """
    headers = [read_header(path, alone=len(files) == 1) for path in files]
    for header in headers:
        _check_kind(header, modality)
    if len(files) == 1:
        if headers[0].GetSize()[-1] < 2:
            raise ScanError('is a DICOM series of a single slice; a volume needs at least two')
        return _execute(headers[0])  # a multi-frame file
    slices = [_slice(header) for header in headers]
    _check_alike(slices)
    order = sorted(range(len(slices)), key=lambda index: slices[index].height)
    gap = _checked_gap([slices[index] for index in order])
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO('GDCMImageIO')
    reader.SetFileNames([str(files[index]) for index in order])
    image = _execute(reader)
    image.SetSpacing((*image.GetSpacing()[:2], gap))
    return image


def read_header(path: Path, alone: bool = False) -> sitk.ImageFileReader:
    """The header of one file, without its pixels.

    Args:
      alone: it is the whole scan, so that an error needs not name it.

    Raises:
      ScanError: it cannot be read.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO('GDCMImageIO')
    reader.SetFileName(str(path))
    try:
        with own_locale():
            reader.ReadImageInformation()
    except RuntimeError:
        which = '' if alone else f'holds {path.name}, which '
        raise ScanError(f'{which}is not a readable DICOM image') from None
    return reader


def patient_id(path: Path) -> str:
    """The patient that a file names, empty if it names none or cannot be read."""
    try:
        return tag_of(read_header(path), '0010|0020')
    except ScanError:  # told when the scan is read
        return ''


def _execute(reader: sitk.ImageFileReader | sitk.ImageSeriesReader) -> sitk.Image:
    try:
        with own_locale():
            return reader.Execute()
    except RuntimeError:
        raise ScanError(
            'holds DICOM pixel data that cannot be decoded; copy or export the series again'
        ) from None


@contextmanager
def own_locale() -> Iterator[None]:
    """For ITK's DICOM code, which leaves the process in the C locale, where Python reads ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def tag_of(header: sitk.ImageFileReader, tag: str) -> str:
    """The text of a tag such as 0020|000e, empty if the header has none."""
    return header.GetMetaData(tag).strip(' \0') if header.HasMetaDataKey(tag) else ''


def _numbers(header: sitk.ImageFileReader, tag: str, count: int, what: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in tag_of(header, tag).split('\\'))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        name = Path(header.GetFileName()).name
        raise ScanError(f'holds {name}, which has no usable {what} (DICOM tag {tag})')
    return numbers


def _check_kind(header: sitk.ImageFileReader, modality: str) -> None:
    kind, expected = tag_of(header, '0008|0060'), _MODALITIES.get(modality)
    if expected and kind != expected:
        raise ScanError(
            f'is a DICOM series of modality {kind or "unknown"} where {expected} was asked for; '
            'move it away or change --modality'
        )
    if header.GetNumberOfComponents() > 1:
        raise ScanError('is a DICOM series of colour images where grey ones are expected; move it')


def _slice(header: sitk.ImageFileReader) -> _Slice:
    spacing = _numbers(header, '0028|0030', 2, 'pixel spacing')
    check_spacing(spacing)
    return _Slice(
        name=Path(header.GetFileName()).name,
        size=tuple(header.GetSize()),
        spacing=spacing,
        axes=_numbers(header, '0020|0037', 6, 'orientation'),
        position=_numbers(header, '0020|0032', 3, 'position'),
    )


def _check_alike(slices: Sequence[_Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        for what in ('size', 'spacing', 'axes'):
            ours, theirs = getattr(first, what), getattr(other, what)
            if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
                raise ScanError(
                    f'mixes slices of different {"orientation" if what == "axes" else what}: '
                    f'{_joined(ours)} in {first.name} and {_joined(theirs)} in {other.name}; '
                    'put each series into a folder of its own'
                )


def _checked_gap(ordered: Sequence[_Slice]) -> float:
    """The mean distance of neighbouring slices in mm, once they are known to be evenly spaced."""
    heights = np.array([item.height for item in ordered])
    gaps = np.diff(heights)
    twin = int(np.argmin(gaps))
    if gaps[twin] < 1e-3:
        raise ScanError(
            f'has two slices at the same position ({ordered[twin].name} and '
            f'{ordered[twin + 1].name}); remove the duplicates'
        )
    usual = float(np.median(gaps))
    worst = int(np.argmax(np.abs(gaps - usual)))
    if not math.isclose(gaps[worst], usual, rel_tol=_GAP_TOLERANCE):
        raise ScanError(
            f'has missing or unevenly spaced slices: {gaps[worst]:.2f} mm between '
            f'{ordered[worst].name} and {ordered[worst + 1].name}, {usual:.2f} mm elsewhere; '
            'complete the series'
        )
    return float(gaps.mean())


def _joined(numbers: Iterable[float]) -> str:
    return ' x '.join(f'{number:g}' for number in numbers)
