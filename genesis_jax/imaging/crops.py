"""Patches around points of a scan, whatever its orientation and spacing.

Points are in world mm, LPS as in DICOM and ITK. A patch is cut from the scan as prepared: LPS
orientation, int16, and resampled if a spacing is asked for. Resampling only the patch gives the
voxels that resampling the whole scan would give there.
"""

import numpy as np
import SimpleITK as sitk

from genesis_jax.imaging.volumes import CT_PADDING, Modality, as_volume, oriented

Index = tuple[int, ...]
Header = sitk.Image | sitk.ImageFileReader  # either says where voxels lie


def prepare_image(image: sitk.Image, modality: Modality) -> tuple[sitk.Image, tuple[float, float]]:
    """A scan as stored becomes int16 in LPS; also returns the window that becomes 0 and 1.

    Raises:
      ScanError: not CT, and constant.
    """
    turned = oriented(image)
    volume = as_volume(turned, modality)
    prepared = sitk.GetImageFromArray(volume.clean(volume.voxels).T)
    prepared.CopyInformation(turned)
    return prepared, volume.window


def crop(
    image: sitk.Image, centre, size, spacing=None, padding=CT_PADDING
) -> tuple[np.ndarray, Index]:
    """Cuts the patch whose voxel `size // 2` is the one nearest to a point.

    Args:
      image: int16, in LPS orientation.
      centre: world mm.
      size: voxels along x, y, z.
      spacing: mm along x, y, z to resample to, linearly; None keeps the image's own.
      padding: of voxels outside the scan.

    Returns:
      int16 [X, Y, Z], and the index of its first voxel in the scan as prepared, which is negative
      where the patch begins outside.
    """
    start = _start(image, centre, size, spacing)
    if spacing is None:
        return _cut(image, start, size, padding), start
    part = _resampled(image, start, size, spacing, padding, sitk.sitkInt16)
    return sitk.GetArrayFromImage(part).T, start


def crop_mask(mask: sitk.Image, centre, size, spacing=None) -> np.ndarray:
    """The mask (uint8, 0 and 1) of the patch that `crop` cuts, [X, Y, Z].

    Resampled, a voxel belongs to the mask if its interpolated share is at least one half.
    """
    start = _start(mask, centre, size, spacing)
    if spacing is None:
        return _cut(mask, start, size, 0)
    share = _resampled(mask, start, size, spacing, 0, sitk.sitkFloat32)
    return (sitk.GetArrayFromImage(share).T >= 0.5).astype(np.uint8)


def to_index(image: Header, points: np.ndarray) -> np.ndarray:
    """World points [N, 3] to continuous voxel indices [N, 3]; whole numbers are voxel centres."""
    axes = np.reshape(image.GetDirection(), (3, 3))
    return (points - np.array(image.GetOrigin())) @ np.linalg.inv(axes).T / image.GetSpacing()


def to_world(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """Continuous voxel indices [N, 3] to world points [N, 3]."""
    axes = np.reshape(image.GetDirection(), (3, 3))
    return (indices * image.GetSpacing()) @ axes.T + image.GetOrigin()


def outside(image: Header, indices: np.ndarray) -> np.ndarray:
    """Which continuous indices [N, 3] lie in no voxel of the image, [N]."""
    tolerance = 1e-3  # voxels: a coordinate written with few digits may miss the very edge
    low, high = -0.5 - tolerance, np.array(image.GetSize()) - 0.5 + tolerance
    return np.logical_not(((indices >= low) & (indices <= high)).all(axis=1))


def _start(image: sitk.Image, centre, size, spacing) -> Index:
    index = to_index(image, np.array([centre], float))[0]
    if spacing is not None:
        index = index * image.GetSpacing() / np.array(spacing)
    nearest = np.floor(index + 0.5).astype(int)
    return tuple(int(n) for n in nearest - np.array(size) // 2)


def _cut(image: sitk.Image, start: Index, size, padding) -> np.ndarray:
    voxels = sitk.GetArrayViewFromImage(image).T
    patch = np.full(size, padding, voxels.dtype)
    low = np.maximum(start, 0)
    high = np.minimum(np.add(start, size), voxels.shape)
    if (low < high).all():
        inside = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        patch[inside] = voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return patch


def _resampled(image: sitk.Image, start, size, spacing, padding, kind) -> sitk.Image:
    axes = np.reshape(image.GetDirection(), (3, 3))
    origin = np.array(image.GetOrigin()) + axes @ (np.array(start) * spacing)
    return sitk.Resample(
        image, [int(n) for n in size], sitk.Transform(), sitk.sitkLinear,
        origin.tolist(), tuple(spacing), image.GetDirection(), float(padding), kind,
    )  # fmt: skip
