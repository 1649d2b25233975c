"""Phantoms of whole labelled scans: LiTS, BraTS 2013, 2018 and 2023, nnU-Net, Medical Decathlon.

Every writer makes `patients` scans of `shape` voxels in the source's own layout; a scan covers the
same millimetres whatever its shape.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from data_prep.phantoms.anatomy import abdomen, brain
from data_prep.phantoms.files import Shape, as_image, write_image, write_json

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
        hu, labels = abdomen(rng, shape)
        orientation = ('LPS', 'RAS')[index % 2]
        for name, voxels in (('volume', hu), ('segmentation', labels)):
            origin = np.random.default_rng((seed, index)).uniform(-300, 0, 3).round(2).tolist()
            image = as_image(voxels, _spacing(_ABDOMEN, shape), origin)
            write_image(sitk.DICOMOrient(image, orientation), folder / f'{name}-{index}.nii')


def write_brats2018(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """BraTS 2018: HGG and LGG, a folder per scan, five .nii.gz in each."""
    for index in range(patients):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        labels = np.where(labels == 3, 1, labels).astype(np.uint8)
        scan = f'Brats18_PHANTOM_{index:03}_1'
        folder = out / ('HGG', 'LGG')[index % 3 == 2] / scan
        for kind, voxels in {**images, 'seg': labels}.items():
            image = as_image(voxels, _spacing(_HEAD, shape))
            write_image(image, folder / f'{scan}_{kind}.nii.gz')


def write_brats2023(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """BraTS 2023: a folder per scan, five .nii.gz in each; the enhancing tumour is label 3."""
    kinds = {'t1': 't1n', 't1ce': 't1c', 't2': 't2w', 'flair': 't2f'}
    for index in range(patients):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        scan = f'BraTS-GLI-{index:05}-000'
        files = {kinds[name]: voxels for name, voxels in images.items()}
        files['seg'] = np.array([0, 1, 2, 1, 3], np.uint8)[labels]
        for kind, voxels in files.items():
            image = as_image(voxels, _spacing(_HEAD, shape))
            write_image(image, out / scan / f'{scan}-{kind}.nii.gz')


def write_brats2013(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """BraTS 2013 as the VSD gives it: a folder per sequence, one .mha in each."""
    kinds = {'t1': 'O.MR_T1', 't1ce': 'O.MR_T1c', 't2': 'O.MR_T2', 'flair': 'O.MR_Flair'}
    for index in range(patients):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        scan = out / ('HGG', 'LGG')[index % 3 == 2] / f'brats_2013_pat{index:04}_1'
        files = {f'VSD.Brain.XX.{kinds[name]}': voxels for name, voxels in images.items()}
        files['VSD.Brain_3more.XX.XX.OT'] = labels
        for number, (name, voxels) in enumerate(files.items()):
            folder = scan / f'{name}.{54000 + 10 * index + number}'
            image = as_image(voxels, _spacing(_HEAD, shape))
            write_image(image, folder / f'{folder.name}.mha')


def write_nnunet(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """nnU-Net version 2: two channels, oblique slices, stored as RAS; and two unlabelled scans."""
    for index in range(patients + 2):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        scan = f'phantom_{index:03}'
        part = 'Tr' if index < patients else 'Ts'
        for number, kind in enumerate(_CHANNELS.values()):
            image = _oblique(images[kind], shape)
            write_image(image, out / f'images{part}' / f'{scan}_{number:04}.nii.gz')
        if part == 'Tr':
            label = _oblique(_AS_CORE[labels], shape)
            write_image(label, out / 'labelsTr' / f'{scan}.nii.gz')
    declared = {
        'channel_names': {str(number): name for number, name in enumerate(_CHANNELS)},
        'labels': {name: value for value, name in enumerate(_LABELS)},
        'numTraining': patients,
        'file_ending': '.nii.gz',
    }
    write_json(out / 'dataset.json', declared)


def write_decathlon(out: Path, patients: int, shape: Shape, seed: int) -> None:
    """The Medical Decathlon: one 4D file per scan, listed in dataset.json."""
    names = [f'phantom_{index:03}.nii.gz' for index in range(patients)]
    for index, name in enumerate(names):
        images, labels = brain(np.random.default_rng((seed, index)), shape)
        spacing = _spacing(_HEAD, shape)
        channels = [as_image(images[kind], spacing) for kind in _CHANNELS.values()]
        write_image(sitk.JoinSeries(channels), out / 'imagesTr' / name)
        write_image(as_image(_AS_CORE[labels], spacing), out / 'labelsTr' / name)
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
    write_json(out / 'dataset.json', declared)


def _spacing(extent: Shape, shape: Shape) -> list[float]:
    """That of a scan which covers these mm."""
    return [round(mm / n, 5) for mm, n in zip(extent, shape, strict=True)]


def _oblique(voxels: np.ndarray, shape: Shape) -> sitk.Image:
    """Voxels [Z, Y, X] on slices tilted by some degrees, stored from left and back to front."""
    image = as_image(voxels, _spacing(_HEAD, shape), (-90.0, -110.0, -60.0))
    tilt = sitk.Euler3DTransform((0, 0, 0), 0.2, 0.05, 0.1)
    image.SetDirection(tilt.GetMatrix())
    return sitk.DICOMOrient(image, 'RAS')
