"""Whose a scan or an image is, and splits that keep all of a patient together."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from data_prep.prepare import Entry, PrepareError, validating
from data_prep.volumes import Scan

# Folders that hold many patients: splits, grades of BraTS, parts of LUNA16, LiTS and nnU-Net.
_GROUP = re.compile(
    r'(train(ing)?|val(idation)?|test(ing)?)([-_ ](data|set|batch[-_ ]?\d+))?|'
    r'[hl]gg|images(t[rs])?|subset\d',
    re.IGNORECASE,
)


def patient_of(name: str, pattern: re.Pattern | None, of: str) -> str:
    """The patient in the name of a case, scan or image; PrepareError if it is not found."""
    if pattern is None:
        return name
    match = pattern.search(name)
    if not match:
        raise PrepareError(
            f'--patient_pattern={pattern.pattern} finds nothing in the name of the {of} {name}'
        )
    return match[1] if pattern.groups else match[0]


def patients_by_folder(scans: Sequence[Scan]) -> dict[str, str]:
    """The patient of every scan id, where nothing but folders tells.

    All scans of a folder are of one patient, whatever lies between (studies, sequences): of the
    first folder that not all scans share and that is no split or grade by its name. A scan without
    such a folder is a patient of its own.
    """
    folders = {scan.scan_id: PurePosixPath(scan.scan_id).parts[:-1] for scan in scans}
    shared = len(os.path.commonprefix(list(folders.values())))
    patients = {}
    for scan_id, folder in folders.items():
        own = (end for end in range(shared, len(folder)) if not _GROUP.fullmatch(folder[end]))
        end = next(own, None)
        patients[scan_id] = scan_id if end is None else '/'.join(folder[: end + 1])
    return patients


def split_by_patient(
    scans: Sequence[Scan], patients: Mapping[str, str], share: float, seed: int, of: str
) -> list[Entry]:
    """Every scan (or image), split by patient: fold 0 trains, fold 1 validates.

    Args:
      patients: by scan id.
      share: of the patients, that validates.
      of: what the scans are called.

    Raises:
      PrepareError: they are of one patient only.
    """
    if len(set(patients.values())) < 2:
        raise PrepareError(
            f'the {of} are of one patient only ({next(iter(patients.values()))}), at least two '
            'needed to split by patient'
        )
    held_out = validating(patients.values(), share, seed)
    return [
        Entry(scan, 'validation', 1, patients[scan.scan_id])
        if patients[scan.scan_id] in held_out
        else Entry(scan, 'train', 0, patients[scan.scan_id])
        for scan in scans
    ]
