"""A plausible chest CT in HU, drawn at random: what every phantom of a chest data set is made of.

Anatomy is placed in fractions of the body's half sides, so that a small scan shows a whole small
patient. Arrays are [Z, Y, X], the order in memory of the files to be written.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from data_prep.phantoms.files import Shape, as_scanned

_AIR, _FAT, _MUSCLE, _BLOOD, _BONE, _CORTEX = -1000, -100, 45, 60, 230, 620  # HU
_GENERATIONS = 8  # of vessels behind a hilum

Point = tuple[float, ...]


@dataclass(frozen=True)
class Nodule:
    """A nodule's centre in voxels (x, y, z) and its diameter in mm."""

    centre: Point
    diameter: float


@dataclass(frozen=True)
class _Body:
    """A scan being drawn: HU [Z, Y, X], and where the body lies in it.

    `middle` and `half` are the body's centre and half sides in mm along x (to the left), y (to
    the back) and z (to the head); points on the body are fractions of `half` from `middle`.
    """

    rng: np.random.Generator
    hu: np.ndarray
    spacing: np.ndarray
    middle: np.ndarray
    half: np.ndarray

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every voxel's x, y, z as fractions of the body, shaped to broadcast."""
        count = self.hu.shape[::-1]
        x, y, z = (
            ((np.arange(n) * mm - middle) / half).astype(np.float32)
            for n, mm, middle, half in zip(count, self.spacing, self.middle, self.half, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def in_mm(self, point: Point) -> np.ndarray:
        """A point of the body in mm from the first voxel."""
        return self.middle + self.half * point

    def tube(self, start: np.ndarray, end: np.ndarray, radius: float, value: float) -> None:
        """Draws a round-ended tube between two points (mm), its rim softened over one voxel."""
        reach = radius + self.spacing
        size = self.hu.shape[::-1]
        low = np.clip((np.minimum(start, end) - reach) / self.spacing, 0, size).astype(int)
        high = np.clip((np.maximum(start, end) + reach) / self.spacing, 0, size).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))[::-1]
        part = self.hu[box]
        if not part.size:
            return
        points = np.stack([*np.mgrid[box][::-1]], axis=-1) * self.spacing - start
        axis = end - start
        along = np.clip(points @ axis / max(axis @ axis, 1e-9), 0, 1)
        distance = np.linalg.norm(points - along[..., None] * axis, axis=-1)
        share = np.clip((radius - distance) / self.spacing[0] + 0.5, 0, 1)
        part += share * (value - part)


def thorax(
    rng: np.random.Generator, shape: Shape, spacing: Point
) -> tuple[np.ndarray, list[Nodule]]:
    """Draws one patient.

    Args:
      rng: another generator is another patient: place, size, vessels, nodules, contrast, noise.
      shape: voxels along x, y, z.
      spacing: mm along x, y, z.

    Returns:
      int16 HU [X, Y, Z] in LPS orientation, and the nodules in it.
    """
    body = _place(rng, shape, spacing)
    lungs = _draw_soft_tissue(body)
    _draw_bones(body, lungs)
    _draw_airways(body)
    _draw_vessels(body, lungs)
    nodules = _draw_nodules(body, lungs)
    hu = ndimage.gaussian_filter(body.hu, (0, 0.6, 0.6), truncate=2)  # the scanner's blur
    return as_scanned(hu, rng.standard_normal(hu.shape, np.float32)).T, nodules


def _place(rng: np.random.Generator, shape: Shape, spacing: Point) -> _Body:
    extent = np.array(shape) * spacing
    # off-centre, so that the right lung lies where the paper's borders leave room
    shift = rng.uniform(0.11, 0.13)
    return _Body(
        rng=rng,
        hu=np.full(shape[::-1], _AIR, np.float32),
        spacing=np.array(spacing),
        middle=extent * (0.5 + shift, rng.uniform(0.48, 0.52), 0.5),
        half=extent * (0.37, 0.29, 0.5) * (*rng.uniform(0.94, 1.04, 2), 1),
    )


def _draw_soft_tissue(body: _Body) -> np.ndarray:
    """Fat, muscle, lungs, heart and aorta; returns where the lungs are."""
    x, y, z = body.grid
    outline = np.abs(x) ** 2.5 + np.abs(y) ** 2.5
    body.hu[:, outline[0] < 1] = _FAT
    body.hu[:, outline[0] < body.rng.uniform(0.66, 0.78)] = _MUSCLE
    lungs = np.zeros(body.hu.shape, bool)
    for side in (-1, 1):
        taper = 1 - 0.25 * np.clip(z, 0, None) ** 2  # towards the apex
        width = (np.abs(x - side * 0.43) / (0.36 * taper)) ** 2.4
        lungs |= width + (np.abs(y - 0.03) / (0.72 * taper)) ** 2.6 + 0.75 * np.abs(z) ** 6 < 1
    dome = (x - np.sign(x) * 0.43) ** 2 / 0.25 + (y + 0.1) ** 2 / 0.8
    lungs &= z > -0.62 - 0.38 * dome  # the diaphragm
    lungs &= (x - 0.16) ** 2 / 0.34**2 + (y + 0.3) ** 2 / 0.38**2 + (z + 0.55) ** 2 / 0.62**2 > 1
    lungs &= x**2 / 0.2**2 + (y - 0.6) ** 2 / 0.26**2 > 1  # the spine
    body.hu[lungs] = _parenchyma(body)[lungs]
    blood = body.rng.uniform(_BLOOD, 3 * _BLOOD)  # with or without contrast medium
    heart = (x - 0.16) ** 2 / 0.28**2 + (y + 0.3) ** 2 / 0.31**2 + (z + 0.55) ** 2 / 0.55**2 < 1
    body.hu[heart] = blood
    body.tube(
        body.in_mm((0.15, 0.34, -1.1)), body.in_mm((0.15, 0.3, 0.3)), 0.07 * body.half[0], blood
    )
    return lungs


