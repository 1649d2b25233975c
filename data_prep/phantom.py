"""Miniature data sets in their sources' own layout: python -m data_prep.phantom --out=DIR

Writes LUNA16: subset0 ... subset9, each with a <series uid>.mhd and .raw per scan.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.options import Parser, folder, number, triple
from data_prep.thorax import thorax

_SUBSETS = 10
_UID_ROOT = '1.3.6.1.4.1.14519.5.2.1.6279.6001'  # of the LIDC-IDRI collection


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a phantom and returns the exit status."""
    parser = Parser(
        prog='python -m data_prep.phantom',
        description='A folder that looks like LUNA16, of drawn chests.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--out', type=folder, required=True, help='folder to write', metavar='DIR')
    parser.add_argument(
        '--scans_per_subset',
        type=number(int, 1),
        default=1,
        metavar='N',
        help='scans in each of the ten subsets',
    )
    parser.add_argument(
        '--shape',
        type=triple(int, 16),
        default='288,288,112',
        metavar='X,Y,Z',
        help='voxels of a scan',
    )
    parser.add_argument(
        '--seed', type=number(int, 0), default=0, metavar='N', help='of all patients'
    )
    args = parser.parse_args(argv)
    if args.out.exists():
        parser.error(f'{args.out} already exists; delete it or choose another --out')
    write_luna16(args.out, args.scans_per_subset, args.shape, args.seed)
    print(f'Wrote {_SUBSETS * args.scans_per_subset} scans to {args.out}')
    return 0


def write_luna16(out: Path, scans_per_subset: int, shape: tuple[int, int, int], seed: int) -> None:
    """Writes LUNA16 in its own layout, a new patient for every scan."""
    for subset in range(_SUBSETS):
        folder = out / f'subset{subset}'
        folder.mkdir(parents=True)
        for index in range(scans_per_subset):
            rng = np.random.default_rng((seed, subset, index))
            uid = f'{_UID_ROOT}.{"".join(map(str, rng.integers(1, 10, 30)))}'
            spacing = (*[round(rng.uniform(0.6, 0.8), 6)] * 2, float(rng.choice((1.0, 1.25, 1.5))))
            image = sitk.GetImageFromArray(thorax(rng, shape, spacing)[0].T)
            image.SetSpacing(spacing)
            image.SetOrigin([-mm * n / 2 for mm, n in zip(spacing, shape, strict=True)])
            sitk.WriteImage(image, str(folder / f'{uid}.mhd'))


if __name__ == '__main__':
    sys.exit(main())
