"""Miniature data sets in their sources' own layout: python -m data_prep.phantom --out=DIR

    python -m data_prep.phantom --layout=lits --out=phantom_lits

What is drawn is simple, but differs from patient to patient and can be learned. The default layout
is LUNA16 of scans big enough for pre-training; the others hold labels and are small.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.phantoms import images, lidc, points, volumes
from data_prep.phantoms.files import Shape, as_image, new_uid, write_image
from data_prep.phantoms.thorax import thorax
from data_prep.types import counted
from genesis_jax.cli.arguments import Parser, number, path, sides

_SUBSETS = 10


@dataclass(frozen=True)
class Layout:
    """A source that can be imitated.

    Attributes:
      write: takes the folder, the number of patients, voxels along x, y, z (of images, pixels
        along x, y), and the seed.
      prepare: the preparation to run next.
      patients, shape: defaults.
      least: patients without which a split of that preparation stays empty.
    """

    write: Callable[[Path, int, Shape, int], None]
    prepare: str
    patients: int = 12
    shape: Shape = (64, 64, 48)
    least: int = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a phantom and returns the exit status."""
    parser = Parser(
        prog='python -m data_prep.phantom',
        description='A folder that looks like a public data set, of drawn patients.',
    )
    parser.option('out', path, 'DIR', 'folder to write', required=True)
    text, otherwise = 'the data set to imitate: %(choices)s', '%(default)s, without labels'
    parser.option('layout', tuple(_LAYOUTS), 'NAME', text, 'luna16', otherwise)
    otherwise = ', '.join(f'{name} {layout.patients}' for name, layout in _LAYOUTS.items())
    parser.option('patients', number(int, 1), 'N', 'patients', otherwise=otherwise)
    text = 'instead of --patients, for luna16: scans in each of the ten subsets'
    parser.option('scans_per_subset', number(int, 1), 'N', text, otherwise='1')
    text = 'voxels of a scan, or X,Y pixels of an image'
    otherwise = ', '.join(f'{name} {_text(layout.shape)}' for name, layout in _LAYOUTS.items())
    parser.option('shape', _sides, 'X,Y,Z', text, otherwise=otherwise)
    parser.option('seed', number(int, 0), 'N', 'of all patients', '0')
    args = parser.parse_args(argv)
    if args.out.exists():
        parser.error(f'{args.out} already exists; delete it or choose another --out')
    layout = _LAYOUTS[args.layout]
    if args.shape and len(args.shape) != len(layout.shape):
        parser.error(
            f'--shape is {_text(args.shape)}; {args.layout} needs {len(layout.shape)} numbers, '
            f'such as {_text(layout.shape)}'
        )
    patients = args.patients or layout.patients
    if patients < layout.least:
        parser.error(
            f'--patients is {patients}; {args.layout} needs at least {layout.least} to have one in '
            'every split'
        )
    if args.layout == 'luna16':
        if patients % _SUBSETS:
            parser.error(
                f'--patients is {patients}; luna16 needs a multiple of {_SUBSETS}, one for each '
                'subset'
            )
        patients = _SUBSETS * (args.scans_per_subset or patients // _SUBSETS)
    elif args.scans_per_subset:
        parser.error(f'--scans_per_subset is for luna16 only; give --patients for {args.layout}')
    layout.write(args.out, patients, args.shape or layout.shape, args.seed)
    print(f'Wrote {counted(patients, "patients")} to {args.out}')
    quarter = max(1, patients // 4)
    split = f'{max(1, patients - 2 * quarter)},{quarter},{quarter}'
    words = [word.format(out=args.out, split=split) for word in layout.prepare.split()]
    print(f'Next: python -m data_prep.{shlex.join([*words, "--data_dir=data"])}')
    return 0


def write_luna16(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """Writes LUNA16 in its own layout, a new patient for every scan."""
    for subset, index in np.ndindex(_SUBSETS, patients // _SUBSETS):
        rng = np.random.default_rng((seed, subset, index))
        uid = new_uid(rng)
        spacing = (*[round(rng.uniform(0.6, 0.8), 6)] * 2, float(rng.choice((1.0, 1.25, 1.5))))
        origin = [-mm * n / 2 for mm, n in zip(spacing, shape, strict=True)]
        image = as_image(thorax(rng, shape, spacing)[0].T, spacing, origin)
        write_image(image, out / f'subset{subset}' / f'{uid}.mhd')


def _sides(text: str) -> Shape:
    """An argparse type: x,y or x,y,z."""
    return sides(int, 16, 2 if text.count(',') == 1 else 3)(text)


def _text(shape: Shape) -> str:
    return ','.join(map(str, shape))


_CHEST = (96, 96, 64)
_LAYOUTS = {
    'luna16': Layout(write_luna16, 'luna16 --source={out}', 10, (288, 288, 112)),
    'luna16_candidates': Layout(
        points.write_luna16_candidates, 'luna16_candidates --source={out}', 20, _CHEST
    ),
    'lidc': Layout(lidc.write_lidc, 'lidc --source={out}', shape=_CHEST),
    'candidates': Layout(
        points.write_candidates,
        'candidates --source={out} --csv={out}/candidates.csv --classes=negative,embolism',
        shape=_CHEST,
    ),
    'lits': Layout(volumes.write_lits, 'lits --source={out} --split={split}'),
    'brats2013': Layout(volumes.write_brats2013, 'brats --source={out}'),
    'brats2018': Layout(volumes.write_brats2018, 'brats --source={out}'),
    'brats2023': Layout(volumes.write_brats2023, 'brats --source={out}'),
    'nnunet': Layout(volumes.write_nnunet, 'nnunet --source={out} --name=phantom'),
    'chestxray': Layout(images.write_chestxray, 'chestxray --source={out}', 40, (256, 256), 4),
    'ultrasound': Layout(
        images.write_ultrasound,
        'images --source={out} --csv={out}/labels.csv --name=iuc',
        shape=(320, 256),
        least=3,
    ),
    'decathlon': Layout(volumes.write_decathlon, 'nnunet --source={out} --name=phantom'),
}


if __name__ == '__main__':
    sys.exit(main())
