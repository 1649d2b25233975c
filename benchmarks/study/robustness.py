"""How well segmentations stand changes of intensity that they were not trained for.

    python -m benchmarks.study.robustness WORKDIR [WORKDIR ...] --data_dir=DIR --out=FILE.csv

Every run of these fine-tunings is tested on the test scans as they are, and with their intensities
changed within the window of the scan: a curve (gamma), a smooth field over the scan (as of an MR
coil), an inverted contrast.
"""

import argparse
import csv
import dataclasses
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genesis_jax import parallel
from genesis_jax.cli.arguments import Parser, path
from genesis_jax.data import labelled
from genesis_jax.errors import UserError
from genesis_jax.evaluate import evaluate
from genesis_jax.inference.ensemble import predictor
from genesis_jax.runs.cards import config_of, load_model
from genesis_jax.runs.files import write_atomically

FIELDS = ('workdir', 'seed', 'change', 'dice')


def gamma(power: float) -> Callable[[np.ndarray], np.ndarray]:
    """A curve that darkens (power above 1) or brightens."""
    return lambda volume: volume**power


def coil(volume: np.ndarray) -> np.ndarray:
    """A field that falls along the first two axes from 1.3 to 0.7 of the intensity."""
    slopes = [np.linspace(0.15, -0.15, side) for side in volume.shape[:2]]
    field = 1 + slopes[0][:, None] + slopes[1][None, :]
    return np.clip(volume * field[:, :, None, None], 0, 1)


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    'none': lambda volume: volume,
    'gamma 0.5': gamma(0.5),
    'gamma 2': gamma(2.0),
    'coil': coil,
    'inverted': lambda volume: 1 - volume,
}


@dataclasses.dataclass(frozen=True)
class Changed:
    """Records whose intensities are changed within their window."""

    source: Any
    change: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.source[index]
        low, high = record['window'].astype(np.float32).T
        volume = np.clip((record['cube'] - low) / (high - low), 0, 1)
        return record | {'cube': (low + self.change(volume) * (high - low)).astype(np.float32)}


def dice_under_changes(run: Path, data_dir: str) -> Iterator[tuple[str, float]]:
    """Each change and the Dice of a run (`WORKDIR/seed_N`) under it."""
    variables, card = load_model(str(run))
    config = config_of(card)
    config.data.dir = data_dir
    dataset = labelled.open_labelled(config)
    predict = predictor(variables, card)
    for name, change in CHANGES.items():
        cases: Any = Changed(dataset.tested('test'), change)
        _, metrics = evaluate(predict, card, dataclasses.replace(dataset, cases=cases))
        yield name, metrics['dice']


def main(argv: Sequence[str] | None = None) -> int:
    """Tests all runs of some workdirs and returns the exit status."""
    parser = Parser(
        prog='python -m benchmarks.study.robustness',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.positional('workdir', path, 'of a fine-tuning', '+')
    parser.option('data_dir', str, 'DIR', 'of the datasets', required=True)
    parser.option('out', path, 'FILE', 'CSV to be written', required=True)
    args = parser.parse_args(argv)
    parallel.start()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(FIELDS)
    try:
        for workdir in args.workdir:
            runs = sorted(workdir.glob('seed_*'))
            if not runs:
                raise UserError(f'{workdir} holds no run; give the --workdir of a fine-tuning')
            for run in runs:
                for change, dice in dice_under_changes(run, args.data_dir):
                    writer.writerow([workdir.name, run.name, change, dice])
    except UserError as error:
        parser.fail(error)
    write_atomically(args.out, text.getvalue())
    print(f'written to {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
