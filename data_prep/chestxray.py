"""ChestX-ray8/14 to the datasets `chestxray` and `dxc`: python -m data_prep.chestxray --source=DIR

The source is the release of the NIH: Data_Entry_2017.csv, images_001 ... images_012 with their
PNGs (any part of them), train_val_list.txt and test_list.txt. `chestxray`, for pre-training, holds
the images of the first list; `dxc`, for the paper's DXC, those and the test images with their
findings. The same patients validate in both, and no test image is pre-trained on, nor a copy of one
under another name.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_prep.build.dataset import prepare
from data_prep.build.images import ImageReader
from data_prep.build.options import add_image_size, common_parser, destination, report
from data_prep.build.records import check_absent, dataset_folder
from data_prep.build.summary import Summary
from data_prep.formats.chestxray_names import FINDINGS
from data_prep.formats.images_csv import findings as findings_of
from data_prep.splits.draws import pick_validation
from data_prep.splits.options import add_validation_share
from data_prep.splits.patients import split_line
from data_prep.types import SPLITS, Job, listed
from genesis_jax.cli.arguments import Parser, existing_file
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.images import find_images
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.tables import find_table, read_rows

_DATASETS = ('chestxray', 'dxc')
_TABLES = ('Data_Entry_2017.csv', 'Data_Entry_2017_v2020.csv')
_PATIENT = 'Patient ID'
_COLUMNS = ('Image Index', 'Finding Labels', _PATIENT)
_LISTS = {'train_val_list.txt': 'train', 'test_list.txt': 'test'}
_SHARE = '0.11'  # leaves about the 77,074 images that the paper pre-trained on, of 86,524


@dataclass(frozen=True)
class Radiograph:
    """One listed image.

    Attributes:
      image: whose id is the file's name without its suffix.
      labels: 0 or 1 for each of the findings asked for.
      split: train, validation or test.
    """

    image: Scan
    patient: str
    labels: tuple[int, ...]
    split: str

    def job(self, *labels: tuple[int, ...]) -> Job:
        """What a worker reads, with these labels or none."""
        fold = SPLITS.index(self.split)
        source = (self.image, *labels)
        return Job(self.image.scan_id, self.patient, self.split, fold, self.image.shown, source)


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares ChestX-ray and returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    names = [args.only] if args.only else _DATASETS

    @cache
    def listing() -> tuple[list[Radiograph], list[str]]:
        for name in names:
            check_absent(args.data_dir, name, _way_out(args.data_dir, name, names))
        findings = FINDINGS[: args.findings]
        return list_radiographs(args.source, args.csv, findings, args.validation_share, args.seed)

    def report_on(name: str) -> int:
        own = argparse.Namespace(**vars(args), name=name)
        return report(parser, own, lambda: _prepare(own, *listing()))

    return max(map(report_on, names))


def list_radiographs(
    source: Path,
    table: Path | None,
    findings: Sequence[str],
    validation_share: float,
    seed: int,
) -> tuple[list[Radiograph], list[str]]:
    """Every image that is listed, described and there, and notes on the others.

    Raises:
      PrepareError: a table or list is missing, or contradicts itself or the other.
    """
    table = table or find_table(source, _TABLES)
    described = _read_table(table, findings)
    parts = _read_lists(source)
    told: list[str] = []
    known = [table, *(source / name for name in _LISTS)]
    images = _by_name(find_images(source, told.append, known))
    usable = [name for name in parts if name in described and name in images]
    if not usable:
        raise PrepareError(
            f'{source} holds none of the {len(parts)} listed images, such as {next(iter(parts))}; '
            'unpack images_001.tar.gz and so on there'
        )
    patients = {name: described[name][0] for name in usable}
    _check_patients(patients, parts)
    trained = [patients[name] for name in usable if parts[name] == 'train']
    held_out = pick_validation(trained, validation_share, seed)
    radiographs = []
    for name in usable:
        patient, labels = described[name]
        validates = parts[name] == 'train' and patient in held_out
        split = 'validation' if validates else parts[name]
        radiographs.append(Radiograph(images[name], patient, labels, split))
    notes = {
        'Listed, but not there': [name for name in parts if name not in images],
        'There, but in neither list': [name for name in images if name not in parts],
        f'Listed, but not in {table.name}': [name for name in parts if name not in described],
    }
    lines = [f'{what}: {listed(names)}' for what, names in notes.items() if names]
    return radiographs, [*told, *lines]


def _prepare(
    args: argparse.Namespace, radiographs: Sequence[Radiograph], notes: Sequence[str]
) -> Summary:
    """The dataset `args.name`, one of the two."""
    reader, findings = ImageReader(args.size), FINDINGS[: args.findings]
    labelled = args.name == 'dxc'
    recipe = {
        'source': 'ChestX-ray',
        'size': args.size,
        'validation_share': args.validation_share,
        'seed': args.seed,
    }
    patients = {shot.patient for shot in radiographs if shot.split != 'test'}
    split = [] if labelled else [split_line(patients, f'told by the column {_PATIENT}')]
    return prepare(
        [shot.job(*[shot.labels] * labelled) for shot in radiographs],
        reader,
        recipe=recipe if labelled else reader.recipe(args.seed),
        config='dxc' if labelled else 'genesis_xray',
        **(reader.options('multilabel', findings) if labelled else reader.options()),
        notes=[*notes, *split],
        **destination(args),
    )


def _way_out(data_dir: Path, name: str, names: Sequence[str]) -> str:
    """What else to do where the dataset `name` is there, of those asked for."""
    absent = [other for other in names if not dataset_folder(data_dir, other).exists()]
    alone = f'make the other alone with --only={absent[0]}, or ' if absent else ''
    return f'{alone}choose another --data_dir'


def _make_parser() -> Parser:
    parser = common_parser(
        'data_prep.chestxray',
        'ChestX-ray8/14: radiographs for pre-training (chestxray) and with their findings (dxc).',
        'folder that holds Data_Entry_2017.csv, images_*/, train_val_list.txt, test_list.txt',
        None,
    )
    parser.option('csv', existing_file, 'FILE', 'the findings', otherwise='in the source')
    text = 'of ChestX-ray8, as in the paper, or all of ChestX-ray14'
    parser.option('findings', int, None, text, '8', choices=(8, 14))
    add_image_size(parser)
    add_validation_share(parser, 'patients of train_val_list.txt', _SHARE)
    parser.option('only', _DATASETS, None, 'one of the two datasets', otherwise='both')
    return parser


def _read_table(table: Path, findings: Sequence[str]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The patient and the labels of every image."""
    described = {}
    for line, row in read_rows(table, _COLUMNS):
        name, labels, patient = (row[column] for column in _COLUMNS)
        positives = findings_of(labels)
        if stray := [finding for finding in positives if finding not in FINDINGS]:
            raise PrepareError(
                f'{table}, row {line}: the finding is {stray[0]!r}, expected one of '
                f'{", ".join(FINDINGS)} or No Finding; correct it'
            )
        if name in described:
            raise PrepareError(
                f'{table}, row {line}: the image {name} is listed twice; remove one of the rows'
            )
        described[name] = (patient, tuple(int(finding in positives) for finding in findings))
    return described


