"""Model cards of 2D networks: what they say of images and planes, and the commands they print."""

import shlex
import warnings
from unittest import mock

import numpy as np
import pytest
import SimpleITK as sitk
from absl import flags
from commands import ROOT
from make_labelled import make
from ml_collections import config_flags
from PIL import Image
from test_hub import facts, variables_of

from configs import genesis_ct_2d
from data_prep import images, slices
from genesis_jax import convert, transfer
from genesis_jax.convert.__main__ import main
from genesis_jax.data import labelled
from genesis_jax.pretrain import view_and_window
from genesis_jax.tasks import TASKS
from genesis_jax.training.steps import make_network

MODEL = {'width': 4, 'epsilon': 1e-3, 'batch_statistics': 'synchronised'}
CARD = {
    'network': 'unet2d',
    'parts': ['encoder', 'decoder', 'head'],
    'in_channels': 1,
    'outputs': 1,
    'cube_shape': [32, 32, 1],
    'modality': 'other',
    'view': None,
    'config': {'task': 'restoration', 'data': {'name': 'x'}, 'model': MODEL},
}
FINDS = {
    'network': 'classifier2d',
    'parts': ['encoder', 'hidden', 'head'],
    'task': 'multilabel',
    'classes': ['ball', 'fog'],
    'outputs': 2,
    'channels': ['grey'],
    'full_range': True,
    'spacing': None,
    'config': {'data': {'name': 'dxc'}, 'model': {**MODEL, 'hidden': 6}},
}
ADJACENT = {'view': 'adjacent', 'in_channels': 3, 'cube_shape': [32, 32, 3], 'modality': 'mri'}


def written(folder, **card):
    """The hub folder of a network with this card."""
    card = CARD | card
    convert.write(folder / 'hub', variables_of(card), card, 'hub')
    return folder / 'hub'


def test_radiographs_are_no_scans(tmp_path):
    place = written(tmp_path, **FINDS)
    told, text = facts(place), (place / 'README.md').read_text()
    assert told['intensities'].startswith('0 … 255 of 8 bits and 0 … 65535 of 16 bits become 0 … 1')
    assert told['input channels'] == 'grey' and told['pixels of an image'] == '32 × 32'
    for word in ('scan ', 'scans', 'patch', 'voxel', 'spacing', 'folds'):
        assert word not in text.split('## Licence')[0], word
    (tmp_path / 'robust').mkdir()
    told = facts(written(tmp_path / 'robust', **FINDS | {'full_range': False}))
    assert told['intensities'] == "each image's own robust range become 0 … 1, clipped"


@pytest.mark.parametrize(
    ('card', 'shown'),
    [
        (ADJACENT, '3: the slice below, its own, the one above'),
        (ADJACENT | {'channels': ['CT']}, '3: the slice below, its own, the one above'),
        (ADJACENT | {'view': 'orthogonal'}, '3: the central axial, coronal and sagittal plane'),
        (
            ADJACENT | {'in_channels': 6, 'cube_shape': [32, 32, 6], 'channels': ['t1', 'flair']},
            '6: t1, flair of the slice below, its own, the one above',
        ),
        (ADJACENT | {'view': 'slices', 'channels': ['a', 'b', 'c']}, 'a, b, c'),
    ],
)
def test_planes_are_told(card, shown, tmp_path):
    place = written(tmp_path, **card, outputs=card['in_channels'])
    assert facts(place)['input channels'] == shown
    assert 'restore corrupted images of scans' in (place / 'README.md').read_text()


@pytest.fixture(scope='module')
def datasets(tmp_path_factory):
    """A data_dir with labelled records for each kind of network."""
    folder = tmp_path_factory.mktemp('balls_of_cards')
    make(folder, 'segment', 'segmentation', per_patient=1, size=(32, 32, 16))
    make(folder, 'classify', 'classification', size=(32, 32, 16))
    make(folder, 'classify_2d', 'classification', size=(32, 32))
    make(folder, 'multilabel', 'multilabel', per_patient=4, size=(32, 32))
    return folder


