"""A miniature LIDC-IDRI: DICOM series and the readers' XML."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from data_prep.phantoms.chest import chest, find_lungs, pick
from data_prep.phantoms.files import Shape, new_uid, own_locale
from data_prep.phantoms.thorax import Nodule

_NAMESPACE = 'http://www.nih.gov'
_TRAITS = (
    'subtlety', 'internalStructure', 'calcification', 'sphericity', 'margin', 'lobulation',
    'spiculation', 'texture', 'malignancy',
)  # fmt: skip


def write_lidc(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """Writes LIDC-IDRI: a CT series of every patient with its readers' XML, and some radiographs.

    Three or four readers outline every nodule a little differently, and not all of them all. They
    also mark nodules under 3 mm and what is no nodule, by one pixel each. Some slices run to the
    right and the front instead of the left and the back.
    """
    for number in range(patients):
        rng = np.random.default_rng((seed, number))
        patient = f'LIDC-IDRI-{number + 1:04}'
        image, nodules = chest(rng, shape, (150, 150, 120))
        if number % 4 == 1:
            image, nodules = _turned(image, nodules)
        study, series = new_uid(rng), new_uid(rng)
        folder = out / patient / study / series
        uids = _write_slices(folder, image, {
            '0008|0060': 'CT', '0010|0020': patient, '0020|000d': study, '0020|000e': series,
        }, rng)  # fmt: skip
        reading = _Reading(rng, image, uids)
        _write_xml(folder / f'{number + 1:03}.xml', reading.root(series, nodules))
        if number % 3 == 0:
            study, series = new_uid(rng), new_uid(rng)
            folder = out / patient / study / series
            radiograph = sitk.Cast(image[:, :, :1] + 1024, sitk.sitkUInt16)
            _write_slices(folder, radiograph, {
                '0008|0060': 'DX', '0010|0020': patient, '0020|000d': study, '0020|000e': series,
            }, rng)  # fmt: skip
            root = ET.Element('IdriReadMessage', xmlns=_NAMESPACE)
            ET.SubElement(root, 'CXRreadingSession')
            _write_xml(folder / f'{number + 1:03}.xml', root)


def _turned(image: sitk.Image, nodules: Sequence[Nodule]) -> tuple[sitk.Image, list[Nodule]]:
    """The same patient, stored with x and y flipped."""
    turned = sitk.DICOMOrient(image, 'RAS')
    x, y = (side - 1 for side in image.GetSize()[:2])
    return turned, [
        Nodule((x - item.centre[0], y - item.centre[1], item.centre[2]), item.diameter)
        for item in nodules
    ]


@dataclass(frozen=True)
class _Reading:
    """The readers of one scan, whose slices have these SOP instance UIDs."""

    rng: np.random.Generator
    image: sitk.Image
    uids: Sequence[str]

    def root(self, series: str, nodules: Sequence[Nodule]) -> ET.Element:
        """The XML of all readers."""
        root = ET.Element('LidcReadMessage', xmlns=_NAMESPACE)
        header = ET.SubElement(root, 'ResponseHeader')
        ET.SubElement(header, 'SeriesInstanceUid').text = series
        readers = int(self.rng.integers(3, 5))
        sure = [set(self.rng.permutation(readers)[: self.rng.integers(1, readers + 1)])
                for _ in nodules]  # fmt: skip
        sure[0] = set(range(readers))
        spots = pick(self.rng, find_lungs(sitk.GetArrayViewFromImage(self.image).T), 2)
        for reader in range(readers):
            session = ET.SubElement(root, 'readingSession')
            ET.SubElement(session, 'servicingRadiologistID').text = f'reader{reader}'
            for number, nodule in enumerate(nodules):
                if reader in sure[number]:
                    self._outline(session, f'{reader}{number}', nodule, hollow=reader == 0)
            for spot in spots[:1]:
                small = ET.SubElement(session, 'unblindedReadNodule')
                ET.SubElement(small, 'noduleID').text = f'small{reader}'
                self._region(small, spot[2], [spot[:2]])
            for spot in spots[1:]:
                other = ET.SubElement(session, 'nonNodule')
                ET.SubElement(other, 'nonNoduleID').text = f'other{reader}'
                self._slice(other, spot[2])
                _point(ET.SubElement(other, 'locus'), spot)
        return root

    def _outline(self, session: ET.Element, name: str, nodule: Nodule, hollow: bool) -> None:
        """One reader's view of a nodule; a hollow one leaves out the middle of a large nodule."""
        spacing, size = np.array(self.image.GetSpacing()), self.image.GetSize()
        radius = nodule.diameter / 2 * self.rng.uniform(0.95, 1.2)
        centre = nodule.centre * spacing + self.rng.normal(0, 0.04 * nodule.diameter, 3)
        grid = np.stack([*np.indices(size)], axis=-1) * spacing
        distance = np.linalg.norm(grid - centre, axis=-1)
        element = ET.SubElement(session, 'unblindedReadNodule')
        ET.SubElement(element, 'noduleID').text = name
        traits = ET.SubElement(element, 'characteristics')
        for trait in _TRAITS:
            ET.SubElement(traits, trait).text = str(self.rng.integers(1, 6))
        parts = [(distance <= radius, 'TRUE')]
        if hollow and nodule.diameter > 12:
            parts.append((distance <= 0.3 * radius, 'FALSE'))
        for ball, inclusion in parts:
            for depth in np.flatnonzero(ball.any(axis=(0, 1))):
                self._region(element, depth, outline_of(ball[:, :, depth]), inclusion)

    def _region(self, nodule, depth, points, inclusion='TRUE') -> None:
        region = ET.SubElement(nodule, 'roi')
        self._slice(region, depth)
        ET.SubElement(region, 'inclusion').text = inclusion
        for point in points:
            _point(ET.SubElement(region, 'edgeMap'), point)

    def _slice(self, element: ET.Element, depth: int) -> None:
        height = self.image.GetOrigin()[2] + depth * self.image.GetSpacing()[2]
        ET.SubElement(element, 'imageZposition').text = f'{height:.6f}'
        ET.SubElement(element, 'imageSOP_UID').text = self.uids[depth]


