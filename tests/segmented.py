"""Phantoms of segmented datasets, their preparation, and the records that it makes of them."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds

from data_prep import phantom

SHAPE = (36, 32, 24)
PATCH = (16, 16, 8)


def make(layout, out, patients):
    shape = ','.join(map(str, SHAPE))
    flags = [f'--layout={layout}', f'--out={out}', f'--patients={patients}', f'--shape={shape}']
    assert phantom.main(flags) == 0
    return out


def prepare(module, source, data_dir, *flags):
    size = ','.join(map(str, PATCH))
    common = [f'--source={source}', f'--data_dir={data_dir}', f'--cube_size={size}']
    return module.main([*common, '--workers=1', *flags])


def refused(module, source, data_dir, *flags, capsys):
    """The one sentence of a refused preparation, which leaves no file."""
    with pytest.raises(SystemExit) as stop:
        prepare(module, source, data_dir, *flags)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and error.startswith('error: ')
    assert not [path for path in data_dir.rglob('*') if path.is_file()]
    return error


def builder(data_dir, name):
    return tfds.builder_from_directory(data_dir / name / '1.0.0')


def read(data_dir, name):
    """All records, by split."""
    made = builder(data_dir, name)
    return {split: list(made.as_data_source(split)) for split in made.info.splits}


def metadata(data_dir, name):
    return json.loads((data_dir / name / '1.0.0' / 'metadata.json').read_text())


def part(array, origin, size=PATCH):
    return array[tuple(slice(o, o + n) for o, n in zip(origin, size, strict=True))]


def array_of(path):
    """Stored voxels [X, Y, Z] after turning them to LPS by hand."""
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image).T
    turned = np.reshape(image.GetDirection(), (3, 3)).round()
    assert abs(turned).tolist() == np.eye(3).tolist()
    return voxels[tuple(slice(None, None, int(sign)) for sign in np.diag(turned))], image


def move(image):
    image.SetOrigin([mm + 5 for mm in image.GetOrigin()])
