"""Labels as hospitals keep them, DICOM SEG and RTSTRUCT: whose they are, and their voxels.

They are matched to series by what they refer to, not by names or folders.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from genesis_jax.errors import ScanError, ScanRemark
from genesis_jax.imaging.dicom import read_stack
from genesis_jax.imaging.frames import quiet, read_dataset
from genesis_jax.imaging.rtstruct import Rois, rois_of, unfilled_of
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.seg_reading import Elsewhere, Segments, name_key
from genesis_jax.imaging.stacks import as_image

_SEG = ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')  # and label maps
_RTSTRUCT = '1.2.840.10008.5.1.4.1.1.481.3'
_REFERENCES = ('ReferencedSeriesSequence', 'ReferencedFrameOfReferenceSequence')
_OF_SERIES = ['SeriesInstanceUID', 'SOPInstanceUID', 'FrameOfReferenceUID', 'PatientID']


@dataclass(frozen=True)
class LabelFile:
    """A SEG or RTSTRUCT, as its header tells.

    Attributes:
      uid: of the object.
      is_seg: or it is an RTSTRUCT.
      names: of its segments, or of its ROIs that have closed contours.
      unfilled: names of its other ROIs.
      series, instances, frames: UIDs of the series, images and frames of reference that it names.
      patient: its PatientID.
    """

    path: Path
    uid: str
    is_seg: bool
    names: tuple[str, ...]
    unfilled: tuple[str, ...]
    series: frozenset[str]
    instances: frozenset[str]
    frames: frozenset[str]
    patient: str


@quiet()
def read_label_file(path: Path) -> LabelFile | None:
    """What a DICOM file says of the labels in it; None if it holds none.

    Raises:
      ScanError: it cannot be read.
    """
    dataset = read_dataset(path, stop_before_pixels=True)
    kind = str(dataset.get('SOPClassUID', ''))
    if kind not in (*_SEG, _RTSTRUCT):
        return None
    unfilled = []
    if kind == _RTSTRUCT:
        names = [name for name, _ in rois_of(dataset)]
        unfilled = unfilled_of(dataset)
    else:
        segments = dataset.get('SegmentSequence') or []
        numbered = [item for item in segments if item.get('SegmentNumber')]  # 0: background
        names = [str(item.get('SegmentLabel', '')).strip() for item in numbered]
    references = [item for name in _REFERENCES for item in dataset.get(name) or []]
    named = _uids(references)
    if not named['SeriesInstanceUID']:
        named = _uids([dataset])  # of its frames or contours, too
        named['SeriesInstanceUID'].discard(str(dataset.get('SeriesInstanceUID')))
    named['FrameOfReferenceUID'].add(str(dataset.get('FrameOfReferenceUID') or ''))
    return LabelFile(
        path=path,
        uid=str(dataset.get('SOPInstanceUID', path)),
        is_seg=kind != _RTSTRUCT,
        names=tuple(dict.fromkeys(filter(None, names))),
        unfilled=tuple(dict.fromkeys(unfilled)),
        series=frozenset(named['SeriesInstanceUID']),
        instances=frozenset(named['ReferencedSOPInstanceUID']),
        frames=frozenset(named['FrameOfReferenceUID'] - {''}),
        patient=str(dataset.get('PatientID') or '').strip(),
    )


def _uids(datasets: Iterable[pydicom.Dataset]) -> dict[str, set[str]]:
    """All UIDs in them by keyword."""
    named: dict[str, set[str]] = defaultdict(set)
    for dataset in datasets:
        for element in dataset.iterall():
            if element.VR == 'UI' and element.value:
                named[element.keyword].add(str(element.value))
    return named


@quiet()
def match(
    scans: Sequence[Scan], files: Sequence[LabelFile]
) -> tuple[dict[str, list[LabelFile]], list[LabelFile]]:
    """The label files of every scan that has some, by its id; and those of no scan.

    A file is of the series that it names; or if it names none, of that which holds an image that it
    names; or if it names none either, of the only one in its frame of reference.
    """
    known: dict[str, dict[str, set[str]]] = {
        what: defaultdict(set) for what in ('series', 'instances', 'frames')
    }
    patients = {}
    every = any(not file.series for file in files)
    for scan in scans:
        for path in scan.files if every else scan.files[:1]:
            try:
                header = read_dataset(path, stop_before_pixels=True, specific_tags=_OF_SERIES)
            except ScanError:  # told when the scan is read
                continue
            for what, keyword in zip(known, _OF_SERIES, strict=False):
                known[what][str(header.get(keyword) or '')].add(scan.scan_id)
            patients[scan.scan_id] = str(header.get('PatientID') or '').strip()
    owned: dict[str, list[LabelFile]] = defaultdict(list)
    others = []
    first: dict[str, LabelFile] = {}
    for file in files:  # a copy is told by nothing: it says the same
        first.setdefault(file.uid, file)
    for file in first.values():
        what = 'series' if file.series else 'instances' if file.instances else 'frames'
        owners = set().union(*(known[what].get(uid, ()) for uid in getattr(file, what)))
        if len(owners) > 1:
            owners = {one for one in owners if patients[one] == file.patient}
        if not owners or (what == 'frames' and len(owners) > 1):
            others.append(file)
            continue
        for owner in owners:
            owned[owner].append(file)
    return dict(owned), others


def read_labels(
    scan: Scan, files: Sequence[LabelFile], classes: Sequence[str], modality: str
) -> sitk.Image:
    """Class indices, uint8, on the grid on which the scan is read.

    Args:
      scan: a DICOM series.
      files: of the scan.
      classes: names, of index 1 and so on; of those that hold a voxel, the last wins.

    Raises:
      ScanError: labels cannot be read, all lie elsewhere, or two files hold the same.
    """
    held = sorted({name for file in files for name in file.names})
    if not {name_key(name) for name in held} & {name_key(name) for name in classes}:
        raise ScanError(
            f'has labels of none of the classes {", ".join(classes)}; it has '
            f'{", ".join(held) or "none that can be filled"}'
        )
    stack, headers = read_stack(scan.files, modality)
    _check_frame(files, next(iter(headers.values())))
    opened = {file: (Segments if file.is_seg else Rois)(file.path, stack) for file in files}
    labels = np.zeros(stack.shape, np.uint8)
    shared: dict[str, int] = defaultdict(int)
    elsewhere: dict[str, Elsewhere] = {}
    for index, name in enumerate(classes, start=1):
        key = name_key(name)
        holders = [file for file in files if key in map(name_key, file.names)]
        if len(holders) > 1:
            both = ' and '.join(file.path.name for file in holders[:2])
            raise ScanError(f'has {name!r} in two label files ({both}); keep one of them')
        if not holders:
            text = f'has no label {name!r}, whose voxels count as background'
            warnings.warn(text, ScanRemark, stacklevel=2)
            continue
        try:
            mask = opened[holders[0]].mask({key})
        except Elsewhere as error:
            elsewhere[name] = error
            continue
        for other, count in enumerate(np.bincount(labels[mask], minlength=1)):
            if other and count:
                shared[f'{classes[other - 1]!r} and {name!r} {count}'] += int(count)
        labels[mask] = index
    for name, why in elsewhere.items():
        if not labels.any():
            raise ScanError(f'{why}; check that the labels are its own')
        warnings.warn(f'{why}, so that {name!r} is background', ScanRemark, stacklevel=2)
    if shared:
        text = f'has voxels of two classes, which count as of the last ({", ".join(shared)})'
        warnings.warn(text, ScanRemark, stacklevel=2)
    return as_image(stack, labels, 0, sitk.sitkNearestNeighbor)


def _check_frame(files: Sequence[LabelFile], header: pydicom.Dataset) -> None:
    own = str(header.get('FrameOfReferenceUID') or '')
    for file in files:
        if own and file.frames and own not in file.frames:
            raise ScanError(
                f'has labels in another frame of reference ({file.path.name}), so their places '
                'mean nothing in it; export them again on this series'
            )
