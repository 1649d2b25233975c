"""Where a NIfTI header says that its voxels lie.

It says so up to three times: by its sform, its qform and the voxel sizes in pixdim. The first of
them that is set is used, which is nibabel's rule; what contradicts it is remarked on.
"""

import warnings

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.affine import NOTICED, StraightGrid, corner_distance, in_mm, straightened
from genesis_jax.imaging.integrity import check_spacing

# All that says where the voxels lie. A result that takes it over lies where its scan does, in any
# viewer, whichever of the matrices that one prefers.
FIELDS = (
    'qform_code', 'sform_code', 'quatern_b', 'quatern_c', 'quatern_d', 'qoffset_x', 'qoffset_y',
    'qoffset_z', 'srow_x', 'srow_y', 'srow_z', 'xyzt_units',
)  # fmt: skip  # and pixdim

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, mm, micrometre
_SPATIAL_UNITS = 0b111  # of xyzt_units; the other bits are the unit of time
_QUATERNION = ('quatern_b', 'quatern_c', 'quatern_d')
_LONGEST = 1.001  # that rounding makes of a quaternion of length 1
_CODES = range(6)
_LARGE = 100.0  # mm; no scan has such voxels
_SMALL = 2.0  # mm; few scans are as small


@np.errstate(over='ignore', invalid='ignore')  # what is not finite is refused
def grid(header: Nifti1Header) -> StraightGrid:
    """The spacing, origin and direction (mm, LPS) of a NIfTI-1 or NIfTI-2 header.

    Raises:
      ScanError: nothing sensible, or the axes are sheared.
    """
    header = header.copy()
    size = header['dim'][1:4].astype(int).tolist()
    unit = _unit(header)
    pixdim = header['pixdim'][1:4].astype(float) * unit
    check_spacing(pixdim)
    for name in ('sform', 'qform'):
        if header[f'{name}_code'] not in _CODES:
            raise ScanError(
                f'has the {name}_code {header[f"{name}_code"]}, but NIfTI knows 0 to 5; set it to '
                f'1 if its {name} is right, else to 0'
            )
    used, matrix = _used(header)
    matrix[:3] *= unit
    placed = straightened(_TO_LPS @ matrix, size, used, _remedy(header, used))
    spacing = np.array(placed[0])
    _check_size(spacing, size, unit)
    if used == 'pixdim':
        warnings.warn(
            'says neither by a qform nor by an sform where it lies, so left and right are a guess: '
            'its first axis was taken to run to the left, the second to the front, the third to '
            'the head, as nibabel does',
            ScanRemark,
            stacklevel=2,
        )
    if used == 'sform' and not _qform_differs(header, matrix, size, unit):
        _compare_pixdim(spacing, pixdim, size)
    return placed


def _used(header: Nifti1Header) -> tuple[str, np.ndarray]:
    if header['sform_code']:
        return 'sform', header.get_sform()
    if header['qform_code']:
        return 'qform', _qform(header)
    return 'pixdim', header.get_base_affine()


def _qform(header: Nifti1Header) -> np.ndarray:
    if header['pixdim'][0] == 0:
        header['pixdim'][0] = 1  # as the standard asks
    _shorten_quaternion(header)
    try:
        matrix = header.get_qform()
    except (HeaderDataError, ValueError) as error:
        matrix, reason = np.full((4, 4), np.nan), f'({error})'
    else:
        reason = '(NaN or infinity)'
    if not np.isfinite(matrix).all():
        raise ScanError(
            f'has a qform that is no rotation {reason}; correct it, or set an sform and its code'
        )
    return matrix


def _shorten_quaternion(header: Nifti1Header) -> None:
    """Makes b, c, d of unit length where rounding has made them a little longer, as niftilib does.

    nibabel refuses what is longer than 1 by more than float32 rounds; files round to five digits.
    """
    length = float(np.linalg.norm([float(header[name]) for name in _QUATERNION]))
    if length > _LONGEST:
        raise ScanError(
            f'has a qform that is no rotation (its quaternion b, c, d has the length {length:.7g}, '
            'but 1 at most is expected); correct it, or set an sform and its code'
        )
    if length > 1:
        for name in _QUATERNION:
            header[name] = float(header[name]) / length


def _qform_differs(header: Nifti1Header, sform: np.ndarray, size: list[int], unit: float) -> bool:
    """Whether there is a qform that lies elsewhere, which is remarked on."""
    if not header['qform_code']:
        return False
    codes = f'(code {header["sform_code"]})', f'(code {header["qform_code"]})'
    try:
        qform = _qform(header)
    except ScanError as error:
        words = str(error).partition(';')[0]
        told = f'{words}: its sform {codes[0]} was used'
    else:
        qform[:3] *= unit
        apart = corner_distance(sform, qform, size)
        if apart <= NOTICED * np.linalg.norm(sform[:3, :3], axis=0).min():
            return False
        told = (
            f'has an sform {codes[0]} and a qform {codes[1]} that differ by up to {in_mm(apart)} '
            'mm: its sform was used, as nibabel does; some programs show it by its qform'
        )
    warnings.warn(told, ScanRemark, stacklevel=3)
    return True


def _compare_pixdim(spacing: np.ndarray, pixdim: np.ndarray, size: list[int]) -> None:
    apart = np.abs(spacing - pixdim) * (np.array(size) - 1)
    if apart.max() > NOTICED * spacing.min():
        ours, theirs = (' x '.join(f'{mm:.6g}' for mm in sides) for sides in (spacing, pixdim))
        warnings.warn(
            f'has voxels of {ours} mm by its sform and of {theirs} mm by its pixdim, which differ '
            f'by up to {in_mm(apart.max())} mm over the scan: its sform was used, as nibabel does',
            ScanRemark,
            stacklevel=3,
        )


def _unit(header: Nifti1Header) -> float:
    """Millimetres in the header's unit of length."""
    code = int(header['xyzt_units']) & _SPATIAL_UNITS
    if code not in _MILLIMETRES:
        raise ScanError(
            f'has the unit of length {code} in xyzt_units, but NIfTI knows 1 (m), 2 (mm) and '
            '3 (micrometre); set the right one'
        )
    return _MILLIMETRES[code]


def _check_size(spacing: np.ndarray, size: list[int], unit: float) -> None:
    """Refuses or remarks on sizes that are probably mm, whatever the unit says."""
    sides = ' x '.join(f'{mm:.6g}' for mm in spacing)
    if unit == 1000 and spacing.max() > _LARGE:
        raise ScanError(
            f'gives its voxel sizes in metres, by which they are {sides} mm; if they are meant in '
            'mm, set its xyzt_units to 2'
        )
    if unit == 0.001 and max(spacing * size) < _SMALL:
        warnings.warn(
            f'gives its voxel sizes in micrometres, by which they are {sides} mm; if they are '
            'meant in mm, set its xyzt_units to 2',
            ScanRemark,
            stacklevel=3,
        )


def _remedy(header: Nifti1Header, used: str) -> str:
    resample = 'resample it, for example by nibabel.processing.resample_to_output'
    if used == 'sform' and header['qform_code']:
        return f'set its sform_code to 0 if its qform is right, or else {resample}'
    return resample
