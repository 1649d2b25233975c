"""The demo's dataset, from the chest CT in the package slicerio: python -m data_prep.demo

There is one scan only, so it is cut along x into slabs that count as scans: four overlapping ones
of its right two thirds train, the left third, which shares no voxel with them, validates.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from data_prep.build.cubes import CubeCutter, prepare_cubes
from data_prep.build.records import dataset_folder
from data_prep.sampling.cubes import CubeRule
from data_prep.types import Job
from genesis_jax.cli.arguments import Parser, path
from genesis_jax.errors import UserError, need
from genesis_jax.imaging.scans import find_scans

NAME = 'ct_chest_demo'
_SLAB = 43  # of 128 voxels along x
_STARTS = {'train': (0, 14, 28, 42), 'validation': (85,)}
_RULE = CubeRule(
    size=(32, 32, 16),
    per_scan=48,
    border_low=(0, 0, 0),
    border_high=(0, 0, 0),
    min_tissue=0.1,  # every patch shows some body
    max_tissue=1.0,
)


def prepare_demo(data_dir: Path) -> str:
    """Prepares the demo's dataset unless it is there, and returns its name.

    Raises:
      UserError: the package slicerio is missing.
    """
    if dataset_folder(data_dir, NAME).exists():
        return NAME
    image = sitk.DICOMOrient(sitk.ReadImage(str(chest_file('CTChest4.nrrd'))), 'LPS')
    with tempfile.TemporaryDirectory(prefix='data_prep_') as folder:
        for split, starts in _STARTS.items():
            Path(folder, split).mkdir()
            for start in starts:
                slab = image[start : start + _SLAB, :, :]
                sitk.WriteImage(slab, str(Path(folder, split, f'CTChest4_from_x{start:02}.nrrd')))
        jobs = [
            Job(scan.scan_id, scan.scan_id, split, fold, scan.shown, (scan,))
            for fold, split in enumerate(_STARTS)
            for scan in find_scans(Path(folder, split))
        ]
        try:
            cutter = CubeCutter('ct', _RULE)
            prepare_cubes(jobs, cutter, name=NAME, data_dir=data_dir, workers=1)
        except OSError:
            if not dataset_folder(data_dir, NAME).exists():  # else another process was faster
                raise
    return NAME


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares the demo's dataset and returns the exit status."""
    parser = Parser(prog='python -m data_prep.demo', description="The demo's dataset.")
    parser.option('data_dir', path, 'DIR', 'folder of all datasets', 'data')
    args = parser.parse_args(argv)
    try:
        name = prepare_demo(args.data_dir)
    except UserError as error:
        parser.fail(error)
    print(f'Dataset: {dataset_folder(args.data_dir, name)}')
    return 0


def chest_file(name: str) -> Path:
    """A file of the package slicerio; UserError if that is missing."""
    need('demo', "the demo's chest CT")
    package = importlib.util.find_spec('slicerio')  # found, not imported: only a file is wanted
    assert package and package.origin
    return Path(package.origin).parent / 'data' / name


if __name__ == '__main__':
    sys.exit(main())
