"""LIDC-IDRI to the dataset `ncs`: python -m data_prep.lidc --source=LIDC-IDRI --data_dir=DIR

The source is TCIA's: LIDC-IDRI-NNNN/<study>/<series>/*.dcm, with the readers' XML in the folder of
the CT series or, as TCIA hands it out today, in a folder of its own (--annotations). The task is
the paper's NCS: outline the nodule in the middle, by the consensus of its readers.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from data_prep.build.dataset import prepare
from data_prep.build.options import add_cube_size, base_parser, destination, report
from data_prep.build.summary import Summary
from data_prep.formats.lidc_xml import Mask, consensus, group, rasterise, read_markings, series_of
from data_prep.splits.draws import ranked
from data_prep.types import SPLITS, Declaration, Job, Patch, Result, counted
from genesis_jax.cli.arguments import existing_folder, number
from genesis_jax.errors import PrepareError, ScanError
from genesis_jax.imaging import dicom
from genesis_jax.imaging.crops import crop, crop_mask, prepare_image, to_index, to_world
from genesis_jax.imaging.fingerprints import voxel_hash
from genesis_jax.imaging.scans import Scan, passed_over, walk
from genesis_jax.imaging.volumes import oriented, read_image

CLASSES = ('background', 'nodule')
_SPLIT_SCANS = (510, 100, 408)  # of 1018, the paper's


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares the nodules of LIDC-IDRI and returns the exit status."""
    parser = base_parser(
        'data_prep.lidc',
        'Patches around the nodules of LIDC-IDRI with a mask: the voxels inside the outlines of at '
        "least half of a nodule's readers.",
        'folder that holds LIDC-IDRI-0001 and so on',
        'ncs',
        '1.0,1.0,1.0',
    )
    text = "folder of the readers' XML, at any depth"
    parser.option('annotations', existing_folder, 'DIR', text, otherwise='the source')
    add_cube_size(parser)
    text = 'of the readers who outlined a nodule, for a voxel to belong to it'
    parser.option('consensus', number(float, 0.01, 1), 'SHARE', text, '0.5')
    text = 'who outlined a nodule, for it to count'
    otherwise = '%(default)s, half of the four; 1: whatever anybody outlined'
    parser.option('min_readers', number(int, 1), 'N', text, '2', otherwise)
    args = parser.parse_args(argv)

    def work() -> Summary:
        notes: list[str] = []
        return prepare(
            list_jobs(args.source, args.annotations or args.source, args.seed, notes.append),
            partial(
                cut_nodules,
                size=args.cube_size,
                spacing=args.spacing,
                share=args.consensus,
                min_readers=args.min_readers,
            ),
            declaration=Declaration('segmentation', CLASSES, ('CT',), 'ct', args.spacing),
            size=args.cube_size,
            recipe={
                'source': 'LIDC-IDRI',
                'size': args.cube_size,
                'consensus': args.consensus,
                'min_readers': args.min_readers,
                'seed': args.seed,
            },
            config='ncs',
            notes=notes,
            **destination(args),
        )

    return report(parser, args, work)


def list_jobs(
    source: Path,
    annotations: Path,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Job]:
    """Every CT series below the source with its XML; radiographs and their XML are skipped.

    Args:
      tell: is given lines on files that are of no use, but for XML.

    Raises:
      PrepareError: there is none, or one has no XML.
    """
    by_series, by_folder = _find_annotations(annotations)
    series, without = [], []
    for folder, uid, patient, files in _find_series(source, tell):
        shown = folder.relative_to(source).as_posix()
        xml = by_series.get(uid) or by_folder.get(folder)
        if xml is None:
            without.append(shown)
            continue
        series.append((uid, patient, shown, (Scan(uid, shown, files, is_dicom=True), xml)))
    if without:
        raise PrepareError(
            f"{len(without)} CT series have no readers' XML, the first is {without[0]}; put it "
            'beside the slices, or unpack the collection of XML files and give --annotations'
        )
    if not series:
        raise PrepareError(f'{source} holds no CT series of DICOM slices; check --source')
    patients: dict[str, int] = {}
    for _, patient, *_ in series:
        patients[patient] = patients.get(patient, 0) + 1
    splits = split_patients(patients, seed)
    return [
        Job(uid, patient, splits[patient], SPLITS.index(splits[patient]), shown, files_and_xml)
        for uid, patient, shown, files_and_xml in series
    ]


def split_patients(patients: dict[str, int], seed: int) -> dict[str, str]:
    """Patients, with their numbers of scans, to splits in the paper's proportions of scans.

    In a drawn order, each goes to the first split that has room for all of its scans.
    """
    if len(patients) < len(SPLITS):
        raise PrepareError(
            f'{counted(len(patients), "patients")} cannot be split into {", ".join(SPLITS)}; add '
            'patients'
        )
    total, whole = sum(patients.values()), sum(_SPLIT_SCANS)
    room = [max(1, round(total * scans / whole)) for scans in _SPLIT_SCANS]
    splits: dict[str, str] = {}
    count = len(patients)
    for rank, patient in enumerate(ranked(patients, seed)):
        empty = [index for index in range(3) if SPLITS[index] not in splits.values()]
        fits = [index for index in range(3) if room[index] >= patients[patient]]
        # the last patients fill splits that stayed empty because all had several scans
        chosen = empty[0] if empty and count - rank <= len(empty) else (*fits, 2)[0]
        room[chosen] -= patients[patient]
        splits[patient] = SPLITS[chosen]
    return splits


