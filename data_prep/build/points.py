"""Labelled points of scans to records. The source of a case is its scan and its points."""

from data_prep.types import Case, Item, Prepared
from genesis_jax.imaging import points
from genesis_jax.imaging.points import PointRule


def cut_points(case: Case, rule: PointRule) -> Prepared:
    """Cuts a cube around each point of a case: what a worker does.

    Raises:
      ScanError: the scan cannot be used.
      PrepareError: a point lies outside of the scan.
    """
    scan, labelled = case.source
    cuts = points.cut_points(scan, labelled, rule)
    items = [
        Item(cube, origin, int(label))
        for cube, origin, label in zip(cuts.cubes, cuts.origins, labelled.labels, strict=True)
    ]
    return Prepared(items, cuts.spacing, cuts.window, identity=cuts.identity)
