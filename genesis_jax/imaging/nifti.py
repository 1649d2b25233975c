"""NIfTI-1 and NIfTI-2, single files and .hdr/.img pairs: read and written by nibabel."""

import gzip
import math
import mmap
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling

from genesis_jax.errors import ScanError
from genesis_jax.imaging import nifti_geometry
from genesis_jax.imaging.integrity import Shape, check_bytes, unpack

_HEADERS = {  # by sizeof_hdr and magic
    (348, b'n+1'): Nifti1Header,
    (348, b'ni1'): Nifti1PairHeader,
    (540, b'n+2'): Nifti2Header,
    (540, b'ni2'): Nifti2PairHeader,
}
_MAGIC = {348: slice(344, 347), 540: slice(4, 7)}


def read(path: Path, channels: int) -> list[sitk.Image]:
    """The 3D volumes of a file, one per channel, on the grid that nibabel gives them (mm, LPS).

    Integers without scaling keep their type; scaled ones become float32, of 32 bits and more
    float64. What a file is called does not matter to whether it is compressed.

    Raises:
      ScanError: the file is damaged, does not hold such volumes, or says nothing sensible on where
        they lie.
      OSError: it cannot be opened.
    """
    header = read_header(path)
    _check_shape(header, channels)
    spacing, origin, direction = nifti_geometry.grid(header)
    data = path if header.is_single else _data_file(path)
    raw = _voxels(data, header).reshape(*header['dim'][1:4], channels, order='F')
    images = []
    for channel in range(channels):
        image = sitk.GetImageFromArray(_scaled(raw[..., channel], header).T)
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction)
        images.append(image)
    return images


def read_header(path: Path) -> Nifti1Header:
    """The header as stored; nothing in it is mended (a Nifti2Header is a Nifti1Header, too).

    Raises:
      ScanError: it is none.
      OSError: the file cannot be opened.
    """
    block = _first_bytes(path, 540)
    order = '<' if int.from_bytes(block[:4], 'little') in _MAGIC else '>'
    size = int(np.frombuffer(block[:4].ljust(4, b'\0'), f'{order}i4')[0])
    if size not in _MAGIC:
        raise ScanError('does not start with a NIfTI header; export it again')
    if len(block) < size:
        raise ScanError('ends within its NIfTI header; copy or export it again')
    kind = _HEADERS.get((size, block[_MAGIC[size]]))
    if kind is None:
        raise ScanError(
            'is an Analyze file, or a NIfTI without its magic word, which does not tell left from '
            'right; convert it to NIfTI with the program that made it'
        )
    alone = not path.name.lower().endswith(('.hdr', '.hdr.gz'))
    if alone != kind.is_single:
        raise ScanError(
            'says that its voxels are in an .img file of their own; call it .hdr and put that '
            'beside it'
            if alone
            else 'says that its voxels are in the same file; call it .nii'
        )
    return kind(block[:size], order, check=False)


def write(voxels: np.ndarray, path: Path, like: Path) -> None:
    """Writes voxels [I, J, K] to `path`, where the volume of the NIfTI file `like` lies.

    The qform, the sform, both codes, the voxel sizes and the unit are taken over to the bit.
    """
    source = read_header(like)
    kind = nibabel.Nifti2Image if isinstance(source, Nifti2Header) else nibabel.Nifti1Image
    header = kind.header_class()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header['pixdim'][:4] = source['pixdim'][:4]
    for field in nifti_geometry.FIELDS:
        header[field] = source[field]
    with LoggingOutputSuppressor():
        nibabel.save(kind(voxels, None, header), path)


def _first_bytes(path: Path, count: int) -> bytes:
    """So many bytes of the content, unpacked if it is compressed; fewer where there are not."""
    with path.open('rb') as file:
        if not _is_packed(file):
            return file.read(count)
        try:
            return gzip.open(file).read(count)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return b''


def _content(path: Path) -> memoryview:
    """All of the content, unpacked in memory if it is compressed, else mapped."""
    with path.open('rb') as file:
        if _is_packed(file):
            content = BytesIO()
            unpack(file, content)
            return content.getbuffer()
        if not path.stat().st_size:  # which cannot be mapped
            return memoryview(b'')
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _is_packed(file: BinaryIO) -> bool:
    start = file.read(2)
    file.seek(0)
    return start == b'\x1f\x8b'  # of gzip


def _data_file(path: Path) -> Path:
    stem = path.name[: path.name.lower().index('.hdr', -7)]
    for suffix in ('.img', '.img.gz', '.IMG', '.IMG.GZ'):
        if (data := path.with_name(stem + suffix)).is_file():
            return data
    raise ScanError(f'has its voxels in {stem}.img, which is missing; put it beside it')


def _check_shape(header: Nifti1Header, channels: int) -> None:
    rank = int(header['dim'][0])
    sides = [int(side) for side in header['dim'][1 : 1 + max(rank, 0)]]
    if not 1 <= rank <= 7 or min(sides) < 1:
        raise ScanError('has a NIfTI header without usable sides; export it again')
    try:
        kind = header.get_data_dtype()
    except KeyError:
        kind = np.dtype('V')
    if not kind.itemsize:
        raise ScanError(
            f'holds voxels of the data type {header["datatype"]}, which is not one that is read; '
            'export it again'
        )
    numbers = len(kind.fields) if kind.fields else 2 if kind.kind == 'c' else 1
    name = 'complex' if kind.kind == 'c' else 'colours' if kind.fields else kind.name
    if len(sides) > 4 and sides[3] == 1:  # the standard's place for what is of one voxel
        numbers *= math.prod(sides[4:])
        sides = sides[:3]
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    Shape(sides, numbers, name).check(channels)


def _voxels(path: Path, header: Nifti1Header) -> np.ndarray:
    """The stored numbers, of one axis, in this machine's byte order."""
    kind = header.get_data_dtype()
    start = float(header['vox_offset'])
    first = header.single_vox_offset if header.is_single else 0
    if not (math.isfinite(start) and start >= first and start == int(start)):
        raise ScanError(
            f'says that its voxels start at byte {start:g} (vox_offset), which is inside its '
            f'header; set it to where they start, at {first} or after it'
        )
    count = math.prod(header['dim'][1 : 1 + header['dim'][0]].tolist())
    content = _content(path)
    check_bytes(len(content) - int(start), count * kind.itemsize)
    raw = np.frombuffer(content, kind, count, int(start))
    return raw.astype(np.float64 if kind.itemsize > 8 else kind.newbyteorder('='), copy=False)


def _scaled(raw: np.ndarray, header: Nifti1Header) -> np.ndarray:
    # nibabel's own choice is float64; float32 holds whatever an integer of 16 bits becomes.
    exact = np.float32 if raw.itemsize < 4 or raw.dtype == np.float32 else np.float64
    try:
        with np.errstate(over='ignore', invalid='ignore'):  # infinite voxels are refused as such
            factors: Sequence[float | None] = header.get_slope_inter()
            slope, intercept = (None if factor is None else exact(factor) for factor in factors)
            return apply_read_scaling(raw, slope, intercept)
    except (HeaderDataError, ValueError):
        raise ScanError(
            f'has the slope {header["scl_slope"]:g} and the intercept {header["scl_inter"]:g}, by '
            'which its voxels are no numbers; correct its scl_slope and scl_inter'
        ) from None
