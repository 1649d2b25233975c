"""Scans with a label per voxel: read, checked against each other, brought to LPS, cut.

The image comes as one file per channel or as one 4D file. Labels are refused, and with them the
whole preparation, if they lie elsewhere than their image or hold values that nobody declared: so
not by `imaging.geometry.read_aligned`, which skips a scan whose channels lie elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.sampling.patches import PatchRule, cut_patches
from data_prep.splits.draws import generator
from data_prep.types import Files, Job, LabelledSeries, LabelledVolume, Patch, Result
from genesis_jax.errors import PrepareError, ScanError, in_full, remarks_naming
from genesis_jax.imaging.dicom_labels import read_labels
from genesis_jax.imaging.fingerprints import voxel_hash
from genesis_jax.imaging.geometry import Grid, stacked
from genesis_jax.imaging.intensity import whole
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.volumes import (
    Modality,
    as_volume,
    oriented,
    read_channels,
    read_image,
    resampled,
)

_UNDECLARED = 255


@dataclass(frozen=True)
class Reading:
    """How every scan of a source is read.

    Attributes:
      modality: decides window and padding.
      channels: of the image.
      classes: class index by the value in the label file; index 0 is background.
      declared_by: what declares these values, for messages.
      spacing: mm along x, y, z to resample to; None keeps every scan's own.
      full_range: the window of anything but CT is minimum to maximum, not its robust range.
      same_grid: the first image's header holds for all files of a scan, whatever theirs say.
      seed: of all draws.
    """

    modality: Modality
    channels: int
    classes: Mapping[int, int]
    declared_by: str
    spacing: tuple[float, float, float] | None = None
    full_range: bool = False
    same_grid: bool = False
    seed: int = 0


def cut_scan(job: Job, reading: Reading, rule: PatchRule) -> Result:
    """Reads one scan and cuts its patches; scans to be tested on are kept whole, too.

    Raises:
      ScanError: a file cannot be used.
      PrepareError: label and image contradict each other, or the label its declaration.
    """
    volume = read_labelled(job.source, reading)
    starts = rule.starts(generator(reading.seed, job.scan_id), volume)
    tested = job.split not in ('train', 'validation')
    return Result(
        patches=cut_patches(volume, starts, rule.size),
        spacing=volume.spacing,
        window=volume.window,
        whole=Patch(volume.voxels, (0, 0, 0), mask=volume.mask) if tested else None,
        identity=volume.identity,
    )


def read_labelled(files: Files | LabelledSeries, reading: Reading) -> LabelledVolume:
    """One scan in LPS orientation, resampled (image linearly, labels to the nearest) if asked for.

    Raises:
      ScanError, PrepareError: as `cut_scan`.
    """
    if isinstance(files, LabelledSeries):
        images = [read_image(files.scan, reading.modality)]
        label = read_labels(files.scan, files.labels, files.classes, reading.modality)
    else:
        images, label = _read_images(files, reading), _read_label(files.label, reading)
    if reading.same_grid:
        for image in (*images[1:], label):
            if image.GetSize() == images[0].GetSize():
                image.CopyInformation(images[0])
    images, label = [oriented(image) for image in images], oriented(label)
    if isinstance(files, Files):
        _check_grids(files, images, label)
    for image in (*images[1:], label):
        image.CopyInformation(images[0])  # else resampling may round to different sizes
    identity = voxel_hash(images, reading.modality)
    if reading.spacing is not None:
        images = [resampled(image, reading.spacing, reading.modality) for image in images]
        label = sitk.Resample(label, images[0], sitk.Transform(), sitk.sitkNearestNeighbor)
    volumes = [as_volume(image, reading.modality, reading.full_range) for image in images]
    return LabelledVolume(
        voxels=stacked([volume.clean(volume.voxels) for volume in volumes]),
        mask=sitk.GetArrayFromImage(label).T,
        spacing=volumes[0].spacing,
        window=np.array([volume.window for volume in volumes], np.float32),
        identity=identity,
    )


def short_name(path: Path) -> str:
    """A file as messages name it: with its folder."""
    return f'{path.parent.name}/{path.name}'


def _read_images(files: Files, reading: Reading) -> list[sitk.Image]:
    if len(files.images) == reading.channels:
        return [_read(path, reading.modality) for path in files.images]
    try:
        with remarks_naming(files.images[0].name):
            return read_channels(files.images[0], reading.channels, reading.modality)
    except ScanError as error:
        raise ScanError(f'has the file {files.images[0].name}, which {error}') from None


def _read(path: Path, modality: Modality) -> sitk.Image:
    try:
        with remarks_naming(path.name):
            return read_image(Scan(path.name, path.name, (path,)), modality)
    except ScanError as error:
        raise ScanError(f'has the file {path.name}, which {error}') from None


def _read_label(path: Path, reading: Reading) -> sitk.Image:
    """The label file as class indices, uint8."""
    stored = _read(path, 'other')  # its values are no HU
    values = sitk.GetArrayViewFromImage(stored)
    table = np.full(256, _UNDECLARED, np.uint8)
    for value, index in reading.classes.items():
        table[value] = index
    indices = np.empty(values.shape, np.uint8)
    for z, stored_plane in enumerate(values):
        plane = whole(stored_plane)
        limited = plane.clip(0, 255).astype(np.uint8)
        indices[z] = table[limited]
        wrong = (indices[z] == _UNDECLARED) | (limited != plane)
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            raise PrepareError(
                f'{short_name(path)} holds the value {in_full(stored_plane[y, x])} at voxel '
                f'{x}, {y}, {z}, but '
                f'{reading.declared_by} declares {", ".join(map(str, sorted(reading.classes)))}; '
                'correct one of them'
            )
    label = sitk.GetImageFromArray(indices)
    label.CopyInformation(stored)
    return label


def _check_grids(files: Files, images: Sequence[sitk.Image], label: sitk.Image) -> None:
    paths = [*files.images[1:], *[files.images[0]] * (len(images) - len(files.images)), files.label]
    for path, image in zip(paths, (*images[1:], label), strict=True):
        _check_same_grid(path, image, files.images[0], images[0])


def _check_same_grid(path: Path, image: sitk.Image, first_path: Path, first: sitk.Image) -> None:
    """Refuses an image, in LPS orientation, whose voxels lie elsewhere than the first one's."""
    grids = Grid.of(image), Grid.of(first)
    what = grids[0].difference(grids[1])
    if what is None:
        return
    value, expected = _texts(*(getattr(grid, what) for grid in grids))
    way_out = '' if what == 'size' else ', or give --same_grid if they match voxel by voxel'
    raise PrepareError(
        f'{short_name(path)} has the {what} {value} where {short_name(first_path)} has '
        f'{expected}; export one of them again on the grid of the other{way_out}'
    )


def _texts(*several: Sequence[float]) -> list[str]:
    """Numbers that differ, with as many digits as it takes to see it."""
    for digits in (6, 9, 17):
        texts = [f'({", ".join(f"{n:.{digits}g}" for n in numbers)})' for numbers in several]
        if len(set(texts)) > 1:
            break
    return texts
