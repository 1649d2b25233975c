"""Scans to patches without labels, by the paper's rule: what all of these preparations share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.build.dataset import prepare
from data_prep.build.summary import Summary
from data_prep.sampling.cubes import CubeRule, sample_cubes
from data_prep.splits.draws import generator
from data_prep.types import Declaration, Job, Patch, Result
from genesis_jax.errors import ScanError
from genesis_jax.imaging.geometry import read_aligned, stacked
from genesis_jax.imaging.volumes import Modality, as_volume


@dataclass(frozen=True)
class CubeCutter:
    """What a worker does with a scan; a job's source is a file for each channel, or one of all.

    Attributes:
      modality: decides unit, window and padding.
      rule: which patches to take; of several channels the first one decides.
      spacing: mm along x, y, z to resample to; None keeps every scan's own.
      seed: of all draws.
      channels: names; empty: one, whatever it shows.
    """

    modality: Modality
    rule: CubeRule
    spacing: tuple[float, float, float] | None = None
    seed: int = 0
    channels: tuple[str, ...] = ()

    def __call__(self, job: Job) -> Result:
        """Reads one scan and cuts its patches.

        Raises:
          ScanError: the scan cannot be used.
        """
        channels = self.channels or (self.modality,)
        if missing := [
            name for name, file in zip(channels, job.source, strict=False) if file is None
        ]:
            raise ScanError(f'has no file of {", ".join(missing)}; add it')
        images, _ = read_aligned(job.source, channels, self.modality, self.spacing)
        volumes = [as_volume(image, self.modality) for image in images]
        first, voxels = volumes[0], stacked([volume.voxels for volume in volumes])
        rule = self.rule.at_window(first.window)
        patches = sample_cubes(generator(self.seed, job.scan_id), voxels, rule)
        pairs = zip(first.clean(patches.voxels), patches.origins, strict=True)
        return Result(
            [Patch(cube, origin) for cube, origin in pairs],
            first.spacing,
            np.array([volume.window for volume in volumes]),
            tried=patches.tried,
            air=patches.air,
            tissue=patches.tissue,
        )


def prepare_cubes(
    jobs: Sequence[Job],
    cutter: CubeCutter,
    *,
    name: str,
    data_dir: Path,
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
        },
        config='genesis_ct' if modality == 'ct' else 'genesis_mri',
        notes=notes,
        per_scan=rule.per_scan,
        workers=workers,
    )
