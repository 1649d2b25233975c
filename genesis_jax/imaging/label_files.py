"""Files that are labels by their names, and whose: a folder of scans often holds them, too."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import Scan, find_scans

_ENDING = '[-_.](seg|segmentation|mask|labels?|gt)'  # of BraTS 2018, 3D Slicer and ACDC
# Of nnU-Net, the Decathlon, AMOS and BTCV, TotalSegmentator, LUNA16 (lungs), LiTS and KiTS, BraTS
# 2018, 3D Slicer and ACDC, the VSD's BraTS 2013.
_LABEL = re.compile(
    r'(.*/)?(labels?(T[rs]|Va)?/.*|(masks|segmentations?)/.*|seg-lungs[^/]*/.*|'
    rf'segmentation(-\d+)?\.[^/]*|[^/]*{_ENDING}\.[a-z.]+|'
    r'VSD\.Brain[^/]*\.OT\b.*)',
    re.IGNORECASE,
)
_LABEL_END = re.compile(f'{_ENDING}$', re.IGNORECASE)
_CHANNEL_END = re.compile(r'_\d{4}$')  # of nnU-Net's scans, not of their labels
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


def masks_by_name(
    scans: Mapping[str, Sequence[Scan | None]], folder: Path
) -> tuple[dict[str, Scan], list[Scan]]:
    """The mask of every scan that has one below a folder, and the masks of none.

    A mask is called like its scan (a DICOM series like its folder, too), with or without what ends
    the names of labels (_seg, _mask, ...) and without nnU-Net's channel (_0000). It lies in the
    subfolders of its scan; or anywhere, if it is of no scan there.

    Args:
      scans: the files of each by its id, which are no masks wherever they lie.

    Raises:
      PrepareError: two masks are of one scan, or one is of several.
    """
    files = [scan for given in scans.values() for scan in given if scan]
    own = {path.resolve() for scan in files for path in scan.files}
    masks = [
        mask
        for mask in find_scans(folder)
        if not mask.is_dicom and mask.files[0].resolve() not in own
    ]
    found: dict[str, Scan] = {}
    owner: dict[Scan, str] = {}
    for short in (str, _last):  # names with their subfolders, then without
        named: dict[str, list[Scan]] = defaultdict(list)
        for mask in (mask for mask in masks if mask not in owner):
            named[short(_LABEL_END.sub('', mask.scan_id))].append(mask)
        for scan_id in (scan_id for scan_id in scans if scan_id not in found):
            names = _names(scan_id, scans[scan_id])
            those = next((named[short(name)] for name in names if short(name) in named), [])
            if len(those) > 1:
                raise PrepareError(
                    f'{those[0].shown} and {those[1].shown} in {folder} are both masks of the scan '
                    f'{scan_id} by their names; put each in the subfolder of its scan'
                )
            for mask in those:
                if owner.setdefault(mask, names[-1]) != names[-1]:
                    raise PrepareError(
                        f'{mask.shown} in {folder} is by its name the mask of the scans '
                        f'{owner[mask]} and {names[-1]}; put it in the subfolder of its scan'
                    )
                found[scan_id] = mask
    return found, [mask for mask in masks if mask not in owner]


def _names(scan_id: str, files: Sequence[Scan | None]) -> list[str]:
    """What the mask of a scan may be called, the longest name first."""
    if any(scan.is_dicom for scan in files if scan):
        folder = str(PurePosixPath(scan_id).parent)
        return [scan_id] if folder == '.' else [scan_id, folder]
    return [scan_id, _CHANNEL_END.sub('', scan_id)]


def _last(name: str) -> str:
    return PurePosixPath(name).name
