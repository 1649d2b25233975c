"""Files that are labels by their names: a folder of scans often holds them beside the scans."""

import re
from collections.abc import Sequence
from pathlib import Path

from genesis_jax.errors import PrepareError
from genesis_jax.imaging.volumes import Scan

# Of nnU-Net, the Decathlon, AMOS and BTCV, TotalSegmentator, LUNA16 (lungs), LiTS and KiTS, BraTS
# 2018, 3D Slicer and ACDC, the VSD's BraTS 2013.
_LABEL = re.compile(
    r'(.*/)?(labels?(T[rs]|Va)?/.*|(masks|segmentations?)/.*|seg-lungs[^/]*/.*|'
    r'segmentation(-\d+)?\.[^/]*|[^/]*[-_.](seg|segmentation|mask|labels?|gt)\.[a-z.]+|'
    r'VSD\.Brain[^/]*\.OT\b.*)',
    re.IGNORECASE,
)
_SHOWN = 3  # names in a line


def without_labels(
    scans: Sequence[Scan], source: Path, way_out: str
) -> tuple[list[Scan], list[str]]:
    """The scans that are no labels by their names, and a line on those skipped, if there are any.

    Raises:
      PrepareError: all are labels; its sentence ends with the `way_out`.
    """
    labels = [scan for scan in scans if not scan.is_dicom and _LABEL.fullmatch(scan.shown)]
    if not labels:
        return list(scans), []
    names = ', '.join(scan.shown for scan in labels[:_SHOWN])
    names += ', ...' if labels[_SHOWN:] else ''
    if len(labels) == len(scans):
        raise PrepareError(
            f'{source} holds no scan but files that are labels by their names ({names}); {way_out}'
        )
    line = f'Skipped, as labels by their names: {len(labels)} of {len(scans)} files ({names})'
    return [scan for scan in scans if scan not in labels], [line]
