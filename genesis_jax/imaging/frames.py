"""DICOM frames: what each image of a file says of its place, and of what its values mean.

A file holds one image, or several (an enhanced CT, MR or PET object), which say so in functional
groups, their own or shared ones; what these leave open the file itself says (PS3.3, C.7.6.16).
Through pydicom, whose decoders know the compressed transfer syntaxes.
"""

import logging
import math
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
from genesis_jax.imaging.pixels import bounds_of

# Objects with pixels that are no scans, by the beginning of their SOP class.
_DERIVED = {
    '1.2.840.10008.5.1.4.1.1.481.': 'radiotherapy',
    '1.2.840.10008.5.1.4.1.1.66.': 'segmentation or registration',
    '1.2.840.10008.5.1.4.1.1.11.': 'presentation state',
}
_ROTATION = 1e-3  # of direction cosines: headers round them


class NotASlice(ScanError):
    """An image that does not say where it lies, or is of another kind."""


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
      slope, intercept: stored values to those of the modality, or of the real world where only
        these are mapped.
      bounds: the lowest and the highest value that its bits can hold; None: floating point.
      scaled: whether it says how.
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


def frames_of(dataset: pydicom.Dataset, file_name: str, file: int) -> list[Frame]:
    """All frames of a file, in the order of its pixels.

    Args:
      file_name: for messages.
      file: its number in the series.

    Raises:
      ScanError: one does not say where it lies, or the header contradicts itself.
    """
    count = int(dataset.get('NumberOfFrames') or 1)
    own = dataset.get('PerFrameFunctionalGroupsSequence') or []
    if own and len(own) != count:
        raise ScanError(
            f'holds {file_name}, which promises {count} frames and describes {len(own)}; export '
            'it again'
        )
    if 'ModalityLUTSequence' in dataset:
        raise ScanError(
            f'holds {file_name}, whose values are meant through a table (Modality LUT), which is '
            'not read; export it with rescale slope and intercept'
        )
    frames = []
    for number in range(count):
        name = file_name if count == 1 else f'frame {number + 1} of {file_name}'
        frames.append(_frame(dataset, groups_of(dataset, number), name, file, number))
    return frames


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
    scale = _scale(dataset, places, name)
    return Frame(
        name=name,
        file=file,
        number=number,
        uid=str(dataset.get('SOPInstanceUID', '')),
        size=(int(dataset.Columns), int(dataset.Rows)),
        spacing=spacing,
        axes=axes,
        position=_numbers(dataset, places, 'PlanePosition', 'ImagePositionPatient', 3, name),
        slope=scale.get('Slope', 1.0),
        intercept=scale.get('Intercept', 0.0),
        bounds=bounds_of(dataset),
        scaled=bool(scale),
    )


def _scale(dataset, places, name):
    """Slope and intercept, of those that are said; of the modality, else of the real world."""
    for group, start in (
        ('PixelValueTransformation', 'Rescale'),
        ('RealWorldValueMapping', 'RealWorldValue'),
    ):
        scale = {}
        for which in ('Slope', 'Intercept'):
            value = value_of(dataset, (*places, dataset), group, f'{start}{which}')
            if value is None:
                continue
            try:
                scale[which] = float(value)
            except (TypeError, ValueError):
                scale[which] = math.nan
            if not math.isfinite(scale[which]) or scale == {'Slope': 0}:
                raise ScanError(
                    f'holds {name}, whose {start}{which} is {value}; expected a number'
                    f'{" other than 0" * (which == "Slope")}; correct its header'
                )
        if scale:
            return scale
    return {}


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
        raise NotASlice(
            f'holds {name}, which has no usable {what.get(keyword, "position")} (DICOM tag '
            f'{tag >> 16:04x}|{tag & 0xFFFF:04x}); export it again'
        )
    return numbers


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
