"""DICOM frames: what each image of a file says of its place, and of what its values mean.

A file holds one image, or several (an enhanced CT, MR or PET object), which say so in functional
groups, their own or shared ones; what these leave open the file itself says (PS3.3, C.7.6.16).
Through pydicom, whose decoders know the compressed transfer syntaxes.
"""

import logging
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from genesis_jax.errors import ScanError
from genesis_jax.imaging.integrity import check_spacing

# Objects with pixels that are no scans, by the beginning of their SOP class.
_DERIVED = {
    '1.2.840.10008.5.1.4.1.1.481.': 'radiotherapy',
    '1.2.840.10008.5.1.4.1.1.66.': 'segmentation or registration',
    '1.2.840.10008.5.1.4.1.1.11.': 'presentation state',
}
_ROTATION = 1e-3  # of direction cosines: headers round them


@dataclass(frozen=True)
class Frame:
    """One image of a DICOM file.

    Attributes:
      name: of its file, with its number there if it is one of several.
      file, number: where its pixels are; numbers begin at 0.
      uid: of the file's SOP instance.
      size: columns, rows.
      spacing: mm between neighbours along x (columns) and y (rows).
      axes: direction cosines of x, then of y.
      position: mm, of the first pixel.
      slope, intercept: stored values to those of the modality.
      bounds: the lowest and the highest value that its bits can hold; None: floating point.
      scaled: whether slope and intercept were there.
    """

    name: str
    file: int
    number: int
    uid: str
    size: tuple[int, int]
    spacing: tuple[float, ...]
    axes: tuple[float, ...]
    position: tuple[float, ...]
    slope: float
    intercept: float
    bounds: tuple[int, int] | None = field(compare=False)
    scaled: bool = True


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings of values that the standard forbids.

    Values are only understood when they are asked for, so it belongs around all use of a dataset.
    """
    log = logging.getLogger('pydicom')
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', module='pydicom')
            yield
    finally:
        log.setLevel(before)


@quiet()
def read_dataset(path: Path, alone: bool = False, **options: Any) -> pydicom.Dataset:
    """A DICOM file as a dataset, with or without a preamble.

    Args:
      alone: it is the whole scan, so that an error needs not name it.
      options: of `pydicom.dcmread`.

    Raises:
      ScanError: it cannot be read.
    """
    try:
        dataset = pydicom.dcmread(path, force=True, **options)
        if 'SOPClassUID' in dataset or 'Rows' in dataset or 'SeriesInstanceUID' in dataset:
            _complete(dataset)
            return dataset
    except Exception:  # pydicom raises whatever the bytes lead it to
        pass
    which = '' if alone else f'holds {path.name}, which '
    raise ScanError(f'{which}is not a readable DICOM image')


def kind_of(dataset: pydicom.Dataset) -> str:
    """What an object is that is no scan, such as 'RT Structure Set'; empty: it holds images."""
    uid = dataset.get('SOPClassUID') or pydicom.uid.UID('')
    derived = next((name for start, name in _DERIVED.items() if uid.startswith(start)), '')
    if 'Rows' in dataset and not derived:
        return ''
    name = uid.name.removesuffix(' Storage') + ' without pixels' * ('Image' in uid.name)
    return (
        name if name != str(uid) else derived or f'objects without an image ({uid or "no class"})'
    )


def frames_of(dataset: pydicom.Dataset, path: Path, file: int) -> list[Frame]:
    """All frames of a file, in the order of its pixels.

    Raises:
      ScanError: one does not say where it lies, or the header contradicts itself.
    """
    count = int(dataset.get('NumberOfFrames') or 1)
    own = dataset.get('PerFrameFunctionalGroupsSequence') or []
    if own and len(own) != count:
        raise ScanError(
            f'holds {path.name}, which promises {count} frames and describes {len(own)}; export '
            'it again'
        )
    if 'ModalityLUTSequence' in dataset:
        raise ScanError(
            f'holds {path.name}, whose values are meant through a table (Modality LUT), which is '
            'not read; export it with rescale slope and intercept'
        )
    frames = []
    for number in range(count):
        name = path.name if count == 1 else f'frame {number + 1} of {path.name}'
        frames.append(_frame(dataset, groups_of(dataset, number), name, file, number))
    return frames


def decoded(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """The stored values [frames, rows, columns] of a file.

    Raises:
      ScanError: bytes are missing, or cannot be decoded.
    """
    try:
        pixels = _plain(dataset)
        pixels = dataset.pixel_array if pixels is None else pixels
    except Exception as error:  # whatever a decoder raises
        missing = isinstance(error, ValueError) and 'expected' in str(error)
        what = 'are fewer bytes than its header promises' if missing else 'cannot be decoded'
        syntax = dataset.file_meta.TransferSyntaxUID.name
        raise ScanError(
            f'holds {path.name}, whose pixels ({syntax}) {what}; copy or export the series again'
        ) from None
    pixels = pixels.reshape(-1, dataset.Rows, dataset.Columns)
    return pixels if pixels.dtype.kind == 'f' else _used_bits(dataset, pixels)


def _plain(dataset):
    """The values of a single image that is stored as it is, without a copy; None of any other."""
    values = dataset.get('PixelData')
    shape = (int(dataset.Rows), int(dataset.Columns))
    if (
        dataset.file_meta.TransferSyntaxUID not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
        or dataset.get('BitsAllocated') != 16
        or len(values or b'') != 2 * shape[0] * shape[1]
    ):
        return None
    return np.frombuffer(values, '<i2' if dataset.PixelRepresentation else '<u2').reshape(shape)


def _complete(dataset):
    """Says how pixels are encoded where a file without a header of its own does not."""
    if 'file_meta' not in dataset.__dict__:
        dataset.file_meta = FileMetaDataset()
    if 'TransferSyntaxUID' not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _frame(dataset, places, name, file, number):
    spacing = _numbers(dataset, places, 'PixelMeasures', 'PixelSpacing', 2, name)[::-1]
    check_spacing(spacing)
    axes = _numbers(dataset, places, 'PlaneOrientation', 'ImageOrientationPatient', 6, name)
    rows = np.reshape(axes, (2, 3))
    if not np.allclose(rows @ rows.T, np.eye(2), rtol=0, atol=_ROTATION):
        raise ScanError(
            f'holds {name}, whose rows and columns are not at right angles or not of length 1 '
            f'(orientation {_joined(axes)}); correct its header'
        )
    scale = [
        value_of(dataset, places, 'PixelValueTransformation', f'Rescale{which}')
        for which in ('Slope', 'Intercept')
    ]
    return Frame(
        name=name,
        file=file,
        number=number,
        uid=str(dataset.get('SOPInstanceUID', '')),
        size=(int(dataset.Columns), int(dataset.Rows)),
        spacing=spacing,
        axes=axes,
        position=_numbers(dataset, places, 'PlanePosition', 'ImagePositionPatient', 3, name),
        slope=1.0 if scale[0] is None else float(scale[0]),
        intercept=0.0 if scale[1] is None else float(scale[1]),
        bounds=_bounds(dataset),
        scaled=scale[1] is not None,
    )


def groups_of(dataset: pydicom.Dataset, number: int) -> tuple[pydicom.Dataset | None, ...]:
    """The functional groups of a frame: its own, and those that all share."""
    own = dataset.get('PerFrameFunctionalGroupsSequence') or []
    shared = dataset.get('SharedFunctionalGroupsSequence') or [None]
    return own[number] if own else None, shared[0]


def value_of(dataset: pydicom.Dataset, places: Iterable, group: str, keyword: str) -> Any:
    """A value of the frame's own functional groups, of the shared ones, or of the file."""
    for place in places:
        items = place.get(f'{group}Sequence') if place is not None else None
        if items and items[0].get(keyword) not in (None, ''):
            return items[0].get(keyword)
    value = dataset.get(keyword)
    return None if value == '' else value


