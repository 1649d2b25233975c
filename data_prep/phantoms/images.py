"""Miniature sources of 2D images: ChestX-ray14, and frames of carotid ultrasound with a CSV.

What is drawn is simple, but differs from patient to patient and can be learned.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from data_prep.formats.chestxray_names import FINDINGS, NO_FINDING
from data_prep.phantoms.files import Shape, write_csv
from data_prep.phantoms.radiograph import radiograph

_PER_FOLDER = 50  # images; ChestX-ray has some 10,000
_HEADER = (
    'Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,'
    'OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],'
)  # as published: the names hold commas, and one ends it
_VIEW = 'PA,2682,2749,0.143,0.143,'
_FRAMES = 6  # of an ultrasound patient
_KINDS = ('background', 'RoI', 'bulb')


def write_chestxray(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """Writes Data_Entry_2017.csv, images_00N/images/*.png and the two lists; a quarter is tested.

    As in ChestX-ray, a patient has one to four images, and some files are RGBA.
    """
    lists: dict[str, list[str]] = {'train_val': [], 'test': []}
    rows, written = [_HEADER], 0
    for number in range(patients):
        rng = np.random.default_rng((seed, number))
        for visit in range(rng.integers(1, 5)):
            name = f'{number + 1:08}_{visit:03}.png'
            names = lists['test' if number % 4 == 3 else 'train_val']
            findings = _draw_findings(rng, len(names))
            image = Image.fromarray(radiograph(rng, shape, findings))
            folder = out / f'images_{written // _PER_FOLDER + 1:03}' / 'images'
            folder.mkdir(parents=True, exist_ok=True)
            (image.convert('RGBA') if written % 40 == 39 else image).save(folder / name)
            written += 1
            label = '|'.join(findings) or NO_FINDING
            age, sex = rng.integers(20, 80), rng.choice(('F', 'M'))
            person = f'{visit},{number + 1},{age},{sex}'
            rows.append(f'{name},{label},{person},{_VIEW}')
            names.append(name)
    (out / 'Data_Entry_2017.csv').write_text('\n'.join([*rows, '']), 'utf-8')
    for part, names in lists.items():
        (out / f'{part}_list.txt').write_text('\n'.join([*names, '']), 'utf-8')


def write_ultrasound(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """Writes frames/patientN/frame_M.png and labels.csv with the columns image, label, patient.

    Two frames of a patient show the region of interest (the parallel walls of the common carotid
    artery), two its bulb (where they part) and two neither. As screenshots are, they are RGB.
    """
    rows = []
    for number in range(patients):
        name = f'patient{number:03}'
        (out / 'frames' / name).mkdir(parents=True)
        for frame in range(_FRAMES):
            rng = np.random.default_rng((seed, number, frame))
            kind = _KINDS[frame % len(_KINDS)]
            path = f'frames/{name}/frame_{frame:02}.png'
            echoes = _echoes(rng, np.random.default_rng((seed, number)), shape, kind)
            Image.fromarray(echoes).convert('RGB').save(out / path)
            rows.append((path, kind, name))
    write_csv(out / 'labels.csv', ('image', 'label', 'patient'), rows)


def _draw_findings(rng: np.random.Generator, index: int) -> list[str]:
    """Those of a list's image of this index: every finding comes up within twenty images."""
    lots = rng.random(len(FINDINGS))
    return [
        finding
        for place, finding in enumerate(FINDINGS)
        if lots[place] < 0.08 or place == index % 20
    ]


def _echoes(
    rng: np.random.Generator, patient: np.random.Generator, shape: Shape, kind: str
) -> np.ndarray:
    """A frame with speckle, uint8 [Y, X]; the generator `patient` decides what all frames share."""
    columns, rows = (np.linspace(-1, 1, n) for n in shape)
    gain, depth = patient.uniform(0.8, 1.2), patient.uniform(-0.1, 0.2)
    x, y = np.broadcast_arrays(columns[None, :], rows[:, None])
    tilted = y - depth - rng.uniform(-0.12, 0.12) * x
    echo = 0.35 + 0.12 * np.sin(9 * y + 2 * x + rng.uniform(0, 6))
    if kind != 'background':
        radius = patient.uniform(0.2, 0.26) * np.ones_like(x)
        if kind == 'bulb':
            radius = radius + 0.2 * np.clip(x * rng.choice((-1, 1)) + 0.3, 0, None)
        edge = np.abs(tilted) - radius
        echo = np.where(edge < 0, 0.05, echo)
        echo = echo + 0.5 * np.exp(-((edge / 0.03) ** 2))  # intima
        echo = echo + 0.6 * np.exp(-(((edge - 0.1) / 0.03) ** 2))  # adventitia
    speckle = ndimage.gaussian_filter(rng.rayleigh(0.8, echo.shape), 0.7)
    fan = np.abs(x) < 0.8 + 0.2 * (y + 1) / 2  # outside, the screen is black
    return np.rint(255 * np.clip(gain * echo * speckle * fan, 0, 1)).astype(np.uint8)
