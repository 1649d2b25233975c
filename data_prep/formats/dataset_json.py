"""nnU-Net's and the Medical Decathlon's dataset.json: what it declares, and the files it means."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.types import Files
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.volumes import Modality

_NAME = 'dataset.json'
_HIGHEST_LABEL = 254
_MRI = re.compile(r'mri?\b|^t[12]|flair|adc|dwi|swi', re.IGNORECASE)


@dataclass(frozen=True)
class DatasetJson:
    """What dataset.json declares.

    Attributes:
      name: of the dataset, or empty.
      channels: names, in order.
      labels: value in the label files by class name, background first.
      ending: of files, such as .nii.gz.
      config: of configs/, made for it; the file may say so, with a key of our own.
      training: of the Decathlon: the listed (image, label) paths below the source; None: nnU-Net.
    """

    name: str
    channels: tuple[str, ...]
    labels: Mapping[str, int]
    ending: str
    training: tuple[tuple[str, str], ...] | None
    config: str = 'segment'

    @property
    def modality(self) -> Modality:
        """ct if all channels are, else mri if one sounds like it, else other."""
        if all(channel.upper() == 'CT' for channel in self.channels):
            return 'ct'
        return 'mri' if any(_MRI.search(channel) for channel in self.channels) else 'other'


def read_dataset_json(source: Path) -> DatasetJson:
    """Reads either dialect.

    Raises:
      PrepareError: missing, not JSON, or it declares what cannot be used.
    """
    path = source / _NAME
    declared = _load(path)
    if not isinstance(declared, dict):
        raise PrepareError(f'{path} holds no JSON object; expected one, as nnU-Net writes it')
    is_decathlon = 'channel_names' not in declared
    channels = _field(path, declared, 'modality' if is_decathlon else 'channel_names')
    if sorted(channels, key=str) != sorted(map(str, range(len(channels)))):
        raise PrepareError(
            f'{path} numbers its channels {", ".join(channels)}; expected 0, 1, ... without a gap'
        )
    training = None
    if is_decathlon:
        rows = declared.get('training', [])
        if not (isinstance(rows, list) and all(_is_pair(row) for row in rows) and rows):
            raise PrepareError(
                f'{path} lists no "training" pairs of "image" and "label"; expected the Medical '
                'Decathlon\'s list, or "channel_names" as in nnU-Net version 2'
            )
        training = tuple((row['image'], row['label']) for row in rows)
    return DatasetJson(
        name=str(declared.get('name', '')),
        channels=tuple(str(channels[str(number)]) for number in range(len(channels))),
        labels=_labels(path, _field(path, declared, 'labels'), is_decathlon),
        ending=str(declared.get('file_ending', '.nii.gz')),
        training=training,
        config=str(declared.get('config', 'segment')),
    )


def list_files(source: Path, declared: DatasetJson, part: str) -> dict[str, Files]:
    """Files of the labelled scans of imagesTr and labelsTr (part Tr), or of the test set (Ts).

    Raises:
      PrepareError: a file of a pair is missing, or there is no training scan.
    """
    if part == 'Tr' and declared.training is not None:
        return _listed(source, declared)
    labels = source / f'labels{part}'
    paths = sorted(labels.glob(f'*{declared.ending}')) if labels.is_dir() else []
    paths = [path for path in paths if not path.name.startswith('.')]
    if part == 'Tr' and not paths:
        raise PrepareError(
            f'{labels} holds no label file ending in {declared.ending}; check --source and '
            f'"file_ending" in {_NAME}'
        )
    scans = {}
    for path in paths:
        scan_id = path.name.removesuffix(declared.ending)
        if declared.training is None:
            names = [f'{scan_id}_{number:04}' for number in range(len(declared.channels))]
        else:
            names = [scan_id]
        images = [source / f'images{part}' / f'{name}{declared.ending}' for name in names]
        for image in images:
            if not image.is_file():
                raise PrepareError(
                    f'{path.relative_to(source)} has no image {image.relative_to(source)}; add it '
                    'or remove the label'
                )
        scans[scan_id] = Files(tuple(images), path)
    if declared.training is None:
        _check_channels(source / f'images{part}', declared, scans)
    if part == 'Tr':
        _check_all_labelled(source, declared, scans)
    return scans


def read_splits(source: Path, scans: Sequence[str]) -> dict[str, int] | None:
    """The fold in which each scan validates, from splits_final.json; None if it is not there.

    Raises:
      PrepareError: it does not validate every scan exactly once.
    """
    path = source / 'splits_final.json'
    if not path.exists():
        return None
    splits = _load(path)
    try:
        validated = [(scan, fold) for fold, split in enumerate(splits) for scan in split['val']]
    except (TypeError, KeyError):
        raise PrepareError(
            f'{path} is no list of "train" and "val" lists; export it again'
        ) from None
    names = [scan for scan, _ in validated]
    for scan in sorted(set(scans) ^ set(names)) or [n for n in names if names.count(n) > 1]:
        raise PrepareError(
            f'{path} has the scan {scan} in {names.count(scan)} "val" lists, but every scan of '
            'labelsTr must be in one; correct it, or give --folds to assign the scans anew'
        )
    return dict(validated)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise PrepareError(f'{path.parent} holds no {path.name}; check --source') from None
    except ValueError as error:
        raise PrepareError(f'{path} is not JSON ({error}); correct it') from None


def _field(path: Path, declared: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = declared.get(name)
    if not (isinstance(value, dict) and value):
        raise PrepareError(
            f'{path} has no usable {name!r}; expected channel_names or modality, and labels, as '
            'nnU-Net version 2 or the Medical Decathlon declare them'
        )
    return value


def _is_pair(row: Any) -> bool:
    return isinstance(row, dict) and {'image', 'label'} <= set(row)


def _labels(path: Path, declared: Mapping[str, Any], is_decathlon: bool) -> dict[str, int]:
    """Values by name, background first; the Decathlon has names by value."""
    pairs = [(n, v) if is_decathlon else (v, n) for v, n in declared.items()]
    values: dict[str, int] = {}
    for name, value in pairs:
        if isinstance(value, list):
            raise PrepareError(
                f'{path} declares the label {name!r} as a region of several values ({value}); '
                'regions cannot be prepared: declare each value as a label of its own'
            )
        if name == 'ignore':
            raise PrepareError(
                f'{path} declares the label "ignore"; partly annotated scans cannot be prepared: '
                'move them away and take the label out'
            )
        if not (str(value).isdecimal() and int(value) <= _HIGHEST_LABEL):
            raise PrepareError(
                f'{path} gives the label {name!r} the value {value!r}; expected a whole number '
                f'from 0 to {_HIGHEST_LABEL}'
            )
        values[str(name)] = int(value)
    if len(set(values.values())) < len(pairs):
        raise PrepareError(f'{path} has two labels of one name or value ({values}); correct it')
    ordered = sorted(values.items(), key=lambda pair: pair[1])
    if ordered[0][1] != 0 or len(ordered) < 2:
        raise PrepareError(
            f'{path} declares the labels {values}; expected 0 for background and at least one more'
        )
    return {'background': 0, **dict(ordered[1:])}


def _listed(source: Path, declared: DatasetJson) -> dict[str, Files]:
    """The Decathlon's training list."""
    scans = {}
    for image, label in declared.training or ():
        for name in (image, label):
            if not (source / name).is_file():
                raise PrepareError(
                    f'{source / _NAME} lists {name}, which is not there; add it or unlist the pair'
                )
        scan_id = Path(label).name.removesuffix(declared.ending)
        if scan_id in scans:
            raise PrepareError(f'{source / _NAME} lists {label} twice; take one pair out')
        scans[scan_id] = Files((source / image,), source / label)
    return scans


def _check_channels(images: Path, declared: DatasetJson, scans: Mapping[str, Files]) -> None:
    """Refuses a file of a channel that nobody declared, which would silently be skipped."""
    numbered = re.compile(rf'(.+)_([0-9]{{4}}){re.escape(declared.ending)}')
    for path in sorted(images.glob(f'*{declared.ending}')):
        match = numbered.fullmatch(path.name)
        count = len(declared.channels)
        if match and match[1] in scans and int(match[2]) >= count:
            raise PrepareError(
                f'{images.name}/{path.name} is channel {int(match[2])} of the scan {match[1]}, but '
                f'{_NAME} declares {count} ({", ".join(declared.channels)}), numbered from 0; '
                'declare it in channel_names or move its files away'
            )


def _check_all_labelled(source: Path, declared: DatasetJson, scans: Mapping[str, Files]) -> None:
    for image in sorted((source / 'imagesTr').glob(f'*_0000{declared.ending}')):
        scan_id = image.name.removesuffix(f'_0000{declared.ending}')
        if not scan_id.startswith('.') and scan_id not in scans:
            raise PrepareError(
                f'{image.relative_to(source)} has no label labelsTr/{scan_id}{declared.ending}; '
                'add it or move the image away'
            )
