"""Holds out test patients of a dataset in nnU-Net's or the Medical Decathlon's layout.

    python -m benchmarks.study.hold_out --source=Task04_Hippocampus --test=60 --out=DIR

Scans are linked, not copied: those of training in imagesTr and labelsTr, those of the test in
imagesTs and labelsTs. What is pre-trained on imagesTr has not seen a test patient.
"""

import argparse
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.formats.dataset_json import list_files, read_dataset_json
from genesis_jax.cli.arguments import Parser, count, existing_folder, number, path
from genesis_jax.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Links the scans of a source and returns the exit status."""
    parser = Parser(
        prog='python -m benchmarks.study.hold_out',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.option('source', existing_folder, 'DIR', 'with dataset.json', required=True)
    parser.option('out', path, 'DIR', 'folder to be made', required=True)
    parser.option('test', count, 'N', 'scans that are held out', required=True)
    parser.option(
        'train', number(int, 2), 'N', 'scans that are kept of the others', otherwise='all'
    )
    parser.option('seed', int, 'N', 'of the draw', '2026')
    args = parser.parse_args(argv)
    try:
        hold_out(args.source, args.out, args.test, args.train, args.seed)
    except UserError as error:
        parser.fail(error)
    return 0


def hold_out(source: Path, out: Path, test: int, train: int | None = None, seed: int = 2026):
    """Links the scans of `source` below `out`, `test` of them as its test set.

    Raises:
      UserError: too few scans, or a dataset that cannot be read.
    """
    if out.exists():
        raise UserError(f'{out} exists already; choose another --out')
    declared = read_dataset_json(source)
    scans = list_files(source, declared, 'Tr')
    order = sorted(scans)
    random.Random(seed).shuffle(order)
    if len(order) < test + 2:
        raise UserError(
            f'{source} has {len(order)} labelled scans, too few to hold out {test} and leave two '
            'to train and validate; lower --test'
        )
    parts = {'Ts': order[:test], 'Tr': order[test:][:train]}
    partial = out.with_name(out.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    for part, names in parts.items():
        for name in names:
            _link(partial / f'labels{part}', [scans[name].label])
            _link(partial / f'images{part}', scans[name].images)
    text = json.loads((source / 'dataset.json').read_text('utf-8'))
    if declared.training is not None:
        kept = {scans[name].label.name for name in parts['Tr']}
        text['training'] = [
            {kind: f'./{kind}sTr/{Path(row[kind]).name}' for kind in ('image', 'label')}
            for row in text['training']
            if Path(row['label']).name in kept
        ]
    text['numTraining'] = len(parts['Tr'])
    (partial / 'dataset.json').write_text(json.dumps(text, indent=2) + '\n', 'utf-8')
    os.replace(partial, out)


def _link(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


if __name__ == '__main__':
    sys.exit(main())
