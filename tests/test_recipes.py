"""Recipes beyond the published one, from a real chest CT to the Dice of what starts from them."""

import csv

import pytest
from commands import python

RECIPES = {  # config, and what makes it small
    'mae_ct': (
        *('--config.transforms.mask_block=8', '--config.data.name=fixed', '--config.batch_size=8'),
        '--config.optimizer.learning_rate=1e-2',
    ),
    'genesis_resenc': (
        *('--config.data.name=whole', '--config.transforms.shuffle_windows=1000'),
        *('--config.model.dtype=float32', '--config.batch_size=8'),
        '--config.optimizer.learning_rate=3e-3',
    ),
}
NETWORK = {
    'mae_ct': ('--config.model.width=4',),
    'genesis_resenc': (
        *('--config.model.width=4', '--config.model.name=resenc3d'),
        '--config.model.blocks=1,1,1',
    ),
}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    """The demo's chest CT as fixed patches, as whole volumes and with its labels."""
    folder = tmp_path_factory.mktemp('chest')
    to, source = f'--data_dir={folder}/data', f'--source={folder}/labelled'
    python('-m', 'data_prep.demo_labels', f'--out={folder}/labelled')
    images = ('-m', 'data_prep.scans', f'{source}/imagesTr', to, '--modality=ct')
    images += ('--spacing=3.047,3.047,3.333', '--validation_share=0.5', '--cube_size=32,32,8')
    images += ('--border_low=0,0,0', '--border_high=0,0,0', '--max_tissue=1', '--workers=1')
    python(*images, '--name=fixed', '--cubes_per_scan=32')
    python(*images, '--name=whole', '--volumes')
    labels = ('-m', 'data_prep.nnunet', source, to, '--name=labels', '--seed=4')
    python(*labels, '--spacing=3.047,3.047,3.333', '--cube_size=64,64,8')
    return folder / 'data'


@pytest.mark.slow
@pytest.mark.parametrize('recipe', RECIPES)
def test_from_a_real_scan_to_a_metric(recipe, data_dir, tmp_path):
    start, target = tmp_path / 'start', tmp_path / 'target'
    short = [f'--config.data.dir={data_dir}', '--config.pictures=0', *NETWORK[recipe]]
    first = [f'--config=configs/{recipe}.py', *short, *RECIPES[recipe], f'--workdir={start}']
    said = python('main.py', *first, '--config.epochs=2', '--config.schedule.warmup_steps=2')
    assert 'corrupted patch left unchanged' in said
    second = ['--config=configs/demo_labels.py', *short, '--config.data.name=labels']
    second += ['--config.steps_per_epoch=20', '--config.epochs=3']
    second += [f'--config.init={start}', f'--workdir={target}']
    said = python('main.py', *second)
    assert f'from {start}' in said
    with (target / 'results.csv').open() as lines:
        (row,) = csv.DictReader(lines)
    assert float(row['dice']) > 0.1  # a network that answers background everywhere has 0
