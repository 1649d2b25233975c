"""LUNA16 to the dataset `luna16`: python -m data_prep.luna16 --source=DIR --data_dir=DIR

The source holds subset0 ... subset9 with a .mhd and a .raw per scan. As in the paper, folds 0-4
train, 5-6 validate, and 7-9 stay unread so that no target task's test scan is seen.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from data_prep.build.options import make_parser, run
from data_prep.sampling.cubes import CubeRule
from data_prep.types import Job
from genesis_jax.cli.arguments import Parser
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.scans import Scan, find_scans

_FOLDS = range(10)


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares LUNA16 and returns the exit status."""
    parser = make_parser(
        'data_prep.luna16',
        'Patches of the LUNA16 chest CT scans.',
        'folder that holds subset0 ... subset9',
        'luna16',
    )
    add_folds(parser)
    args = parser.parse_args(argv)
    folds = folds_of(parser, args)

    def list_noted() -> tuple[list[Job], list[str]]:
        notes: list[str] = []
        return list_jobs(args.source, folds, notes.append), notes

    return run(parser, args, 'ct', CubeRule(), list_noted)


def add_folds(parser: Parser) -> None:
    """The options that say which subsets train and validate."""
    text = 'subsets to {} on'
    parser.option('train_folds', fold_numbers, 'N,N,...', text.format('train'), '0,1,2,3,4')
    parser.option('validation_folds', fold_numbers, 'N,N,...', text.format('validate'), '5,6')


def folds_of(parser: Parser, args: argparse.Namespace) -> dict[str, Sequence[int]]:
    """The subsets of each split that the options ask for; ends the program if one is in both."""
    if shared := set(args.train_folds) & set(args.validation_folds):
        parser.error(f'fold {min(shared)} is asked for in both splits; leave it out of one')
    return {'train': args.train_folds, 'validation': args.validation_folds}


def list_jobs(
    source: Path,
    folds: Mapping[str, Sequence[int]],
    tell: Callable[[str], None] = lambda line: None,
) -> list[Job]:
    """Every scan of the subsets asked for; its id is its series UID.

    Args:
      tell: is given lines on files that are no scans.
    """

    def find(fold: int) -> list[Scan]:
        return find_scans(source / f'subset{fold}', lambda line: tell(f'subset{fold}: {line}'))

    present = [fold for fold in _FOLDS if (source / f'subset{fold}').is_dir()]
    subsets = [fold for numbers in folds.values() for fold in numbers]
    if missing := [fold for fold in subsets if fold not in present]:
        raise PrepareError(
            f'{source} has no {_named(missing)} (found: {_named(present) or "none"}); unpack '
            'them there or name others with --train_folds, --validation_folds and so on'
        )
    return [
        Job(scan.scan_id, scan.scan_id, split, fold, scan.shown, (scan,))
        for split, numbers in folds.items()
        for fold in numbers
        for scan in find(fold)
    ]


def _named(folds: Sequence[int]) -> str:
    return ', '.join(f'subset{fold}' for fold in folds)


def fold_numbers(text: str) -> tuple[int, ...]:
    """An argparse type: some of LUNA16's ten subsets, 0,1,2."""
    words = text.split(',')
    if any(word not in map(str, _FOLDS) for word in words) or len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(f'expected different numbers 0 to 9, found {text!r}')
    return tuple(map(int, words))


if __name__ == '__main__':
    sys.exit(main())
