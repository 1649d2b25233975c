"""A labelled demo in nnU-Net's layout: python -m data_prep.demo_labels --out=DIR

The package slicerio brings a chest CT with seven labels. There is one scan only, so it is cut into
blocks of slices that count as scans: every other block trains, those between are the test set. The
whole scan lies beside them, to be predicted.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from data_prep.demo import chest_file
from genesis_jax.cli.arguments import Parser, path
from genesis_jax.errors import UserError

NAME = 'chest_labels'  # of the dataset, also in configs/demo_labels.py
LABELS = (  # of Segmentation.seg.nrrd, by value
    'background',
    'ribs',
    'cervical_vertebrae',
    'thoracic_vertebrae',
    'lumbar_vertebrae',
    'right_lung',
    'left_lung',
    'tissue',
)
BLOCK = 3  # slices


def write_demo_labels(out: Path) -> None:
    """Writes the dataset and, beside it, `scan.nrrd` and `labels.nrrd`.

    Raises:
      UserError: the package slicerio is missing.
    """
    files = ('CTChest4.nrrd', 'Segmentation.seg.nrrd')
    scan, labels = (sitk.ReadImage(str(chest_file(name))) for name in files)
    for name in ('imagesTr', 'labelsTr', 'imagesTs', 'labelsTs'):
        (out / name).mkdir(parents=True)
    blocks = scan.GetSize()[2] // BLOCK
    for block in range(blocks):
        # the last block takes the slices that are left over
        slices = slice(block * BLOCK, None if block == blocks - 1 else (block + 1) * BLOCK)
        kind = 'Ts' if is_test(block * BLOCK, scan.GetSize()[2]) else 'Tr'
        for image, name in ((scan, f'images{kind}/block{block:02}_0000'),
                            (labels, f'labels{kind}/block{block:02}')):  # fmt: skip
            sitk.WriteImage(_plain(image[:, :, slices]), str(out / f'{name}.nrrd'), True)
    for image, name in ((scan, 'scan'), (labels, 'labels')):
        sitk.WriteImage(_plain(image), str(out / f'{name}.nrrd'), True)
    declared = {
        'name': NAME,
        'config': 'demo_labels',
        'channel_names': {'0': 'CT'},
        'labels': {name: value for value, name in enumerate(LABELS)},
        'numTraining': sum(not is_test(b * BLOCK, scan.GetSize()[2]) for b in range(blocks)),
        'file_ending': '.nrrd',
    }
    (out / 'dataset.json').write_text(json.dumps(declared, indent=2) + '\n', 'utf-8')


def is_test(z: int, slices: int) -> bool:
    """Whether a slice belongs to the test set."""
    return min(z // BLOCK, slices // BLOCK - 1) % 2 == 1


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the demo's folder and returns the exit status."""
    parser = Parser(
        prog='python -m data_prep.demo_labels',
        description="A chest CT with seven labels in nnU-Net's layout, from the package slicerio.",
    )
    parser.option('out', path, 'DIR', 'folder to write', required=True)
    args = parser.parse_args(argv)
    if args.out.exists():
        parser.error(f'{args.out} already exists; delete it or choose another --out')
    try:
        write_demo_labels(args.out)
    except UserError as error:
        parser.fail(error)
    print(
        f'Wrote {args.out}\nNext: python -m data_prep.nnunet {shlex.quote(f"--source={args.out}")} '
        f'--name={NAME} --spacing=3.047,3.047,3.333 --cube_size=64,64,8 --seed=4'
    )
    return 0


def _plain(image: sitk.Image) -> sitk.Image:
    """The image without what its file said beside voxels and geometry."""
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return image


if __name__ == '__main__':
    sys.exit(main())
