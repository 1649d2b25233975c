"""From a folder in LUNA16's layout to a pre-trained encoder, with the commands a user types."""

import subprocess
import sys
from pathlib import Path

import pytest

from genesis_jax.checkpoints import load_export
from tests.test_processes import environment, rows_of

ROOT = Path(__file__).parent.parent


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(1),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_phantom_scans_go_through_the_published_recipe(tmp_path):
    """The paper's rule and recipe; only the network and the number of cubes are smaller."""
    source, data_dir, workdir = (tmp_path / name for name in ('luna16', 'data', 'run'))
    run('-m', 'data_prep.phantom', f'--out={source}')
    assert len(list(source.glob('subset*/*.mhd'))) == 10
    said = run(
        *('-m', 'data_prep.luna16', f'--source={source}', f'--data_dir={data_dir}'),
        '--cubes_per_scan=4',
    )
    assert 'Scans read: 7' in said and 'train: 20 cubes' in said and 'validation: 8 cubes' in said
    said = run(
        *('main.py', '--config=configs/genesis_ct.py', f'--workdir={workdir}'),
        *(f'--config.data.dir={data_dir}', '--config.model.width=2', '--config.epochs=2'),
        '--config.log_every=1',
    )
    assert '20 cubes of 64x64x32x1 for training, 8 for validation' in said
    assert '6 in all, 6 on each device' in said and 'not scaled by the batch' in said
    epochs = [row for row in rows_of(workdir) if 'epoch' in row]
    assert [row['epoch'] for row in epochs] == [1, 2]
    assert 0 < epochs[-1]['validation/cube_mean'] < epochs[-1]['validation/unchanged']
    variables, card = load_export(workdir / 'export' / 'encoder')
    assert variables['params']['encoder']['level_0']['block_0']['conv']['kernel'].shape[-1] == 2
    assert card['cubes'] == {'train': 20, 'validation': 8}
    assert card['scans'] == {'train': 5, 'validation': 2} and card['modality'] == 'ct'
    assert card['folds'] == {'train': [0, 1, 2, 3, 4], 'validation': [5, 6]}