def _numbers(dataset, places, group, keyword, count, name):
    try:
        numbers = tuple(map(float, value_of(dataset, places, group, keyword) or ()))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        what = {'PixelSpacing': 'pixel spacing', 'ImageOrientationPatient': 'orientation'}
        tag = pydicom.datadict.tag_for_keyword(keyword)
        raise ScanError(
            f'holds {name}, which has no usable {what.get(keyword, "position")} (DICOM tag '
            f'{tag >> 16:04x}|{tag & 0xFFFF:04x}); export it again'
        )
    return numbers


def _bounds(dataset):
    if 'FloatPixelData' in dataset or 'DoubleFloatPixelData' in dataset:
        return None
    bits = int(dataset.get('BitsStored') or dataset.get('BitsAllocated') or 16)
    signed = dataset.get('PixelRepresentation') == 1
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _used_bits(dataset, pixels):
    """Without what overlays or carelessness left in bits that no value uses, and with its sign."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get('BitsStored') or 0)
    if not 0 < stored < allocated or allocated != 8 * pixels.itemsize:
        return pixels
    compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
    high = stored - 1 if compressed else int(dataset.get('HighBit', stored - 1))
    low, top = _bounds(dataset)
    if high == stored - 1 and low <= pixels.min() and pixels.max() <= top:
        return pixels
    return (pixels << (allocated - 1 - high)) >> (allocated - stored)


def begins_like_dicom(path: Path) -> bool:
    """Whether a file has the mark after its preamble; or none, and a DICOM element first."""
    with path.open('rb') as file:
        start = file.read(132)
    if start[128:] == b'DICM':
        return True
    if len(start) < 16:
        return False
    group, _, vr, _, length = struct.unpack_from('<HH2sHI', start)
    if group not in (0x0002, 0x0008):
        return False
    if not vr.isalpha():  # implicit: a length, which is short for what comes first
        length = struct.unpack_from('<I', start, 4)[0]
        if length > 256:
            return False
    try:
        read_dataset(path, stop_before_pixels=True)
    except ScanError:
        return False
    return True


def _joined(numbers):
    return '\\'.join(f'{number:.6g}' for number in numbers)
