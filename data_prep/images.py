r"""A folder of 2D images to a dataset, with or without labels: python -m data_prep.images

    python -m data_prep.images --source=DIR --name=frames --data_dir=data
    python -m data_prep.images --source=DIR --csv=FILE --name=iuc --data_dir=data

PNG, JPEG, TIFF and BMP files at any depth: ultrasound frames, radiographs, slices. Without a CSV
file the images are for pre-training. Its columns are image (a path below the source, with or
without the suffix), patient (default: every image is one) and one of

- label: the class of an image;
- labels: its findings, separated by |, or nothing if there is none.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_prep.build.dataset import prepare
from data_prep.build.images import ImageReader
from data_prep.build.options import add_image_size, common_parser, destination, report
from data_prep.build.summary import Summary
from data_prep.formats.images_csv import OWN_PATIENTS, list_jobs, read_image_table
from data_prep.splits.options import (
    add_patient_pattern,
    add_table_options,
    add_validation_share,
    refuse_folds,
)
from data_prep.splits.patients import patient_of, split_by_patient, split_line
from genesis_jax.cli.arguments import Parser, existing_file
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.images import SUFFIXES, find_images
from genesis_jax.imaging.scans import Scan


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares a folder of images and returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    if args.csv is None:
        of_tables = ('classes', 'split_column', 'folds')
        parser.refuse(args, of_tables, 'is of a CSV file; give --csv, too')
    else:
        instead = '--folds or --split_column'
        why = f'is of images without labels; leave it out, or give {instead} instead'
        parser.refuse(args, ['validation_share'], why)
    refuse_folds(parser, args)
    work = partial(_prepare if args.csv is None else _prepare_labelled, args)
    return report(parser, args, work)


def _prepare(args: argparse.Namespace) -> Summary:
    told: list[str] = []
    images = _images(args.source, told)
    patients = {
        image.scan_id: patient_of(image.scan_id, args.patient_pattern, 'image') for image in images
    }
    jobs = split_by_patient(images, patients, args.validation_share, args.seed, 'images')
    reader = ImageReader(args.size, args.window)
    return prepare(
        jobs,
        reader,
        recipe=reader.recipe(args.seed),
        config='genesis_ultrasound',
        **reader.options(),
        notes=[*told, split_line(patients.values()) if args.patient_pattern else OWN_PATIENTS],
        **destination(args),
    )


def _prepare_labelled(args: argparse.Namespace) -> Summary:
    table = read_image_table(args.csv, args.split_column, args.classes)
    told: list[str] = []
    images = _images(args.source, told, [args.csv])
    jobs, notes = list_jobs(
        table, images, args.split_column, args.folds, args.seed, args.patient_pattern
    )
    reader = ImageReader(args.size, args.window)
    return prepare(
        jobs,
        reader,
        **reader.options(table.task, table.classes),
        recipe={
            'source': 'images',
            'table': args.csv.name,
            'size': args.size,
            'window': args.window,
            'split_column': args.split_column,
            'folds': None if args.split_column else args.folds,
            'seed': args.seed,
        },
        config='dxc' if table.task == 'multilabel' else 'iuc',
        table=str(args.csv),
        notes=[*told, *notes],
        **destination(args),
    )


def _images(source: Path, told: list[str], known: Sequence[Path] = ()) -> list[Scan]:
    """All images of the source; lines on other files that are not known are added to `told`."""
    images = find_images(source, told.append, known)
    if not images:
        raise PrepareError(f'{source} holds no image ({", ".join(SUFFIXES)}); check --source')
    return images


def _make_parser() -> Parser:
    description = __doc__.partition('\n\n')[2].partition('\n\n')[2]
    source = 'folder that holds the images, at any depth'
    parser = common_parser('data_prep.images', description, source, '')
    parser.option('csv', existing_file, 'FILE', 'the labels', otherwise='none, for pre-training')
    add_image_size(parser)
    text = (
        'what becomes 0 to 1; depth: what the bits of a file can hold (0 to 255, 0 to 65535); '
        "robust: each image's own range, from its 0.5th to its 99.5th percentile, as for 12-bit "
        'values in 16-bit files'
    )
    otherwise = '%(default)s; 32-bit files: robust'
    parser.option('window', ('depth', 'robust'), None, text, 'depth', otherwise)
    add_validation_share(parser, 'patients, for pre-training')
    add_patient_pattern(parser, 'image', '(.*)/')
    add_table_options(parser)
    return parser


if __name__ == '__main__':
    sys.exit(main())
