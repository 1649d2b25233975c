"""Whose a scan or an image is, and splits that keep all of a patient together."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from data_prep.splits.draws import pick_validation
from data_prep.types import SPLITS, Job
from genesis_jax.errors import PrepareError
from genesis_jax.imaging import dicom
from genesis_jax.imaging.scans import Scan

# Folders that hold many patients: splits, grades of BraTS, parts of LUNA16, LiTS and nnU-Net.
_GROUP = re.compile(
    r'(train(ing)?|val(idation)?|test(ing)?)([-_ ](data|set|batch[-_ ]?\d+))?|'
    r'[hl]gg|images(t[rs]|va)?|subset\d',
    re.IGNORECASE,
)
_SUBJECT = re.compile(r'sub-[A-Za-z0-9]+')  # a subject's folder in BIDS, `derivatives` included
_OF_SUBJECT = re.compile(r'(sub-[A-Za-z0-9]+)_')  # starts a file's name in BIDS, wherever it lies
_LAST_WORD = re.compile(r'[-_][^-_]*$')  # of a file's name, the sequence in IXI
_CHANNEL = re.compile(r'(.*)_(\d{4})')  # of nnU-Net


def patient_of(name: str, pattern: re.Pattern | None, of: str) -> str:
    """The patient in the name of a scan or image; PrepareError if it is not found."""
    if pattern is None:
        return name
    match = pattern.search(name)
    if not match:
        raise PrepareError(
            f'--patient_pattern={pattern.pattern} finds nothing in the name of the {of} {name}; '
            'correct it or leave it out'
        )
    return match[1] if pattern.groups else match[0]


def split_line(patients: Iterable[str], how: str = 'found by --patient_pattern') -> str:
    """The summary's line on how many patients the scans or images were split by."""
    return f'Split: by patient, {len(set(patients))} {how}'


def infer_patients(scans: Sequence[Scan]) -> dict[str, str]:
    """The patient of every scan id, where no pattern tells.

    All scans of a folder are of one patient, whatever lies between (studies, sequences): of a
    folder `sub-LABEL`, as in BIDS (whose files' names begin with it, too), or of the first one that
    not all scans share and that is no split or grade by its name. A scan without such a folder is a
    patient of its own, but with the other channels of its scan (`CASE_0000`, `CASE_0001`), as in
    nnU-Net. A folder whose DICOM files name several patients is nobody's (of a year, a sequence, a
    site): they tell whose each of its scans is. Any other folder stays whole, joined with all else
    of the patient whom it names. Scans of one series UID are of one patient, whatever else says.
    """
    folders = _by_folder([scan.scan_id for scan in scans])
    ids = {scan.scan_id: dicom.patient_id(scan.files[0]) for scan in scans if scan.is_dicom}
    ids = {scan_id: named for scan_id, named in ids.items() if named}
    if len(set(ids.values())) < 2:  # one alone is what anonymising left
        return _with_one_series(folders, scans)
    held = defaultdict(set)
    for scan_id, named in ids.items():
        held[folders[scan_id]].add(named)
    first: dict[str, str] = {}  # names each, so that no PatientID enters a dataset
    joined = {}
    for scan_id, named in ids.items():
        part = folders[scan_id] if len(held[folders[scan_id]]) == 1 else scan_id
        joined[part] = first.setdefault(named, part)
    patients = {
        scan_id: joined.get(scan_id, joined.get(folder, folder))
        for scan_id, folder in folders.items()
    }
    return _with_one_series(patients, scans)


def _with_one_series(patients: dict[str, str], scans: Sequence[Scan]) -> dict[str, str]:
    """The patients, those of whom DICOM series share their UID as one."""
    first: dict[str, str] = {}
    for scan in (scan for scan in scans if scan.series):
        own, other = patients[scan.scan_id], first.setdefault(scan.series, patients[scan.scan_id])
        if own != other:
            patients = {name: other if one == own else one for name, one in patients.items()}
    return patients


