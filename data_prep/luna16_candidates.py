"""LUNA16 candidates to the dataset `ncc`: python -m data_prep.luna16_candidates --source=DIR

The source holds subset0 ... subset9 with a .mhd and a .raw per scan, and candidates_V2.csv. The
task is the paper's NCC: is there a nodule at this place? LUNA16 tells no patients, so a scan
stands for one.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from data_prep import luna16
from data_prep.build.dataset import prepare
from data_prep.build.options import add_cube_size, base_parser, destination, report
from data_prep.build.points import cut_points
from data_prep.build.summary import Summary
from data_prep.luna16 import fold_numbers
from data_prep.splits.draws import generator
from data_prep.types import Declaration, Job
from genesis_jax.cli.arguments import number, path
from genesis_jax.errors import PrepareError
from genesis_jax.imaging.points import PointRule, Points, check_points, gather
from genesis_jax.imaging.scans import find_scans
from genesis_jax.imaging.tables import find_table, parse_position, read_rows

CLASSES = ('non-nodule', 'nodule')
_TABLES = ('candidates_V2.csv', 'candidates_V2/candidates_V2.csv', 'CSVFILES/candidates_V2.csv')
_AXES = ('coordX', 'coordY', 'coordZ')
_FOLDS = {'train': '0,1,2,3,4', 'validation': '5,6', 'test': '7,8,9'}
_ALL_SUBSETS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares the candidates of LUNA16 and returns the exit status."""
    parser = base_parser(
        'data_prep.luna16_candidates',
        'Patches around the candidates of LUNA16.',
        'folder that holds subset0 ... subset9 and candidates_V2.csv',
        'ncc',
    )
    text = 'the candidates, also candidates.csv of V1'
    parser.option('csv', path, 'FILE', text, otherwise='candidates_V2.csv in the source')
    add_cube_size(parser)
    text = (
        'non-nodules kept for each nodule of training and validation, drawn over all scans of the '
        'split; or all'
    )
    otherwise = '%(default)s of about 480'
    parser.option('negatives_per_positive', _ratio, 'N', text, '10', otherwise)
    text = (
        'the same for the test split; a draw leaves the expected AUC as it is, but false positives '
        'per scan, so the LUNA16 score, and average precision are right for all only'
    )
    otherwise = '%(default)s, 60 GB of patches in all of LUNA16'
    parser.option('test_negatives_per_positive', _ratio, 'N', text, 'all', otherwise)
    for split, default in _FOLDS.items():
        text = f'subsets of the {split} split'
        parser.option(f'{split}_folds', fold_numbers, 'N,N,...', text, default)
    args = parser.parse_args(argv)
    folds = {split: getattr(args, f'{split}_folds') for split in _FOLDS}
    subsets = [fold for numbers in folds.values() for fold in numbers]
    if shared := {fold for fold in subsets if subsets.count(fold) > 1}:
        parser.error(f'fold {min(shared)} is asked for in two splits; leave it out of one')
    training, test = args.negatives_per_positive, args.test_negatives_per_positive
    ratios = {'train': training, 'validation': training, 'test': test}

    def work() -> Summary:
        table = args.csv or find_table(args.source, _TABLES)
        rule = PointRule(args.cube_size, args.spacing, 'ct', False, str(table))
        points = read_candidates(table)
        absent = count_absent(args.source, table, points)
        notes = [f'Rows skipped, whose scan is not there: {absent}'] if absent else []
        jobs = list_jobs(args.source, points, folds, ratios, args.seed, notes.append)
        check_points([job.source for job in jobs], rule)
        return prepare(
            jobs,
            partial(cut_points, rule=rule),
            declaration=Declaration('classification', CLASSES, ('CT',), 'ct', args.spacing),
            size=args.cube_size,
            recipe={
                'source': 'LUNA16 candidates',
                'table': table.name,
                'size': args.cube_size,
                'folds': folds,
                'negatives_per_positive': {
                    split: 'all' if math.isinf(ratio) else ratio for split, ratio in ratios.items()
                },
                'seed': args.seed,
            },
            config='ncc',
            notes=notes,
            **destination(args),
        )

    return report(parser, args, work)


