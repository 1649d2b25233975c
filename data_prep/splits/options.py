"""The command-line options that say who is a patient, and who trains, validates and tests."""

import argparse
import re

from genesis_jax.cli.arguments import Parser, number

BY_FOLDER = (
    'a folder with all below it is a patient: sub-LABEL (or files called sub-LABEL_...), else the '
    'first below the source that does not hold every scan and is not called train, test, HGG, '
    'imagesTr and the like; a scan in no such folder is a patient, with its other channels '
    '(CASE_0000, CASE_0001); in a folder of several DICOM PatientIDs these tell, and other folders '
    'of one are joined'
)


def add_table_options(parser: Parser) -> None:
    """The options of every preparation that takes its labels from a CSV file."""
    text = 'class names by index; the CSV holds names or indices'
    otherwise = 'as in the CSV, 0 negative and 1 positive, else in alphabetical order'
    parser.option('classes', _names, 'NAME,NAME,...', text, otherwise=otherwise)
    parser.option('folds', number(int, 2), 'K', 'to assign the patients to', '3')
    text = 'of the CSV, instead of --folds: train, validation, test; or fold numbers from 0'
    parser.option('split_column', str, 'COLUMN', text)


def refuse_folds(parser: Parser, args: argparse.Namespace) -> None:
    """Ends the program if --folds was given where a column of the table says the splits."""
    if args.split_column:
        parser.refuse(args, ['folds'], 'and --split_column exclude each other; give one of them')


def add_validation_share(parser: Parser, of: str, default: str = '0.2') -> None:
    """The option of every preparation that holds out some of its scans or patients."""
    text = f'of the {of}, at least one'
    parser.option('validation_share', number(float, 0.01, 0.99), 'SHARE', text, default)


def add_patient_pattern(parser: Parser, of: str, example: str, otherwise: str = '') -> None:
    """The option of every preparation whose files alone tell the patients.

    Args:
      of: what has a name.
      example: of a pattern.
      otherwise: who is a patient without it (default: each that has a name).
    """
    text = (
        f'finds the patient in the name of each {of}; its first group, if it has one; example: '
        f"'{example}'"
    )
    otherwise = otherwise or f'every {of} is a patient'
    parser.option('patient_pattern', _regex, 'REGEX', text, otherwise=otherwise)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(','))
    if len(names) < 2 or '' in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f'expected at least two different names, found {text!r}')
    return names


def _regex(text: str) -> re.Pattern:
    """An argparse type: a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f'expected a regular expression, found {text!r} ({error})'
        ) from None