@pytest.mark.parametrize(
    ('card', 'dataset'),
    [
        ({'parts': ['encoder'], 'view': 'slices'}, 'classify'),
        (ADJACENT | {'parts': ['encoder'], 'outputs': 3}, 'classify'),
        (ADJACENT | {'outputs': 3}, 'segment'),
        ({'view': 'slices', 'config': {'model': {**MODEL, 'upsample': 'nearest'}}}, 'segment'),
        ({}, 'classify_2d'),
        (FINDS, 'multilabel'),
    ],
)
def test_the_commands_that_are_printed_start_a_fine_tuning(
    card, dataset, datasets, tmp_path, capsys
):
    place = written(tmp_path, **card)
    text = (place / 'README.md').read_text()
    commands = [text.split('```sh\n')[1].split('```')[0]]
    if 'task' not in card:  # of which prediction is next
        assert main([str(place), str(tmp_path / 'export')]) == 0
        commands.append(capsys.readouterr().out.splitlines()[-1].removeprefix('next: '))
    for command in commands:
        loaded = begun(command, dataset, datasets, place)
        assert loaded.parts[0] == 'encoder' and ('decoder' in loaded.parts) == (dataset[0] == 's')
        assert not any(line.startswith('channels:') for line in loaded.lines)


def begun(command, dataset, data_dir, place):
    """What the network of a fine-tuning starts with, by a command with this dataset."""
    words = shlex.split(command.replace('DATASET', dataset).replace('\\\n', ' '))
    assert words[:2] == ['python', 'main.py']
    values = flags.FlagValues()
    flag = config_flags.DEFINE_config_file('config', flag_values=values)
    flags.DEFINE_string('workdir', None, '', flag_values=values)
    words = [word.replace('=configs/', f'={ROOT}/configs/') for word in words[1:]]
    words += [f'--config.data.dir={data_dir}']
    with warnings.catch_warnings(), mock.patch('sys.argv', words):  # ml_collections reads that too
        warnings.simplefilter('ignore', DeprecationWarning)  # how it loads a file
        values(words)
    config = flag.value
    config.init = str(place.parent / config.init)  # (a card names the folder alone)
    prepared = labelled.open_labelled(config)
    network = make_network(config, TASKS[config.task].out_channels(prepared.about['classes']))
    return transfer.open_start(config, transfer.shapes_of(network, prepared.shape[-1]))


def test_a_start_of_another_view_is_told(datasets, tmp_path):
    place = written(tmp_path, **ADJACENT, outputs=3, parts=['encoder'])
    command = (
        'python main.py --config=configs/ncc.py:orthogonal --config.data.name=classify '
        '--config.model.width=4 --config.model.epsilon=1e-3 --config.init=hub'
    )
    line = 'channels: as of config.data.view=adjacent there, orthogonal here'
    assert line in begun(command, 'classify', datasets, place).lines
    command = command.replace(':orthogonal', ':2.5d')
    assert line not in begun(command, 'classify', datasets, place).lines


def test_a_pretraining_tells_how_its_dataset_was_read(tmp_path, rng):
    for kind in ('images', 'slices'):
        (tmp_path / kind).mkdir()
    for index in range(2):
        pixels = rng.integers(0, 255, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{index}.png')
        voxels = rng.integers(-500, 500, (4, 32, 32)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / 'slices' / f'{index}.nrrd'))
    prepared = {
        'depth': (images, 'images', []),
        'robust': (images, 'images', ['--window=robust']),
        'single': (slices, 'slices', ['--min_tissue=0']),
        'three': (slices, 'slices', ['--min_tissue=0', '--channels=3']),
    }
    config = genesis_ct_2d.get_config().data
    config.dir, found = str(tmp_path / 'data'), {}
    for name, (module, source, options) in prepared.items():
        paths = [f'--source={tmp_path / source}', f'--data_dir={config.dir}', f'--name={name}']
        common = ['--size=32,32', '--validation_share=0.5', '--workers=1']
        assert module.main([*paths, *common, *options]) == 0
        config.name = name
        found[name] = view_and_window(config)
    assert found == {
        'depth': {'view': None, 'full_range': True},
        'robust': {'view': None, 'full_range': False},
        'single': {'view': 'slices'},
        'three': {'view': 'adjacent'},
    }