def _parenchyma(body: _Body) -> np.ndarray:
    """Lung tissue: denser to the back, where the patient lies on it, and unevenly aired."""
    coarse = body.rng.normal(0, 45, [max(2, n // 10) for n in body.hu.shape])
    zoom = np.array(body.hu.shape) / coarse.shape
    uneven = ndimage.zoom(coarse.astype(np.float32), zoom, order=1, grid_mode=True, mode='nearest')
    return body.rng.uniform(-880, -830) + 40 * body.grid[1] + uneven


def _draw_bones(body: _Body, lungs: np.ndarray) -> None:
    x, y, z = body.grid
    height = z * body.half[2]  # mm
    outline = np.abs(x) ** 2.5 + np.abs(y) ** 2.5
    wall = (outline > 0.46) & (outline < 0.6) & (np.abs(x) > 0.12)
    slope = 62 * y - 12 * np.abs(x)  # mm; ribs descend to the front
    phase = np.mod(height - slope + body.rng.uniform(0, 26), 26) - 13
    rim = np.abs(outline - 0.53) / 0.07
    ribs = wall & (phase**2 / 5.5**2 + rim**2 < 1) & ~lungs
    core = ribs & (phase**2 / 3.5**2 + rim**2 < 0.45)
    body.hu[ribs] = _CORTEX - 100
    body.hu[core] = _BONE
    vertebra = x**2 / 0.15**2 + (y - 0.52) ** 2 / 0.14**2 + 0 * z
    disc = np.mod(height, 24) < 4
    body.hu[vertebra < 1] = _CORTEX
    body.hu[vertebra < 0.78] = _BONE
    body.hu[(vertebra < 1) & disc] = 2 * _MUSCLE
    arch = x**2 / 0.12**2 + (y - 0.71) ** 2 / 0.1**2 + 0 * z
    body.hu[(arch < 1) & ~disc] = _CORTEX - 150
    body.hu[arch < 0.45] = _MUSCLE  # the spinal canal
    spine = (np.abs(x) < 0.025) & (np.abs(y - 0.84) < 0.06) & ~disc
    sternum = x**2 / 0.11**2 + (y + 0.83) ** 2 / 0.045**2 + 0 * z < 1
    body.hu[spine | sternum] = _BONE + 60


def _draw_airways(body: _Body) -> None:
    width = 0.06 * body.half[0]
    carina = (0, 0.08, 0.25)
    for grown, value in ((1.5, _MUSCLE), (0, _AIR)):  # the wall in mm, then the air within
        body.tube(body.in_mm((0, 0.02, 1.2)), body.in_mm(carina), width + grown, value)
        for side in (-1, 1):
            hilum = body.in_mm((side * 0.25, 0.08, 0.02))
            body.tube(body.in_mm(carina), hilum, 0.7 * width + grown, value)


def _draw_vessels(body: _Body, lungs: np.ndarray) -> None:
    """Two trees, whose branches thin towards the edge of the lungs and end where they leave."""
    size = np.array(lungs.shape[::-1])
    for side in (-1, 1):
        start = body.in_mm((side * 0.2, 0.0, 0.0))
        directions = body.rng.normal(0, (0.4, 0.7, 1), (7, 3)) + (0.7 * side, 0, 0)
        tips = [(start, d / np.linalg.norm(d), 0.05 * body.half[0]) for d in directions]
        for generation in range(_GENERATIONS):
            grown = []
            for point, direction, radius in tips:
                length = body.half[0] * body.rng.uniform(0.12, 0.2) * 0.93**generation
                end = point + length * direction
                index = np.rint(end / body.spacing).astype(int)
                outside = (index < 0).any() or (index >= size).any()
                if outside or (generation and not lungs[tuple(index[::-1])]):
                    continue
                body.tube(point, end, radius, _BLOOD)
                for _ in range(2):
                    turned = direction + body.rng.normal(0, 0.4, 3)
                    grown.append((end, turned / np.linalg.norm(turned), 0.77 * radius))
            tips = grown


def _draw_nodules(body: _Body, lungs: np.ndarray) -> list[Nodule]:
    """Round solid and part-solid nodules of 4 to 20 mm, centred in the lungs."""
    inside = np.flatnonzero(lungs)
    nodules = []
    for _ in range(body.rng.integers(2, 6)):
        centre = np.unravel_index(body.rng.choice(inside), lungs.shape)[::-1]
        diameter = float(np.exp(body.rng.uniform(np.log(4), np.log(20))))
        point = np.array(centre) * body.spacing
        body.tube(point, point, diameter / 2, body.rng.uniform(-250, 60))
        nodules.append(Nodule(tuple(float(n) for n in centre), diameter))
    return nodules
