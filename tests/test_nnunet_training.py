"""nnU-Net v2 trains a network of ours under its own ResEnc plans, and what it made comes back.

It is installed into an environment of its own, which sees this one's PyTorch; or name the folder of
its commands (`.venv/bin`) in GENESIS_NNUNET.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import jax
import numpy as np
import pytest
import SimpleITK as sitk

from genesis_jax import convert, models
from genesis_jax.card import Card

pytest.importorskip('torch')
DATASET = 'Dataset501_Balls'
NNUNET = (
    *('nnunetv2==2.8.1', 'dynamic-network-architectures', 'acvl-utils'),
    *('batchgenerators', 'batchgeneratorsv2'),
)
NEEDED = (
    *('blosc2', 'nibabel', 'scikit-image', 'pandas', 'seaborn', 'imagecodecs', 'yacs', 'tifffile'),
    *('requests', 'einops', 'connected-components-3d', 'future', 'threadpoolctl', 'graphviz'),
)
ABSENT = """
import torch


def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    return type(name, (torch.nn.Module,), {})
"""
TRAINER = """
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class FewIterations(nnUNetTrainer):
    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device('cpu')):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch = 1, 2
        self.num_val_iterations_per_epoch = 1

    def perform_actual_validation(self, save_probabilities: bool = False):
        pass
"""


@pytest.fixture(scope='module')
def nnunet(tmp_path_factory):
    """Runs a command of nnU-Net on the data in a folder."""
    commands = os.environ.get('GENESIS_NNUNET') or _install(tmp_path_factory.mktemp('nnunet'))
    base = tmp_path_factory.mktemp('data')
    paths = {f'nnUNet_{name}': str(base / name) for name in ('raw', 'preprocessed', 'results')}
    more = {'nnUNet_extTrainer': str(base / 'trainers'), 'nnUNet_compile': 'f'}
    more |= {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}

    def run(command, **other):
        env = {n: v for n, v in os.environ.items() if n != 'PYTHONPATH'} | paths | more | other
        name, *arguments = command.split()
        done = subprocess.run(
            [Path(commands) / name, *arguments], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout

    (base / 'trainers').mkdir()
    (base / 'trainers' / 'few.py').write_text(TRAINER)
    _draw(base / 'raw' / DATASET)
    return run, base


def _install(folder):
    """The folder of commands; skips where a package cannot be had."""
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
    (own,) = folder.glob('lib/python*/site-packages')
    (own / 'lent.pth').write_text(sysconfig.get_paths()['purelib'])
    # timm would bring another PyTorch; only transformers, which are not trained here, use it.
    for name in ('layers', 'models/eva'):
        (own / 'timm' / name).parent.mkdir(parents=True, exist_ok=True)
        (own / 'timm' / f'{name}.py').write_text(ABSENT)
    for packages in (('--no-deps', *NNUNET), NEEDED):
        pip = [folder / 'bin' / 'pip', 'install', '--quiet', *packages]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f'nnU-Net cannot be installed: {done.stderr.strip().splitlines()[-1]}')
    return folder / 'bin'


def _draw(folder):
    """Six scans of 24 voxels a side, each with a bright ball."""
    rng = np.random.default_rng(0)
    for name in ('imagesTr', 'labelsTr'):
        (folder / name).mkdir(parents=True)
    grid = np.indices((24, 24, 24))
    for number in range(6):
        centre = rng.uniform(8, 16, (3, 1, 1, 1))
        ball = (np.linalg.norm(grid - centre, axis=0) < 5).astype(np.uint8)
        scan = ball + rng.normal(0, 0.2, ball.shape)
        sitk.WriteImage(
            sitk.GetImageFromArray(scan.astype(np.float32)),
            folder / 'imagesTr' / f'ball_{number}_0000.nii.gz',
        )
        sitk.WriteImage(sitk.GetImageFromArray(ball), folder / 'labelsTr' / f'ball_{number}.nii.gz')
    about = {'channel_names': {'0': 'MRI'}, 'labels': {'background': 0, 'ball': 1}}
    about |= {'numTraining': 6, 'file_ending': '.nii.gz'}
    (folder / 'dataset.json').write_text(json.dumps(about))


@pytest.mark.slow
def test_nnunet_trains_our_weights_under_its_own_plans(nnunet, tmp_path):
    run, base = nnunet
    plan = 'nnUNetv2_plan_and_preprocess -d 501 -pl nnUNetPlannerResEncM -c 3d_fullres -np 1'
    run(f'{plan} -npfp 1', nnUNet_n_proc_DA='1')
    file = base / 'preprocessed' / DATASET / 'nnUNetResEncUNetMPlans.json'
    plans = json.loads(file.read_text())['configurations']['3d_fullres']['architecture']
    planned = plans['arch_kwargs']

    model = {'name': 'resenc3d', 'width': planned['features_per_stage'][0], 'epsilon': 1e-5}
    model['blocks'] = planned['n_blocks_per_stage']
    parts = ['encoder', 'decoder', 'head']
    card = Card('unet3d', parts, in_channels=1, out_channels=1, config={'model': model})
    network = models.from_card(card)
    x = np.zeros(network.smallest_input(1), np.float32)
    ours = jax.device_get(jax.jit(lambda: network.init(jax.random.key(0), x, train=False))())
    weights = tmp_path / 'genesis.pth'
    convert.write(weights, ours, card, 'nnunet')

    train = 'nnUNetv2_train 501 3d_fullres 0 -tr FewIterations -p nnUNetResEncUNetMPlans'
    said = run(f'{train} -pretrained_weights {weights} -device cpu', nnUNet_n_proc_DA='0')
    assert 'Loading pretrained weights' in said and 'Training done.' in said
    (trained,) = base.glob('results/**/checkpoint_final.pth')
    theirs, back = convert.read(trained)
    assert back.model['blocks'] == model['blocks'] and back.out_channels == 2
    for part in ('encoder', 'decoder'):
        for a, b in zip(*(jax.tree.leaves(v['params'][part]) for v in (ours, theirs)), strict=True):
            # Two steps at 0.01 change little.
            assert np.abs(a - b).max() < 0.2
    first = [v['params']['encoder']['stem']['conv']['kernel'] for v in (ours, theirs)]
    assert not np.array_equal(*first) and np.corrcoef(*(a.ravel() for a in first))[0, 1] > 0.99
