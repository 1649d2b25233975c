"""Miniature sources of points and nodules: LUNA16 with candidates, LIDC-IDRI, scans with a CSV.

Every patient is another drawn chest. Whatever the number of voxels, it covers the same body.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.phantoms.chest import chest, find_lungs, pick
from data_prep.phantoms.files import Shape, new_uid, write_csv, write_image
from data_prep.phantoms.thorax import Nodule, Point

_NOISE = 18  # HU, standard deviation
_REACH = 22  # mm, from a vessel's middle to all that is drawn


def write_luna16_candidates(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """Writes LUNA16: ten subsets that the patients are assigned to, and candidates_V2.csv.

    Nodules are candidates of class 1; vessels and other places in the lungs of class 0. As in
    LUNA16, some scans are stored with x and y flipped.
    """
    rows = []
    for number in range(patients):
        rng = np.random.default_rng((seed, number))
        series = new_uid(rng)
        image, nodules = chest(rng, shape, (150, 150, 120))
        places: list[tuple[Point | np.ndarray, int]] = [(nodule.centre, 1) for nodule in nodules]
        places += [(place, 0) for place in _harmless(rng, image, nodules)]
        for place, label in places:
            world = image.TransformContinuousIndexToPhysicalPoint([float(n) for n in place])
            rows.append((series, *(f'{mm:.4f}' for mm in world), label))
        if number % 4 == 3:
            image = sitk.DICOMOrient(image, 'RAS')
        write_image(image, out / f'subset{number % 10}' / f'{series}.mhd')
    columns = ('seriesuid', 'coordX', 'coordY', 'coordZ', 'class')
    write_csv(out / 'candidates_V2.csv', columns, rows)


def write_candidates(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """Writes scans of vessels full of contrast medium and candidates.csv, in world mm.

    A candidate is positive if a clot darkens the inside of its vessel. The others lie on vessels
    without a clot, some of them beside a node as dark as a clot. Every third patient has two scans.
    """
    rows = []
    for number in range(patients):
        for visit in range(2 if number % 3 == 2 else 1):
            rng = np.random.default_rng((seed, number, visit))
            image, _ = chest(rng, shape, (100, 100, 75))
            name = f'patient{number:03}_{visit}'
            image, places = _embolise(rng, image)
            for place, label in places:
                world = image.TransformContinuousIndexToPhysicalPoint([float(n) for n in place])
                mm = (f'{value:.3f}' for value in world)
                rows.append((f'scans/{name}', *mm, label, f'patient{number:03}'))
            write_image(image, out / 'scans' / f'{name}.nii.gz')
    write_csv(out / 'candidates.csv', ('scan', 'x', 'y', 'z', 'label', 'patient'), rows)


def _harmless(
    rng: np.random.Generator, image: sitk.Image, nodules: Sequence[Nodule]
) -> list[np.ndarray]:
    """Voxels (x, y, z) in the lungs away from nodules: half on vessels, half anywhere."""
    hu, spacing = sitk.GetArrayViewFromImage(image).T, np.array(image.GetSpacing())
    away = find_lungs(hu)
    grid = np.stack([*np.indices(hu.shape)], axis=-1) * spacing
    for nodule in nodules:
        gap = np.linalg.norm(grid - nodule.centre * spacing, axis=-1)
        away &= gap > nodule.diameter / 2 + 8
    dense = away & (hu > -400)
    count = rng.integers(8, 13)
    return [
        place
        for number in range(count)
        for place in pick(rng, dense if number % 2 else away & ~dense, 1)
    ]


def _embolise(
    rng: np.random.Generator, image: sitk.Image
) -> tuple[sitk.Image, list[tuple[np.ndarray, int]]]:
    """Draws bright vessels, some with a clot; returns the candidates as voxels and labels."""
    hu = sitk.GetArrayFromImage(image).T.astype(np.float32)
    spacing = np.array(image.GetSpacing())
    blood = rng.uniform(320, 480)
    candidates: list[tuple[np.ndarray, int]] = []
    for place in pick(rng, find_lungs(hu), 200):
        if any(np.linalg.norm((place - other) * spacing) < 14 for other, _ in candidates):
            continue
        axis, side = _upright(rng)
        radius = rng.uniform(2.5, 4)  # mm
        parts = [(0 * side, rng.uniform(8, 14), radius, blood)]
        label = int(rng.random() < 0.4)
        dark = rng.uniform(0, 70)
        if label:
            parts.append((0.2 * radius * side, rng.uniform(2, 5), 0.7 * radius, dark))
        elif rng.random() < 0.4:
            parts.append((2 * radius * side, rng.uniform(0.5, 2), 0.8 * radius, dark))
        near = np.ceil(_REACH / spacing).astype(int)
        low = np.maximum(place - near, 0)
        box = tuple(slice(a, b) for a, b in zip(low, place + near + 1, strict=True))
        part = hu[box]
        grid = np.moveaxis(np.indices(part.shape), 0, -1) * spacing - (place - low) * spacing
        for shift, half_length, width, value in parts:
            share = _tube(grid - shift, half_length * axis, width, spacing.max())
            part += share * (value - part + _NOISE * rng.standard_normal(part.shape, np.float32))
        candidates.append((place + rng.normal(0, 0.5, 3) / spacing, label))
        if len(candidates) == 9:
            break
    drawn = sitk.GetImageFromArray(np.rint(hu).clip(-1024, 3071).astype(np.int16).T)
    drawn.CopyInformation(image)
    return drawn, candidates


def _upright(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two directions at a right angle."""
    axis, side = rng.normal(size=(2, 3))
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, side)
    return axis, side / np.linalg.norm(side)


def _tube(grid: np.ndarray, half: np.ndarray, radius: float, rim: float) -> np.ndarray:
    """The share of every voxel [X, Y, Z] within a round-ended tube from -half to half (mm).

    Args:
      grid: the voxels' places, [X, Y, Z, 3].
      rim: mm over which its edge is softened.
    """
    along = np.clip(grid @ half / (half @ half), -1, 1)
    distance = np.linalg.norm(grid - along[..., None] * half, axis=-1)
    return np.clip((radius - distance) / rim + 0.5, 0, 1).astype(np.float32)