def cut_nodules(
    job: Job,
    size: Sequence[int],
    spacing: Sequence[float],
    share: float = 0.5,
    min_readers: int = 2,
) -> Result:
    """Reads a series and its XML and cuts a patch around each nodule: what a worker does.

    The mask of a patch holds every nodule in it, not only the one in its middle.

    Raises:
      ScanError: the series or its XML cannot be used, or they do not belong together.
    """
    scan, xml = job.source
    stored = read_image(scan, 'ct')
    nodules = agree(read_masks(stored, scan, xml), stored.GetSpacing(), share, min_readers)
    voxels = np.zeros(stored.GetSize()[::-1], np.uint8)
    for nodule in nodules:
        box = tuple(slice(a, b) for a, b in zip(nodule.start, nodule.stop, strict=True))
        voxels.T[box] |= nodule.voxels
    marked = sitk.GetImageFromArray(voxels)
    marked.CopyInformation(stored)
    marked = oriented(marked)
    turned = oriented(stored)
    image, window = prepare_image(turned, 'ct')
    patches = []
    for nodule in sorted(nodules, key=lambda nodule: tuple(nodule.centre[::-1])):
        centre = to_world(stored, nodule.centre[None])[0]
        mask = crop_mask(marked, centre, size, spacing)
        if mask.any():  # a few voxels may be lost to a coarser spacing
            cube, origin = crop(image, centre, size, spacing)
            patches.append(Patch(cube[..., None], origin, mask=mask))
    identity = voxel_hash([turned], 'ct')
    return Result(patches, tuple(spacing), np.array([window]), identity=identity)


def read_masks(image: sitk.Image, scan: Scan, xml: Path) -> list[Mask]:
    """What every reader outlined, as voxels of the image as stored."""
    slices: dict[str | float, int] = {}
    for path in scan.files:
        header = dicom.read_header(path)
        if header.get('SeriesInstanceUID') != scan.scan_id:
            raise ScanError(
                f'mixes series ({path.name} is of another one); put each into a folder of its own'
            )
        position = [float(value) for value in header.ImagePositionPatient]
        index = round(float(to_index(image, np.array([position]))[0, 2]))
        slices[str(header.SOPInstanceUID)] = index
        slices[round(position[2], 2)] = index
    masks = [rasterise(marking, image.GetSize(), slices) for marking in read_markings(xml)]
    return [mask for mask in masks if mask is not None]


def agree(
    masks: Sequence[Mask], spacing: Sequence[float], share: float, min_readers: int
) -> list[Mask]:
    """The consensus on every nodule that enough readers outlined."""
    groups = [members for members in group(masks, spacing) if len(members) >= min_readers]
    agreed = [consensus(members, share) for members in groups]
    return [mask for mask in agreed if mask is not None]


def _find_series(
    source: Path, tell: Callable[[str], None]
) -> list[tuple[Path, str, str, tuple[Path, ...]]]:
    """Folder, series UID, patient and files of every CT series, one a folder.

    One header of a folder is read here, because all of LIDC-IDRI are 240,000 files.
    """
    series = []
    strays: list[Path] = []
    others: Counter[str] = Counter()
    for folder, paths in walk(source):
        files = tuple(path for path in paths if path.suffix != '.xml' and dicom.is_dicom(path))
        strays += [path for path in paths if path.suffix != '.xml' and path not in set(files)]
        header = _first_header(files)
        if header is None or header.get('Modality') != 'CT':
            if files:
                others[str(header.get('Modality', 'unknown')) if header else 'damaged'] += 1
            continue
        inside = folder.relative_to(source).parts
        patient = str(header.get('PatientID') or '') or (inside[0] if inside else source.name)
        series.append((folder, str(header.get('SeriesInstanceUID', '')), patient, files))
    if others:
        named = ', '.join(f'{kind} {count}' for kind, count in sorted(others.items()))
        tell(f'Folders skipped, as of another modality than CT: {others.total()} ({named})')
    if line := passed_over(strays):
        tell(line)
    return series


def _first_header(files: Sequence[Path]) -> Dataset | None:
    for path in files:
        try:
            return dicom.read_header(path)
        except ScanError:
            continue
    return None


def _find_annotations(folder: Path) -> tuple[dict[str, Path], dict[Path, Path]]:
    """The readers' XML by series UID, and by folder: a damaged one does not tell its series."""
    by_series: dict[str, Path] = {}
    by_folder: dict[Path, Path] = {}
    for path in (path for _, paths in walk(folder) for path in paths if path.suffix == '.xml'):
        try:
            uid = series_of(path)
        except ScanError:
            uid = ''
        if uid is not None:
            by_series.setdefault(uid, path)
            by_folder[path.parent] = path
    return by_series, by_folder


if __name__ == '__main__':
    sys.exit(main())
