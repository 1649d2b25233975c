"""Labelled points of scans to records. The source of a job is its scan and its points."""

from data_prep.types import Job, Patch, Result
from genesis_jax.imaging import points
from genesis_jax.imaging.points import PointRule


def cut_points(job: Job, rule: PointRule) -> Result:
    """Cuts a patch around each point of a scan: what a worker does.

    Raises:
      ScanError: the scan cannot be used.
      PrepareError: a point lies outside of the scan.
    """
    scan, labelled = job.source
    cuts = points.cut_points(scan, labelled, rule)
    patches = [
        Patch(cube, origin, int(label))
        for cube, origin, label in zip(cuts.patches, cuts.origins, labelled.labels, strict=True)
    ]
    return Result(patches, cuts.spacing, cuts.window, identity=cuts.identity)
