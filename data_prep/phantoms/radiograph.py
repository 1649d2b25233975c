"""A chest radiograph drawn at random, with any of the fourteen findings of ChestX-ray14.

Simple shapes in fractions of the image, so that a small image shows a whole small patient. Another
generator is another patient. Arrays are [Y, X], the order in memory of the files to be written;
brightness is what a radiograph shows: bones white, air black.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from data_prep.phantoms.files import Shape

_NOISE = 0.02  # of the brightness 0 ... 1, standard deviation


@dataclass
class _Chest:
    """A radiograph being drawn.

    Attributes:
      x, y: every pixel's place, -1 ... 1 to the right and down.
      light: the brightness.
      lungs: where they are; of each side, 1 right and -1 left in the image.
    """

    rng: np.random.Generator
    x: np.ndarray
    y: np.ndarray
    light: np.ndarray
    lungs: dict[int, np.ndarray]

    def side(self) -> int:
        """One of the lungs."""
        return int(self.rng.choice((-1, 1)))

    def place(self, side: int, low: float, high: float) -> tuple[float, float]:
        """A place in a lung between these heights."""
        return side * self.rng.uniform(0.32, 0.5), self.rng.uniform(low, high)

    def blob(self, centre: Sequence[float], radius: float, value: float, soft: float) -> None:
        """Adds a round shadow whose rim is `soft` of its radius wide."""
        distance = np.hypot(self.x - centre[0], self.y - centre[1]) / radius
        self.light += value * np.clip((1 - distance) / soft, 0, 1)


def radiograph(rng: np.random.Generator, shape: Shape, findings: Sequence[str]) -> np.ndarray:
    """Draws an image of `shape` (pixels along x and y) with these findings, uint8 [Y, X]."""
    chest = _body(rng, shape, findings)
    for finding in findings:
        if finding in _FINDINGS:
            _FINDINGS[finding](chest)
        elif finding in _SHADOWS:
            height, radius, value, soft = _SHADOWS[finding]
            place = chest.place(chest.side(), *height)
            chest.blob(place, rng.uniform(*radius), value, soft)
    light = ndimage.gaussian_filter(chest.light, 0.004 * max(shape), truncate=2)
    light += _NOISE * rng.standard_normal(light.shape)
    return np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)


def _body(rng: np.random.Generator, shape: Shape, findings: Sequence[str]) -> _Chest:
    """A chest of its own size and place; heart and lungs are as large as the findings say."""
    columns, rows = (np.linspace(-1, 1, n) for n in shape)
    shift, zoom = rng.uniform(-0.05, 0.05, 2), rng.uniform(0.92, 1.08)
    x, y = (columns[None, :] - shift[0]) / zoom, (rows[:, None] - shift[1]) / zoom
    x, y = np.broadcast_arrays(x, y)
    wide = rng.uniform(0.24, 0.27) + 0.05 * ('Emphysema' in findings)
    lungs = {
        side: (np.abs(x - side * 0.42) / wide) ** 2.5 + np.abs((y + 0.05) / 0.72) ** 3 < 1
        for side in (-1, 1)
    }
    heart = rng.uniform(0.2, 0.25) + 0.16 * ('Cardiomegaly' in findings)
    outline = np.abs(x / 0.95) ** 4 + np.clip(-y - 0.55, 0, None) * 2 * np.abs(x)
    light = np.where(outline < 1, 0.62 + 0.1 * y, 0.03)
    air = rng.uniform(0.2, 0.28) - 0.08 * ('Emphysema' in findings)
    for lung in lungs.values():
        light[lung] = air + 0.08 * y[lung]
    ribs = np.abs(np.mod(y * 6 + 1.6 * np.abs(x) ** 2 + rng.uniform(0, 1), 1) - 0.5) < 0.1
    light += 0.09 * (ribs & (outline < 1) & (np.abs(x) > 0.1))
    light[np.abs(x) < 0.09] += 0.1  # the spine
    inside = ((x - 0.1) / heart) ** 2 + ((y - 0.3) / 0.33) ** 2 < 1
    light[inside] = 0.72
    return _Chest(rng, x, y, light, lungs)


def _atelectasis(chest: _Chest) -> None:
    side = chest.side()
    level = chest.rng.uniform(0.1, 0.4)
    chest.light += 0.3 * (chest.lungs[side] & (np.abs(chest.y - level - 0.1 * chest.x) < 0.035))


def _effusion(chest: _Chest) -> None:
    side = chest.side()
    meniscus = chest.rng.uniform(0.25, 0.42) - 0.5 * (np.abs(chest.x) - 0.4)
    fluid = chest.lungs[side] & (chest.y > meniscus)
    chest.light[fluid] = 0.68


def _infiltration(chest: _Chest) -> None:
    side = chest.side()
    for _ in range(7):
        chest.blob(chest.place(side, -0.3, 0.4), chest.rng.uniform(0.06, 0.1), 0.15, 0.9)


def _pneumothorax(chest: _Chest) -> None:
    side = chest.side()
    collapsed = (np.abs(chest.x - side * 0.34) / 0.2) ** 2 + ((chest.y - 0.1) / 0.6) ** 2 < 1
    chest.light[chest.lungs[side] & ~collapsed] -= 0.16


def _edema(chest: _Chest) -> None:
    haze = np.exp(-((np.abs(chest.x) - 0.25) ** 2) / 0.05 - chest.y**2 / 0.12)
    chest.light += 0.25 * haze


def _fibrosis(chest: _Chest) -> None:
    net = np.abs(np.sin(45 * (chest.x + 0.3 * chest.y))) + np.abs(np.sin(45 * chest.y)) > 1.7
    both = (chest.lungs[1] | chest.lungs[-1]) & (chest.y > 0.1)
    chest.light += 0.15 * (net & both)


def _thickening(chest: _Chest) -> None:
    lung = chest.lungs[chest.side()]
    inner = ndimage.binary_erosion(lung, iterations=max(1, round(0.02 * max(lung.shape))))
    chest.light += 0.3 * (lung & ~inner & (np.abs(chest.x) > 0.45))


def _hernia(chest: _Chest) -> None:
    chest.blob((0.02, 0.5), 0.14, -0.4, 0.3)


# Findings of one round shadow: between which heights, of which radii, how bright and soft.
_SHADOWS = {
    'Mass': ((-0.4, 0.3), (0.1, 0.14), 0.4, 0.3),
    'Nodule': ((-0.5, 0.4), (0.04, 0.055), 0.45, 0.3),
    'Pneumonia': ((0.1, 0.35), (0.25, 0.32), 0.3, 0.9),
    'Consolidation': ((-0.45, -0.1), (0.18, 0.24), 0.4, 0.2),
}
_FINDINGS: dict[str, Callable[[_Chest], None]] = {
    'Atelectasis': _atelectasis,
    'Effusion': _effusion,
    'Infiltration': _infiltration,
    'Pneumothorax': _pneumothorax,
    'Edema': _edema,
    'Fibrosis': _fibrosis,
    'Pleural_Thickening': _thickening,
    'Hernia': _hernia,
}  # Cardiomegaly and Emphysema are the size of heart and lungs
