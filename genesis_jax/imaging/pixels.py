"""DICOM pixels: the stored values of a file, whatever their encoding and bits."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from genesis_jax.errors import ScanError


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


def bounds_of(dataset: pydicom.Dataset) -> tuple[int, int] | None:
    """The lowest and the highest value that the bits can hold; None: floating point."""
    if 'FloatPixelData' in dataset or 'DoubleFloatPixelData' in dataset:
        return None
    bits = int(dataset.get('BitsStored') or dataset.get('BitsAllocated') or 16)
    signed = dataset.get('PixelRepresentation') == 1
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


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
    signed = dataset.get('PixelRepresentation') == 1
    return np.frombuffer(values, '<i2' if signed else '<u2').reshape(shape)


def _used_bits(dataset, pixels):
    """Without what overlays or carelessness left in bits that no value uses, and with its sign."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get('BitsStored') or 0)
    if not 0 < stored < allocated or allocated != 8 * pixels.itemsize:
        return pixels
    compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
    high = stored - 1 if compressed else int(dataset.get('HighBit', stored - 1))
    low, top = bounds_of(dataset)
    if high == stored - 1 and low <= pixels.min() and pixels.max() <= top:
        return pixels
    used = (pixels << (allocated - 1 - high)) >> (allocated - stored)
    padding = dataset.get('PixelPaddingValue')
    if isinstance(padding, int):  # may lie beyond these bits, where it means nothing but padding
        word = np.array(padding % (1 << allocated), f'u{pixels.itemsize}').view(pixels.dtype)
        used[pixels == word] = low
    return used
