"""Masks beside scans: an organ that patches are centred in, and what no network is to learn.

A mask is a 3D image of any format on the grid of its scan, non-zero where it holds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from data_prep.types import Job, listed
from genesis_jax.cli.arguments import Parser, existing_folder
from genesis_jax.errors import PrepareError, ScanError
from genesis_jax.imaging.geometry import Grid
from genesis_jax.imaging.intensity import whole
from genesis_jax.imaging.label_files import masks_by_name
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.volumes import oriented, read_image

OPTIONS = ('inside', 'leave_out')
_TRACE = 1e-6  # of a voxel: what rounding leaves where grids are the same


@dataclass(frozen=True)
class Regions:
    """Which masks are used, of the folders that the options of these names give.

    Attributes:
      inside: patches are centred in the scan's mask.
      leave_out: what the scan's mask covers enters no record, and the loss ignores it.
      inside_labels: of the values in the masks of `inside`, those that count; empty: all but zero.
    """

    inside: bool = False
    leave_out: bool = False
    inside_labels: tuple[int, ...] = ()


def add_regions(parser: Parser) -> None:
    """The options that give masks."""
    named = (
        'folder of masks, one for each scan and called like it (CASE or CASE_mask, CASE_seg, ...)'
    )
    text = f'{named}: patches are centred on their non-zero voxels'
    parser.option('inside', existing_folder, 'MASKS', text)
    text = 'of the values in these masks, those that count'
    parser.option('inside_labels', _values, 'N,...', text, otherwise='all but 0')
    text = (
        f'{named}: their non-zero voxels (a removed face, burnt-in text) are blanked, and the loss '
        'of a pre-training ignores them'
    )
    parser.option('leave_out', existing_folder, 'MASKS', text)


def regions_of(parser: Parser, args: argparse.Namespace) -> Regions:
    """What the options ask for; ends the program if they need another one."""
    if not args.inside:
        parser.refuse(args, ['inside_labels'], 'is of the masks of --inside; give that, too')
    return Regions(bool(args.inside), bool(args.leave_out), args.inside_labels or ())


def with_masks(jobs: Sequence[Job], args: argparse.Namespace) -> tuple[list[Job], list[str]]:
    """The jobs with their masks by name, and lines on masks of no scan.

    Raises:
      PrepareError: an option's folder has no mask of any scan, or names do not tell which.
    """
    scans = {job.scan_id: job.source for job in jobs}
    masks: dict[str, dict[str, Scan]] = {job.scan_id: {} for job in jobs}
    notes = []
    for option in filter(lambda option: getattr(args, option), OPTIONS):
        folder = getattr(args, option)
        found, others = masks_by_name(scans, folder)
        if not found:
            raise PrepareError(
                f'no mask below {folder} is called like a scan (a scan: {min(scans)}; a mask: '
                f'{others[0].shown if others else "none"}); rename them or correct --{option}'
            )
        for scan_id, mask in found.items():
            masks[scan_id][option] = mask
        if others:
            names = listed([mask.shown for mask in others])
            notes.append(f'Masks of no scan by their names, in --{option}: {names}')
    return [replace(job, masks=masks[job.scan_id]) for job in jobs], notes


def read_masks(job: Job, image: sitk.Image, regions: Regions) -> dict[str, sitk.Image]:
    """The masks of a scan by option, uint8 (0 and 1) in LPS, on the grid of its image.

    Args:
      image: of the scan, as stored but in LPS.

    Raises:
      ScanError: a mask is missing, cannot be read, is empty, or lies elsewhere.
    """
    masks = {}
    for option in (option for option in OPTIONS if getattr(regions, option)):
        if option not in job.masks:
            blank = ', an empty one if all of it may be used' * (option == 'leave_out')
            raise ScanError(f'has no mask in --{option}; add one called like it{blank}')
        values = regions.inside_labels if option == 'inside' else ()
        masks[option] = _read(job, job.masks[option], image, values)
    if regions.inside and not sitk.GetArrayViewFromImage(masks['inside']).any():
        of = f' of {", ".join(map(str, regions.inside_labels))}' * bool(regions.inside_labels)
        raise ScanError(
            f'has a mask without a voxel{of} ({job.masks["inside"].shown}); correct it or remove '
            'the scan'
        )
    return masks


def centres(mask: sitk.Image, image: sitk.Image) -> np.ndarray:
    """The mask of `--inside` on the grid of the scan as prepared, bool [X, Y, Z]."""
    nearest = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(nearest).T.astype(bool)


def valid(mask: sitk.Image, image: sitk.Image) -> np.ndarray:
    """1 where nothing of the mask of `--leave_out` enters a voxel as prepared, uint8 [X, Y, Z].

    Resampled, that is where no voxel of the mask is among those interpolated between.
    """
    share = sitk.Cast(mask, sitk.sitkFloat32)
    share = sitk.Resample(share, image, sitk.Transform(), sitk.sitkLinear)
    return (sitk.GetArrayFromImage(share).T < _TRACE).astype(np.uint8)


def blanked(image: sitk.Image, shown: np.ndarray) -> sitk.Image:
    """The image with its lowest value shown wherever `shown` (uint8 [X, Y, Z]) is 0.

    Nothing of what was there is left, in no record and in no window.

    Raises:
      ScanError: nothing is shown.
    """
    voxels, kept = sitk.GetArrayFromImage(image), shown.T.astype(bool)
    if not kept.any():
        raise ScanError('is covered by its mask in --leave_out as a whole; remove it')
    voxels[~kept] = voxels[kept].min()
    blank = sitk.GetImageFromArray(voxels)
    blank.CopyInformation(image)
    return blank


def _read(job: Job, file: Scan, image: sitk.Image, values: Sequence[int]) -> sitk.Image:
    try:
        stored = read_image(file, 'other')
    except ScanError as error:
        raise ScanError(f'has the mask {file.shown}, which {error}') from None
    voxels = whole(sitk.GetArrayViewFromImage(stored))
    held = np.isin(voxels, values) if values else voxels != 0
    mask = sitk.GetImageFromArray(held.view(np.uint8))
    mask.CopyInformation(stored)
    mask = oriented(mask)
    if what := Grid.of(mask).difference(Grid.of(image)):
        raise ScanError(
            f'has a mask of another grid ({job.shown} and {file.shown} differ in {what}); resample '
            'the mask to that of the scan'
        )
    mask.CopyInformation(image)
    return mask


def _values(text: str) -> tuple[int, ...]:
    """An argparse type: values of a mask."""
    words = text.split(',')
    if not all(word.isdecimal() and int(word) for word in words):
        raise argparse.ArgumentTypeError(f'expected whole numbers from 1, found {text!r}')
    return tuple(map(int, words))
