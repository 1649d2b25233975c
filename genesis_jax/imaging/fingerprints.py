"""What tells one scan under two names: its voxels, whatever its file, voxel type and axes."""

import hashlib
from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

from genesis_jax.imaging.intensity import as_int16, is_whole
from genesis_jax.imaging.volumes import CT_PADDING, Modality, oriented

_HASHED = 1 << 22  # voxels of a scan, at least, if it has as many


def voxel_hash(channels: Iterable[sitk.Image], modality: Modality) -> bytes:
    """A fingerprint of an image's voxels in LPS, whatever type and order they are stored in.

    Of CT it is that of the HU as prepared: whole, and padding raised. Else values that fit int16
    and are whole, but for a thousandth, count as such, and all others as float32. Of large scans
    some slices are looked at: noise alone tells scans apart.
    """
    fingerprint = hashlib.sha256()  # many processors have it built in
    for image in channels:
        image = oriented(image)  # kept: its array is a view
        voxels = sitk.GetArrayViewFromImage(image)
        slices = voxels[:: max(1, voxels.size // _HASHED)]
        whole = modality == 'ct' or all(map(is_whole, slices))
        fingerprint.update(repr((voxels.shape, whole)).encode())
        for plane in slices:  # of one slice, other types take little memory
            if modality == 'ct' and plane.min() < CT_PADDING:
                plane = plane.clip(CT_PADDING)
            fingerprint.update((as_int16(plane) if whole else plane.astype(np.float32)).data)
    return fingerprint.digest()[:16]
