"""What a network is asked about: a file, a DICOM folder or a folder of scans.

A network of several channels takes them from one file per channel, named as nnU-Net does
(CASE_0000.nii.gz, CASE_0001.nii.gz, ...), or from one 4D file.

A folder may be a labelled dataset in its source's own layout: files that are labels by their names
are skipped.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genesis_jax.errors import PrepareError
from genesis_jax.imaging.dicom import is_dicom
from genesis_jax.imaging.geometry import naming
from genesis_jax.imaging.label_files import without_labels
from genesis_jax.imaging.scans import Scan, find_scans, is_image, scan_of_file

_EXPECTED = 'expected .nii, .nii.gz, .hdr, .mha, .mhd, .nrrd, .nhdr or DICOM'
_NUMBERED = re.compile(r'(.+)_(\d{4})')


@dataclass(frozen=True)
class Input:
    """A scan to predict: a name for its results, and a file per channel or one 4D file of all.

    `reason` is not empty if it cannot be used; it continues `shown`.
    """

    scan_id: str
    shown: str
    channels: tuple[Scan, ...]
    reason: str = ''


def find_inputs(
    source: Path, channels: Sequence[str], output: Path, tell: Callable[[str], None] = print
) -> list[Input]:
    """The scans of a file or folder, for a network that takes the channels of these names.

    Results of an earlier run, below `output`, are no input, nor are label files in a folder.

    Args:
      tell: is given lines on what was skipped or looks like something else.

    Raises:
      PrepareError: there is no scan, or two would give the same result.
    """
    scans = _find(source, output, tell)
    if not scans:
        raise PrepareError(f'{source} holds no scan; {_EXPECTED}')
    if source.is_dir():
        scans, lines = without_labels(scans, source, 'name the folder of the scans, or one file')
        for line in lines:
            tell(line)
    if len(channels) == 1:
        _tell_of_channels(scans, channels[0], tell)
        return [Input(scan.scan_id, scan.shown, (scan,)) for scan in scans]
    return _grouped(scans, channels)


def _find(source: Path, output: Path, tell: Callable[[str], None]) -> list[Scan]:
    if not source.exists():
        raise PrepareError(f'{source} does not exist; check --input')
    if source.is_file():
        if not is_image(source) and not is_dicom(source):
            raise PrepareError(f'{source} is no scan; {_EXPECTED}')
        return [scan_of_file(source)]
    below = output.resolve()
    every = find_scans(source, tell)
    scans = [scan for scan in every if below not in scan.files[0].resolve().parents]
    if len(scans) == 1 and scans[0].is_dicom and scans[0].files[0].parent == source:
        return [replace(scans[0], scan_id=source.resolve().name)]
    return scans


def _tell_of_channels(scans: Sequence[Scan], channel: str, tell: Callable[[str], None]) -> None:
    """Says if numbered files look like the channels of one scan, where the network takes one.

    No error: a series of scans may be numbered in the same way.
    """
    numbers_of = defaultdict(set)
    for scan in scans:
        if match := _NUMBERED.fullmatch(scan.scan_id):
            numbers_of[match[1]].add(match[2])
    several = sorted(name for name, numbers in numbers_of.items() if {'0000', '0001'} <= numbers)
    if several:
        name = several[0]
        tell(
            f'Warning: {name}_0000 and {name}_0001 look like channels of one scan, but the network '
            f'takes one channel ({channel}): each file is predicted as a scan of its own; move '
            'files of other channels away'
        )


def _grouped(scans: Sequence[Scan], channels: Sequence[str]) -> list[Input]:
    """Files of one scan together; a file without a number stands for all channels."""
    numbered: dict[str, dict[int, Scan]] = {}
    inputs = []
    for scan in scans:
        if match := _NUMBERED.fullmatch(scan.scan_id):
            numbered.setdefault(match[1], {})[int(match[2])] = scan
        else:
            inputs.append(Input(scan.scan_id, scan.shown, (scan,)))
    for whole in inputs:
        if files := numbered.get(whole.scan_id):
            raise PrepareError(
                f'{whole.shown} and {files[min(files)].shown} are '
                f'of the same scan, {whole.scan_id}; keep the 4D file or the one per channel'
            )
    for scan_id, files in numbered.items():
        ordered = tuple(files[number] for number in sorted(files))
        shown = f'{scan_id}_*'
        if sorted(files) == list(range(len(channels))):
            inputs.append(Input(scan_id, shown, ordered))
            continue
        numbers = ', '.join(f'{number:04}' for number in sorted(files))
        inputs.append(Input(scan_id, shown, ordered, f'has {numbers}, but {naming(channels)}'))
    return sorted(inputs, key=lambda one: one.scan_id)
