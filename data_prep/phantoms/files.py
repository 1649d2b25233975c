"""How phantoms name, place and write what they draw."""

import csv
import json
import locale
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

Shape = tuple[int, ...]  # x, y, z; of images, x, y

_UID_ROOT = '1.3.6.1.4.1.14519.5.2.1.6279.6001'  # of the LIDC-IDRI collection
_NOISE = 18  # HU, standard deviation


def new_uid(rng: np.random.Generator) -> str:
    """A series UID."""
    return f'{_UID_ROOT}.{"".join(map(str, rng.integers(1, 10, 30)))}'


def as_scanned(hu: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Drawn HU with a scanner's noise, of unit size, as int16."""
    return np.rint(hu + _NOISE * noise).clip(-1024, 3071).astype(np.int16)


def as_image(
    voxels: np.ndarray, spacing: Sequence[float], origin: Sequence[float] = (0, 0, 0)
) -> sitk.Image:
    """Voxels [Z, Y, X] in LPS, mm apart, the first one at `origin`."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def write_image(image: sitk.Image, path: Path) -> None:
    """Writes an image into a folder that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@contextmanager
def own_locale() -> Iterator[None]:
    """For ITK's DICOM code, which leaves the process in the C locale, where Python reads ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    """Writes a table, its header first."""
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([columns, *rows])


def write_json(path: Path, declared: Mapping[str, Any]) -> None:
    """Writes a dataset.json."""
    path.write_text(json.dumps(declared, indent=2), 'utf-8')
