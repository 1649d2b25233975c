"""Labelled datasets of bright balls in noise, written as data_prep writes them."""

from functools import partial

import numpy as np

from data_prep.build.dataset import prepare
from data_prep.types import Declaration, Job, Patch, Result

SIZE = (16, 16, 16)


def make(
    data_dir,
    name,
    task,
    *,
    classes=2,
    channels=1,
    splits=None,
    per_patient=2,
    whole=False,
    size=SIZE,
):
    """Writes `data_dir/name`, a patient for every entry of `splits` (a list of split names)."""
    splits = splits or ['train'] * 4 + ['validation'] * 2 + ['test'] * 2
    jobs = [
        Job(f'case{i}', f'patient{i}', split, 0, f'case{i}', (i, task, classes, channels))
        for i, split in enumerate(splits)
    ]
    names = ['background', *(f'ball{i}' for i in range(1, classes))]
    if task == 'multilabel':
        names = ['ball', 'fog']
    declaration = Declaration(task, names, ['CT'] * channels, 'ct', None)
    prepare(
        jobs,
        partial(_read, per_patient=per_patient, whole=whole, size=size),
        name=name,
        data_dir=data_dir,
        declaration=declaration,
        size=size,
        recipe={},
        workers=1,
    )


def _read(job, per_patient, whole, size):
    number, task, classes, channels = job.source
    rng = np.random.default_rng(number)
    patches = [_patch(rng, size, task, i, classes, channels) for i in range(per_patient)]
    larger = tuple(side + grown for side, grown in zip(size, (4, 8, 2), strict=False))
    scan = _patch(rng, larger, task, 1, classes, channels) if whole else None
    window = np.tile(np.float32([-1000, 1000]), (channels, 1))
    return Result(patches, (1.0, 1.0, 2.0), window, scan if job.split == 'test' else None)


def _patch(rng, size, task, number, classes, channels):
    """A ball whose brightness tells its class: none of class 0 in a classification.

    Of a multi-label classification there is a ball in every other, fog in every other two.
    """
    label = number % classes
    centre = np.array([rng.uniform(5, side - 5) for side in size])
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing='ij'), axis=-1)
    inside = np.linalg.norm(grid - centre, axis=-1) < rng.uniform(3, 4.5)
    index = 1 + label % (classes - 1) if task == 'segmentation' else label
    hu = rng.normal(-500, 60, size) + inside * 900 * index / (classes - 1)
    fog = number // 2 % 2 if task == 'multilabel' else 0
    hu += 300 * fog
    cube = np.repeat(hu.astype(np.int16)[..., None], channels, axis=-1)
    if task == 'multilabel':
        return Patch(cube, (0, 0, 0), label=(label, fog))
    if task == 'classification':
        return Patch(cube, (0, 0, 0), label=label)
    return Patch(cube, (0, 0, 0), mask=(inside * index).astype(np.uint8))
