"""Patches drawn of whole scans beside fixed ones, in speed and bytes: python -m benchmarks.volumes

Three chest CTs of 512x512x272 voxels are prepared as fixed patches and whole, by the paper's rule
and by that of any scan, and read as a training reads them. They are the chest CT of the extra
`demo`, enlarged and with the noise of a thin-slice scan, which decides how far they can be
compressed. The files were just written: they come from the system's memory, as in every epoch but
the first.
"""

import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import measure

_SHAPE = (512, 512, 272)
_SCANS = 3  # of which one validates
_NOISE_HU = 25
_BATCH = 16
_BATCHES = 12  # in one repetition
_RULES = ('paper', 'anywhere')


def main():
    """Measures, shows and keeps; returns the figures, or None where packages are missing."""
    try:
        import SimpleITK  # noqa: F401
        import slicerio  # noqa: F401

        from genesis_jax.data import reading
    except ModuleNotFoundError as error:
        print(f'{error.name} is not installed: no scans can be prepared here')
        return None
    figures = {'shape': _SHAPE, 'noise_hu': _NOISE_HU, 'batch': _BATCH, 'batches': _BATCHES}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_scans(folder / 'scans')
        for rule in _RULES:
            made = {kind: prepare(folder, rule, kind) for kind in ('fixed', 'whole')}
            runs = {
                'fixed patches': lambda made=made: read(reading, made['fixed'][0]),
                'drawn of whole scans': lambda made=made: read(reading, made['whole'][0]),
            }
            taken, samples = measure.compare(
                f'Reading a patch of 64x64x32, --rule={rule}',
                runs,
                dict.fromkeys(runs, _BATCH * _BATCHES),
                more=lambda _, seconds: {'patches/s': 1 / seconds},
                repetitions=5,
            )
            rows = [
                {'': name, 'MB a scan': size / 1e6, 'preparing a scan, s': seconds}
                for name, (_, size, seconds) in zip(runs, made.values(), strict=True)
            ]
            measure.show('On disk', rows)
            figures[rule] = {'seconds': taken, 'samples': samples, 'made': rows}
    return measure.keep('volumes', figures)


def write_scans(folder):
    """Writes `scan0.mha`, ...: mirrored along x or y, each with noise of its own, about 1 mm."""
    import SimpleITK as sitk

    from data_prep.demo import chest_file

    chest = sitk.DICOMOrient(sitk.ReadImage(str(chest_file('CTChest4.nrrd'))), 'LPS')
    old = zip(chest.GetSize(), chest.GetSpacing(), _SHAPE, strict=True)
    spacing = [size * mm / new for size, mm, new in old]
    large = sitk.Resample(
        sitk.Maximum(chest, -1024.0), _SHAPE, sitk.Transform(), sitk.sitkLinear,
        chest.GetOrigin(), spacing, chest.GetDirection(), -1024.0,
    )  # fmt: skip
    voxels = sitk.GetArrayFromImage(large)
    folder.mkdir()
    for number in range(_SCANS):
        rng = np.random.default_rng(number)
        noise = rng.standard_normal(voxels.shape, np.float32) * np.float32(_NOISE_HU)
        turned = np.flip(voxels, [axis for axis in (1, 2) if number & axis])
        image = sitk.GetImageFromArray(np.maximum(turned + noise, -1024).astype(np.int16))
        image.SetSpacing(spacing)
        sitk.WriteImage(image, str(folder / f'scan{number}.mha'))


def prepare(folder, rule, kind):
    """Prepares the scans: `(source of training, bytes of a scan, seconds of a scan)`."""
    from ml_collections import ConfigDict

    from data_prep import scans
    from genesis_jax.data import reading

    name = f'{rule}_{kind}'
    flags = [f'--source={folder / "scans"}', f'--data_dir={folder}', f'--name={name}']
    flags += ['--modality=ct', f'--rule={rule}', '--workers=1', *['--volumes'] * (kind == 'whole')]
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if scans.main(flags):
            raise RuntimeError(said.getvalue())
    seconds = (time.perf_counter() - start) / _SCANS
    size = sum(file.stat().st_size for file in (folder / name).rglob('*') if file.is_file())
    sampling = {'fixed': 'patches', 'whole': 'volumes'}[kind]
    data = {'dir': str(folder), 'name': name, 'sampling': sampling, 'patches_per_scan': None}
    source, *_ = reading.open_splits(ConfigDict({'dimensions': 3, 'data': {**data, 'view': None}}))
    return source, size / _SCANS, seconds


def read(reading, source):
    """Reads some batches with a reader that starts here, so that all it does is timed."""
    batches = reading.train_batches(source, _BATCH, seed=0)
    for _ in range(_BATCHES):
        next(batches)


if __name__ == '__main__':
    measure.command(main, __doc__)
