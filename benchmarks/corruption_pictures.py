"""Every corruption on a real chest CT: python -m benchmarks.corruption_pictures --out=docs

Writes `corruptions.png`: a row of the middle planes of a 3D patch, a row of an axial slice that was
corrupted in 2D. Needs the `demo` and `plot` extras.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from PIL import Image

from data_prep import demo
from genesis_jax.cli.arguments import Parser, existing_folder
from genesis_jax.transforms import corrupt_batch, registry

_COLUMNS = 6
_SHOWN = {  # stronger than by default, so that one sees in a small picture what happens
    'noise_sd': 0.25,
    'blur_sigmas': (1.5, 2.0),
    'gamma_exponents': (0.4, 0.5),
    'bias_strength': 0.5,
    'outpaint_probability': 0.5,
    'thick_voxels': (5, 6),
    'swap_side': 0.5,
}
_KEY = 7


def main(argv=None):
    """Draws the picture and returns the exit status."""
    parser = Parser(
        prog='python -m benchmarks.corruption_pictures',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.option('out', existing_folder, 'DIR', 'where corruptions.png is written', required=True)
    args = parser.parse_args(argv)
    chest = np.clip((_chest() + 1000) / 1400, 0, 1)[..., None]
    pair = np.stack([chest[8:72, 30:94, :32], chest[56:120, 40:104, :32]]).astype(np.float32)
    slices = np.stack([chest[:, :, 16], chest[:, :, 8]]).astype(np.float32)
    columns = {'as it is': (pair[0], slices[0])} | {
        name: tuple(_corrupted(name, volumes) for volumes in (pair, slices))
        for name in dict.fromkeys((*registry.PUBLISHED, *registry.CORRUPTIONS))
    }
    _draw(columns, args.out / 'corruptions.png')
    return 0


def _chest():
    """Voxels `[X, Y, Z]` in HU, towards left, back and head."""
    image = sitk.ReadImage(str(demo.chest_file('CTChest4.nrrd')))
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, 'LPS')).transpose(2, 1, 0)


def _corrupted(name, volumes):
    """The first of two volumes after one corruption."""
    options = {f'{one}_probability': 0.0 for one in ('flip', *registry.PUBLISHED)}
    options |= {f'{name}_probability': 1.0, **_SHOWN}
    keys = jax.random.split(jax.random.key(_KEY), 2)
    return np.asarray(jax.jit(lambda k, v: corrupt_batch(k, v, **options))(keys, volumes)[0][0])


def _draw(columns, file: Path):
    rows = -(-len(columns) // _COLUMNS)
    figure = Figure((2.1 * _COLUMNS, 5.0 * rows), dpi=72, layout='constrained')
    grid = figure.subplots(2 * rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (name, (patch, image)) in enumerate(columns.items()):
        row, column = divmod(place, _COLUMNS)
        axial, coronal = patch[:, :, patch.shape[2] // 2, 0].T, patch[:, 32, ::-1, 0].T
        above, below = grid[2 * row, column], grid[2 * row + 1, column]
        above.imshow(np.concatenate([axial, coronal]), cmap='gray', vmin=0, vmax=1)
        above.set_title(name, fontsize=12)
        below.imshow(image[..., 0].T, cmap='gray', vmin=0, vmax=1)
        if column == 0:
            above.text(-4, 48, 'in 3D: axial, coronal', rotation=90, ha='right', va='center')
            below.text(-4, 64, 'in 2D', rotation=90, ha='right', va='center')
    figure.savefig(file)
    Image.open(file).convert('L').save(file, optimize=True)  # a third of the bytes


if __name__ == '__main__':
    raise SystemExit(main())
