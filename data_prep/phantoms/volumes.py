"""Phantoms of whole labelled scans: LiTS, BraTS 2013 and 2018, nnU-Net, Medical Decathlon.

Every writer makes `patients` scans of `shape` voxels in the source's own layout; a scan covers the
same millimetres whatever its shape.
"""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.phantoms.anatomy import Shape, abdomen, brain

_ABDOMEN = (360, 280, 240)  # mm
_HEAD = (200, 200, 168)  # mm
_LABELS = ('background', 'oedema', 'core')  # of the nnU-Net and Decathlon phantoms
_AS_CORE = np.array([0, 2, 1, 2, 2], np.uint8)  # their class by the label of BraTS
_CHANNELS = {'T1': 't1', 'FLAIR': 'flair'}


def write_lits(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """LiTS: two batches of volume-N.nii and segmentation-N.nii, stored in several orientations."""
    for index in range(patients):
        rng = np.random.default_rng((seed, index))
        folder = out / f'Training Batch {1 if 2 * index < patients else 2}'
        folder.mkdir(parents=True, exist_ok=True)
        hu, labels = abdomen(rng, shape)
        orientation = ('LPS', 'RAS')[index % 2]
        for name, voxels in (('volume', hu), ('segmentation', labels)):
            image = _image(voxels, shape, _ABDOMEN, rng_origin=(seed, index))
            image = sitk.DICOMOrient(image, orientation)
            sitk.WriteImage(image, str(folder / f'{name}-{index}.nii'))


def write_brats2018(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """BraTS 2018: HGG and LGG, a folder per case, five .nii.gz in each."""
    for index in range(patients):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        labels = np.where(labels == 3, 1, labels).astype(np.uint8)
        case = f'Brats18_PHANTOM_{index:03}_1'
        folder = out / ('HGG', 'LGG')[index % 3 == 2] / case
        folder.mkdir(parents=True)
        for kind, voxels in {**images, 'seg': labels}.items():
            path = folder / f'{case}_{kind}.nii.gz'
            sitk.WriteImage(_image(voxels, shape, _HEAD), str(path))


def write_brats2013(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """BraTS 2013 as the VSD gives it: a folder per sequence, one .mha in each."""
    kinds = {'t1': 'O.MR_T1', 't1ce': 'O.MR_T1c', 't2': 'O.MR_T2', 'flair': 'O.MR_Flair'}
    for index in range(patients):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        case = out / ('HGG', 'LGG')[index % 3 == 2] / f'brats_2013_pat{index:04}_1'
        files = {f'VSD.Brain.XX.{kinds[name]}': voxels for name, voxels in images.items()}
        files['VSD.Brain_3more.XX.XX.OT'] = labels
        for number, (name, voxels) in enumerate(files.items()):
            folder = case / f'{name}.{54000 + 10 * index + number}'
            folder.mkdir(parents=True)
            sitk.WriteImage(_image(voxels, shape, _HEAD), str(folder / f'{folder.name}.mha'))


def write_nnunet(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """nnU-Net version 2: two channels, oblique slices, stored as RAS; and two unlabelled scans."""
    for folder in ('imagesTr', 'labelsTr', 'imagesTs'):
        (out / folder).mkdir(parents=True)
    for index in range(patients + 2):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        case = f'phantom_{index:03}'
        part = 'Tr' if index < patients else 'Ts'
        for number, kind in enumerate(_CHANNELS.values()):
            path = out / f'images{part}' / f'{case}_{number:04}.nii.gz'
            sitk.WriteImage(_oblique(images[kind], shape), str(path))
        if part == 'Tr':
            label = _oblique(_AS_CORE[labels], shape)
            sitk.WriteImage(label, str(out / 'labelsTr' / f'{case}.nii.gz'))
    declared = {
        'channel_names': {str(number): name for number, name in enumerate(_CHANNELS)},
        'labels': {name: value for value, name in enumerate(_LABELS)},
        'numTraining': patients,
        'file_ending': '.nii.gz',
    }
    (out / 'dataset.json').write_text(json.dumps(declared, indent=2), 'utf-8')


def write_decathlon(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """The Medical Decathlon: one 4D file per case, listed in dataset.json."""
    for folder in ('imagesTr', 'labelsTr'):
        (out / folder).mkdir(parents=True)
    names = [f'phantom_{index:03}.nii.gz' for index in range(patients)]
    for index, name in enumerate(names):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        channels = [_image(images[kind], shape, _HEAD) for kind in _CHANNELS.values()]
        sitk.WriteImage(sitk.JoinSeries(channels), str(out / 'imagesTr' / name))
        label = _image(_AS_CORE[labels], shape, _HEAD)
        sitk.WriteImage(label, str(out / 'labelsTr' / name))
    declared = {
        'name': 'Phantom',
        'modality': {str(number): name for number, name in enumerate(_CHANNELS)},
        'labels': {str(value): name for value, name in enumerate(_LABELS)},
        'numTraining': patients,
        'training': [
            {'image': f'./imagesTr/{name}', 'label': f'./labelsTr/{name}'} for name in names
        ],
        'test': [],
    }
    (out / 'dataset.json').write_text(json.dumps(declared, indent=2), 'utf-8')


def _image(
    voxels: np.ndarray, shape: Shape, extent: Shape, rng_origin: tuple[int, int] | None = None
) -> sitk.Image:
    """Voxels [Z, Y, X] in LPS, covering these mm."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing([round(mm / n, 5) for mm, n in zip(extent, shape, strict=True)])
    if rng_origin:
        image.SetOrigin(np.random.default_rng(rng_origin).uniform(-300, 0, 3).round(2).tolist())
    return image


def _oblique(voxels: np.ndarray, shape: Shape) -> sitk.Image:
    """Voxels [Z, Y, X] on slices tilted by some degrees, stored from left and back to front."""
    image = _image(voxels, shape, _HEAD)
    tilt = sitk.Euler3DTransform((0, 0, 0), 0.2, 0.05, 0.1)
    image.SetDirection(tilt.GetMatrix())
    image.SetOrigin((-90.0, -110.0, -60.0))
    return sitk.DICOMOrient(image, 'RAS')