def list_jobs(
    source: Path,
    points: Mapping[str, Points],
    folds: Mapping[str, Sequence[int]],
    ratios: Mapping[str, float],
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Job]:
    """Every scan of the subsets asked for, with the candidates drawn for its split.

    Args:
      tell: is given lines on files that are no scans.

    Raises:
      PrepareError: a subset is missing.
    """
    scans, empty = luna16.list_jobs(source, folds, tell), gather([])
    jobs = []
    for split, ratio in ratios.items():
        uids = [scan.scan_id for scan in scans if scan.split == split]
        drawn = draw({uid: points.get(uid, empty) for uid in uids}, ratio, seed)
        jobs += [
            replace(
                scan,
                shown=f'subset{scan.fold}/{scan.shown}',
                source=(*scan.source, drawn[scan.scan_id]),
            )
            for scan in scans
            if scan.split == split
        ]
    return jobs


def read_candidates(table: Path) -> dict[str, Points]:
    """The candidates of every scan, by series UID.

    Raises:
      PrepareError: the table is not LUNA16's.
    """
    rows: dict[str, list] = {}
    for line, row in read_rows(table, ('seriesuid', *_AXES, 'class')):
        if row['class'] not in ('0', '1'):
            raise PrepareError(
                f'{table}, row {line}: the class is {row["class"]!r}, expected 0 (non-nodule) or '
                '1 (nodule); correct it'
            )
        position = parse_position(table, line, row, _AXES)
        rows.setdefault(row['seriesuid'], []).append((line, position, int(row['class'])))
    if not rows:
        raise PrepareError(f'{table} holds no candidate; download it again')
    return {uid: gather(candidates) for uid, candidates in rows.items()}


def count_absent(source: Path, table: Path, points: Mapping[str, Points]) -> int:
    """How many candidates are of scans that no subset holds, as where not all ten are there.

    Raises:
      PrepareError: there are such, although all ten subsets are there.
    """
    folders = [source / f'subset{n}' for n in range(_ALL_SUBSETS)]
    present = [folder for folder in folders if folder.is_dir()]
    scans = {scan.scan_id for folder in present for scan in find_scans(folder)}
    absent = {uid: candidates for uid, candidates in points.items() if uid not in scans}
    if absent and len(present) == _ALL_SUBSETS:
        uid, candidates = next(iter(absent.items()))
        raise PrepareError(
            f'{table}, row {candidates.rows[0]}: no subset of {source} holds the scan {uid}; '
            'unpack it there or remove its rows'
        )
    return sum(len(candidates.rows) for candidates in absent.values())


def draw(points: Mapping[str, Points], ratio: float, seed: int) -> dict[str, Points]:
    """All positives, and `ratio` times as many negatives, drawn from all scans alike.

    A negative's lot depends on the seed, its scan and its place among the scan's candidates, so
    that a larger ratio keeps what a smaller one keeps.
    """
    lots = {
        uid: generator(seed, uid).random(len(candidates.labels))
        for uid, candidates in points.items()
    }
    positives = sum(int((candidates.labels == 1).sum()) for candidates in points.values())
    negatives = [lots[uid][candidates.labels == 0] for uid, candidates in points.items()]
    ordered = np.sort(np.concatenate(negatives)) if negatives else np.empty(0)
    count = min(len(ordered), ratio * max(positives, 1))
    limit = ordered[round(count) - 1] if round(count) else -1.0
    return {
        uid: candidates.select((candidates.labels == 1) | (lots[uid] <= limit))
        for uid, candidates in points.items()
    }


def _ratio(text: str) -> float:
    return math.inf if text == 'all' else number(float, 0)(text)


if __name__ == '__main__':
    sys.exit(main())