def outline_of(disc: np.ndarray) -> np.ndarray:
    """The closed chain of pixels [N, 2] just outside of a round bool [X, Y]."""
    ring = np.argwhere(ndimage.binary_dilation(disc) & ~disc)
    around = ring - np.argwhere(disc).mean(axis=0)
    chain = ring[np.argsort(np.arctan2(*around.T), kind='stable')]
    return np.concatenate([chain, chain[:1]])


def _write_slices(folder: Path, image: sitk.Image, tags: dict[str, str], rng) -> list[str]:
    """A DICOM file for every slice, in no order of names; returns their SOP instance UIDs."""
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO('GDCMImageIO')
    writer.KeepOriginalImageUIDOn()
    depths, uids = image.GetSize()[2], []
    axes = np.reshape(image.GetDirection(), (3, 3))[:, :2].T.ravel()
    for name, depth in zip(rng.permutation(depths), range(depths), strict=True):
        part = image[:, :, depth]
        x, y, z = image.TransformIndexToPhysicalPoint((0, 0, depth))
        uids.append(f'{tags["0020|000e"][:50]}.{depth + 1}')
        own = {
            '0008|0018': uids[-1],
            '0020|0032': f'{x:.4f}\\{y:.4f}\\{z:.6f}',
            '0020|0037': '\\'.join(f'{cosine:g}' for cosine in axes),
            '0018|0050': f'{image.GetSpacing()[2]:g}',
        }
        if tags['0008|0060'] == 'CT':
            own |= {'0028|1052': '-1024', '0028|1053': '1'}
        for tag, value in {**tags, **own}.items():
            part.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f'{name + 1:06}.dcm'))
        with own_locale():
            writer.Execute(part)
    return uids


def _point(element: ET.Element, point: Sequence[int]) -> None:
    for axis, value in zip('xy', point[:2], strict=True):
        ET.SubElement(element, f'{axis}Coord').text = str(value)


def _write_xml(path: Path, root: ET.Element) -> None:
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding='UTF-8', xml_declaration=True)
