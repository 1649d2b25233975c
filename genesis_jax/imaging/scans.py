"""Which files of a folder are scans: files of a format each, and DICOM series."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genesis_jax.imaging import dicom
from genesis_jax.imaging.data_files import named_by

_NIFTI = ('.nii.gz', '.nii', '.hdr.gz', '.hdr')  # the voxels of .hdr are beside it, in .img
_SUFFIXES = (*_NIFTI, '.mhd', '.mha', '.nrrd', '.nhdr')


@dataclass(frozen=True)
class Scan:
    """One scan: an id that no machine path enters, and its file or its DICOM slices.

    `shown` is what a user looks for below the source: the file, or the folder and series UID;
    `remark`, if not empty, is told when the scan is read.
    """

    scan_id: str
    shown: str
    files: tuple[Path, ...]
    is_dicom: bool = False
    remark: str = ''
    series: str = ''  # UID of a DICOM series


def find_scans(
    source: Path,
    tell: Callable[[str], None] = lambda line: None,
    known: Collection[Path] = (),
) -> list[Scan]:
    """Every scan below a folder, sorted by id; hidden files and folders are skipped.

    Ids are paths relative to `source` without the suffix, which stays only where two files differ
    in nothing else; a DICOM series is the folder that holds all of it and its series UID.

    Args:
      tell: is given lines on files that are no scans.
      known: files that are no scans but of use, such as a table; no line is on them.
    """
    scans, objects = find_with_objects(source, tell, known)
    for name, files in sorted(objects.items()):
        tell(f'Passed over, as DICOM of another kind: {name}, {len(files)} ({files[0].name}, ...)')
    return scans


def find_with_objects(
    source: Path, tell: Callable[[str], None], known: Collection[Path] = ()
) -> tuple[list[Scan], dict[str, list[Path]]]:
    """As `find_scans`, with the files of DICOM that hold no scan, by what they are."""
    images: list[Path] = []
    slices: list[Path] = []
    others: list[Path] = []
    for _, paths in walk(source):
        for path in paths:
            kind = images if _suffix(path) else slices if dicom.is_dicom(path) else others
            kind.append(path)
    found, objects = dicom.find_series(slices)
    if line := passed_over(_strays(others, images, known)):
        tell(line)
    series = [_series_scan(source, one, found) for one in found]
    scans = named_scans(source, images, _stem) + series
    return sorted(scans, key=lambda scan: scan.scan_id), objects


def unused(source: Path, used: Sequence[Path], known: Collection[Path] = ()) -> list[str]:
    """A line on the files below a folder that are neither used nor known; none if there are none.

    Args:
      used: scans and labels, whose headers may name further files.
    """
    ours = set(map(os.path.abspath, used))
    others = [path for _, paths in walk(source) for path in paths]
    others = [path for path in others if os.path.abspath(path) not in ours]
    line = passed_over(_strays(others, used, known), 'of no use here by their names')
    return [line] if line else []


def passed_over(files: Iterable[Path], why: str = 'of no format that is read') -> str:
    """A line on files that nothing reads, counted by their suffixes; empty if there are none."""
    kinds = Counter(_suffix(path) or path.suffix.lower() or 'without suffix' for path in files)
    named = ', '.join(f'{kind} {count}' for kind, count in kinds.most_common())
    return f'Passed over, as {why}: {kinds.total()} ({named})' if named else ''


def _strays(others: Sequence[Path], images: Sequence[Path], known: Collection[Path]) -> list[Path]:
    """Those of other files that are not known and hold the voxels of no image."""
    heads = {_stem(path) for path in images}
    strays = [path for path in others if _bare(path) not in heads]
    headers = [path for path in images if strays and not is_nifti(path)]
    named = {os.path.abspath(path) for header in headers for path in named_by(header)}
    named |= set(map(os.path.abspath, known))
    return [path for path in strays if os.path.abspath(path) not in named]


def _series_scan(source: Path, one: dicom.Series, found: Sequence[dicom.Series]) -> Scan:
    """The scan of a series; of several patients' with one UID in a folder, a number tells them."""
    twins = [other for other in found if (other.folder, other.uid) == (one.folder, one.uid)]
    uid = one.uid if len(twins) == 1 else f'{one.uid}_{1 + twins.index(one)}'
    scan_id = one.folder.relative_to(source).joinpath(uid).as_posix()
    return Scan(
        scan_id,
        scan_id,
        one.files,
        is_dicom=True,
        remark=one.remark,
        series=one.uid if one.named else '',
    )


def walk(source: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder with its files, both in order; hidden ones are skipped.

    Links to folders are followed, each folder outside of `source` once: what lies below it is found
    there anyway.
    """
    seen, inside = set(), source.resolve()
    for folder, subfolders, names in os.walk(source, followlinks=True):
        kept = []
        for name in sorted(name for name in subfolders if not name.startswith('.')):
            path = Path(folder, name)
            target = path.resolve()
            linked = path.is_symlink() or inside not in target.parents
            if linked and (target in seen or inside == target or inside in target.parents):
                continue
            seen.add(target)
            kept.append(name)
        subfolders[:] = kept
        yield Path(folder), [Path(folder, name) for name in sorted(names) if name[0] != '.']


def named_scans(source: Path, paths: Sequence[Path], stem: Callable[[Path], Path]) -> list[Scan]:
    """A scan per file, named by its `stem`, or by its whole path where that is not unique."""
    stems = Counter(map(stem, paths))
    scans = []
    for path in paths:
        named = stem(path) if stems[stem(path)] == 1 else path
        scan_id, shown = (name.relative_to(source).as_posix() for name in (named, path))
        scans.append(Scan(scan_id, shown, (path,)))
    return scans


def is_image(path: Path) -> bool:
    """Whether the file is of a format other than DICOM, by its suffix."""
    return bool(_suffix(path))


def is_nifti(path: Path) -> bool:
    """Whether the file is a NIfTI, by its suffix."""
    return _suffix(path) in _NIFTI


def scan_of_file(path: Path) -> Scan:
    """The scan that a file is, named after it; of a DICOM series, this one file alone."""
    if _suffix(path):
        return Scan(_stem(path).name, path.name, (path,))
    return Scan(path.stem, path.name, (path,), is_dicom=True)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), '')


def _stem(path: Path) -> Path:
    return path.with_name(path.name[: -len(_suffix(path))])


def _bare(path: Path) -> Path:
    """A data file, which may be compressed, as its header is called."""
    return path.with_name(path.name.removesuffix('.gz')).with_suffix('')
