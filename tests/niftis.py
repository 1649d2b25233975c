"""NIfTI files of which every header field is known."""

import gzip

import numpy as np
from nibabel.nifti1 import Nifti1Header

PLAIN = np.diag([-1.0, -1.0, 1.0, 1.0])  # voxels of 1 mm whose axes are LPS


def save(path, voxels, *, sform=PLAIN, qform=None, kind=Nifti1Header, order='<', **fields):
    """Writes voxels below a header; `fields` replace what follows from the matrices (RAS, mm)."""
    header = kind(endianness=order)
    header.set_data_shape(voxels.shape)
    header.set_data_dtype(voxels.dtype)
    if sform is not None:
        header.set_sform(sform, 1)
        header['pixdim'][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
    if qform is not None:
        header.set_qform(qform, 1)
    header['vox_offset'] = start = header.single_vox_offset if header.is_single else 0
    for name, value in fields.items():
        header[name] = value
    data = voxels.astype(header.get_data_dtype()).tobytes('F')
    path.parent.mkdir(parents=True, exist_ok=True)
    if header.is_single:
        content = header.binaryblock.ljust(start, b'\0') + data
        path.write_bytes(gzip.compress(content, 1) if path.suffix == '.gz' else content)
    else:
        path.write_bytes(header.binaryblock)
        path.with_suffix('.img').write_bytes(data)
    return path


def rewrite(path, **fields):
    """Sets fields of an uncompressed NIfTI-1."""
    content = bytearray(path.read_bytes())
    header = Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
