"""Scans to patches without labels: what all of these preparations share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.build.dataset import prepare
from data_prep.build.regions import Regions, blanked, centres, read_masks, valid
from data_prep.build.summary import Summary
from data_prep.sampling.cubes import CubeRule, sample_cubes
from data_prep.sampling.starts import accepted_starts, reached_voxels
from data_prep.splits.draws import digest, generator
from data_prep.types import Declaration, Job, Patch, Result
from genesis_jax.errors import ScanError
from genesis_jax.imaging.fingerprints import voxel_hash
from genesis_jax.imaging.geometry import read_aligned, stacked
from genesis_jax.imaging.stored import BLOCK, write_array
from genesis_jax.imaging.volumes import Modality, as_volume, resampled

_MOVED = 'have no room for a patch around their mask, so patches were moved into the scan'
_Parts = tuple[list[sitk.Image], np.ndarray | None, np.ndarray | None, bytes]


@dataclass(frozen=True)
class CubeCutter:
    """What a worker does with a scan; a job's source is a file for each channel, or one of all.

    Attributes:
      modality: decides unit, window and padding.
      rule: which patches to take; of several channels the first one decides.
      spacing: mm along x, y, z to resample to; None keeps every scan's own.
      seed: of all draws.
      channels: names; empty: one, whatever it shows.
      regions: which masks of a job are used.
    """

    modality: Modality
    rule: CubeRule
    spacing: tuple[float, float, float] | None = None
    seed: int = 0
    channels: tuple[str, ...] = ()
    regions: Regions = Regions()

    def __call__(self, job: Job, folder: Path | None = None) -> Result:
        """Reads one scan and cuts its patches.

        Args:
          folder: of the dataset; the scan is stored in it whole, instead of its patches.

        Raises:
          ScanError: the scan cannot be used.
        """
        channels = self.channels or (self.modality,)
        if missing := [
            name for name, file in zip(channels, job.source, strict=False) if file is None
        ]:
            raise ScanError(f'has no file of {", ".join(missing)}; add it')
        images, inside, shown, identity = self._read(job, channels)
        volumes = [as_volume(image, self.modality) for image in images]
        first, voxels = volumes[0], stacked([volume.voxels for volume in volumes])
        rule = self.rule.at_window(first.window)
        patches = sample_cubes(generator(self.seed, job.scan_id), voxels, rule, inside, shown)
        masks = [None] * len(patches.origins) if patches.valid is None else patches.valid[..., None]
        middles = patches.origins + np.array(rule.size) // 2
        moved = inside is not None and not inside[tuple(middles.T)].all()
        taken = zip(first.clean(patches.voxels), patches.origins, masks, strict=True)
        result = Result(
            [Patch(cube, origin, valid=mask) for cube, origin, mask in taken],
            spacing=first.spacing,
            window=np.array([volume.window for volume in volumes]),
            identity=identity,
            remark=_MOVED if moved else '',
            tried=patches.tried,
            air=patches.air,
            tissue=patches.tissue,
        )
        if folder is None:
            return result
        place = f'volumes/{digest(0, job.scan_id).hex()[:32]}'  # ids may hold what no folder can
        starts = accepted_starts(voxels, rule, inside, shown)
        arrays = {'voxels': first.clean(voxels)} | ({} if shown is None else {'valid': shown})
        if len(patches.origins):
            _store(folder / place, arrays, starts, rule.size)
        per_slice = np.count_nonzero(starts, axis=(0, 1))
        stored = {'volume': place, 'origins': patches.origins, 'starts': per_slice}
        return replace(result, patches=(), stored=stored)

    def _read(self, job: Job, channels: Sequence[str]) -> _Parts:
        """The channels as prepared; where patches are centred; where it is shown; and its hash."""
        images, _ = read_aligned(job.source, channels, self.modality)
        identity = voxel_hash(images, self.modality)
        masks = read_masks(job, images[0], self.regions)
        if self.spacing is not None:
            images = [resampled(image, self.spacing, self.modality) for image in images]
        inside = shown = None
        if 'leave_out' in masks:
            shown = valid(masks['leave_out'], images[0])
            images = [blanked(image, shown) for image in images]
        if 'inside' in masks:
            inside = centres(masks['inside'], images[0])
            if shown is not None:
                inside &= shown.astype(bool)
            if not inside.any():
                raise ScanError(
                    f'has no voxel of its mask {job.masks["inside"].shown} that a patch can be '
                    'centred in: all are left out, or lost at this --spacing; correct the masks'
                )
        return images, inside, shown, identity


def _store(
    folder: Path, arrays: Mapping[str, np.ndarray], starts: np.ndarray, size: Sequence[int]
) -> None:
    """Writes a scan's arrays, [X, Y, Z] or [X, Y, Z, C]; blocks that no patch reaches are blank."""
    reached = reached_voxels(starts, size, BLOCK)[..., None]
    for name, array in arrays.items():
        array = array if array.ndim == 4 else array[..., None]
        blank = np.where(reached, array, array.min())
        write_array(folder, name, blank, (*BLOCK, array.shape[-1]))
    write_array(folder, 'starts', starts, (*starts.shape[:2], 1))


def prepare_cubes(
    jobs: Sequence[Job],
    cutter: CubeCutter,
    *,
    name: str,
    data_dir: Path,
    volumes: bool = False,
    notes: Sequence[str] = (),
    workers: int | None = None,
) -> Summary:
    """Prepares the dataset `data_dir/name` for pre-training; see `build.dataset.prepare`."""
    modality, rule = cutter.modality, cutter.rule
    channels = cutter.channels or (modality.upper(),)
    return prepare(
        jobs,
        cutter,
        name=name,
        data_dir=data_dir,
        declaration=Declaration(None, (), channels, modality, cutter.spacing),
        size=rule.size,
        recipe={
            'modality': modality,
            'rule': vars(rule),
            'spacing': cutter.spacing,
            'seed': cutter.seed,
            **{name: used for name, used in vars(cutter.regions).items() if used},
            **({'volumes': True} if volumes else {}),
        },
        config='genesis_ct' if modality == 'ct' else 'genesis_mri',
        notes=notes,
        per_scan=rule.per_scan,
        valid=cutter.regions.leave_out,
        volumes=volumes,
        workers=workers,
    )