def _read_lists(source: Path) -> dict[str, str]:
    """Train or test, by the image's name."""
    parts: dict[str, str] = {}
    for file, split in _LISTS.items():
        path = source / file
        try:
            names = path.read_text('utf-8-sig').split()
        except FileNotFoundError:
            raise PrepareError(
                f'{source} holds no {file}; download it from the NIH, beside the images'
            ) from None
        except UnicodeDecodeError:
            raise PrepareError(f'{path} is no text file; download it again') from None
        for name in names:
            if parts.setdefault(name, split) != split:
                raise PrepareError(f'{name} is in both lists; download them again')
    return parts


def _by_name(images: Sequence[Scan]) -> dict[str, Scan]:
    named: dict[str, Scan] = {}
    for image in images:
        name = image.files[0].name
        if name in named:
            raise PrepareError(f'{named[name].shown} and {image.shown} are one image; keep one')
        named[name] = Scan(Path(name).stem, image.shown, image.files)
    return named


def _check_patients(patients: Mapping[str, str], parts: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for name, patient in patients.items():
        other = first.setdefault(patient, name)
        if parts[other] != parts[name]:
            raise PrepareError(
                f'patient {patient} is in both lists: {other} and {name}; download them again'
            )
    trained = [patient for patient, name in first.items() if parts[name] == 'train']
    if len(trained) < 2:
        whose = f'one patient only ({trained[0]})' if trained else 'no patient'
        raise PrepareError(
            f'the radiographs of train_val_list.txt that are there are of {whose}, at least two '
            'needed to train and validate; add radiographs of others'
        )


if __name__ == '__main__':
    sys.exit(main())