def _by_folder(scan_ids: Sequence[str]) -> dict[str, str]:
    folders = {scan_id: PurePosixPath(scan_id).parts[:-1] for scan_id in scan_ids}
    shared = len(os.path.commonprefix(list(folders.values())))
    joined = _join_channels(scan_ids)
    patients = {}
    for scan_id, folder in folders.items():
        subject = next(filter(_SUBJECT.fullmatch, folder), None)
        if of_subject := _OF_SUBJECT.match(PurePosixPath(scan_id).name):
            subject = subject or of_subject[1]
        own = (end for end in range(shared, len(folder)) if not _GROUP.fullmatch(folder[end]))
        end = next(own, None)
        if subject is not None:
            patients[scan_id] = subject
        elif end is None:
            patients[scan_id] = joined.get(scan_id, scan_id)
        else:
            patients[scan_id] = '/'.join(folder[: end + 1])
    return patients


def _join_channels(scan_ids: Sequence[str]) -> dict[str, str]:
    """The scan of every file, if they all look like nnU-Net's channels; else nothing."""
    channels = defaultdict(list)
    for match in map(_CHANNEL.fullmatch, scan_ids):
        if match:
            channels[match[1]].append(int(match[2]))
    counted = all(sorted(numbers) == list(range(len(numbers))) for numbers in channels.values())
    if not counted or len(channels) < 2 or sum(map(len, channels.values())) < len(scan_ids):
        return {}  # (a folder of scan_0000, scan_0001, ... is no scan)
    return {f'{scan}_{number:04}': scan for scan, numbers in channels.items() for number in numbers}


def how_split(patients: Mapping[str, str], pattern: re.Pattern | None) -> list[str]:
    """Lines on what told the patients."""
    names = sorted(set(patients.values()))
    if pattern is not None:
        return [split_line(names)]
    if len(names) < len(patients):
        examples = ', '.join(names[:3]) + (', ...' if names[3:] else '')
        how = f'told by folders and files ({examples}); if they are not, give --patient_pattern'
        doubt = like_sequences(patients)
        return [split_line(names, how), *([doubt] if doubt else [])]
    return [
        'Split: by scan, each as a patient of its own; where there are several of one, '
        '--patient_pattern keeps them in one split'
    ]


def like_sequences(patients: Mapping[str, str]) -> str:
    """A line on folders that count as patients and look like sequences; empty if none do.

    They do where more names recur in several of them than they are: folders of patients share the
    names of a few visits or sequences, those of sequences share the names of all patients.

    Args:
      patients: by scan id.
    """
    for whole in (False, True):
        holders = defaultdict(set)
        for scan_id, folder in patients.items():
            if scan_id.startswith(f'{folder}/') and not _SUBJECT.fullmatch(folder):
                holders[_name_in(folder, scan_id, whole)].add(folder)
        recurring = {name: sorted(held) for name, held in holders.items() if len(held) > 1}
        if len(recurring) > len(set().union(*recurring.values())):
            name, (one, other, *_) = min(recurring.items())
            return (
                f'These folders look like sequences rather than patients ({one} and {other} both '
                f'hold {name}); if they are, give --patient_pattern, or patients lie in both splits'
            )
    return ''


def _name_in(folder: str, scan_id: str, whole: bool) -> str:
    """Of what a folder holds, the one that a scan is, or lies in; of files less the last word."""
    name, is_folder, _ = scan_id.removeprefix(f'{folder}/').partition('/')
    return name if whole or is_folder else _LAST_WORD.sub('', name)


def split_by_patient(
    scans: Sequence[Scan], patients: Mapping[str, str], share: float, seed: int, of: str
) -> list[Job]:
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
            f'needed to split by patient; tell them apart with --patient_pattern, or add {of}'
        )
    held_out = pick_validation(patients.values(), share, seed)
    jobs = []
    for scan in scans:
        patient = patients[scan.scan_id]
        fold = int(patient in held_out)
        jobs.append(Job(scan.scan_id, patient, SPLITS[fold], fold, scan.shown, (scan,)))
    return jobs
