"""Configs and flags: every mistake is one sentence, before anything is compiled."""

import functools
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from configured import changed

from configs import demo, ecc, genesis_ct, genesis_ct_2d, ncc, ncs
from genesis_jax.config import check_cubes, difference, resolve, to_json
from genesis_jax.data import labelled, reading
from genesis_jax.data.fit import check_shape
from genesis_jax.errors import UserError

ROOT = Path(__file__).parent.parent


# Imports what takes seconds once; main.py then runs in a process of its own for every line.
FORKS = """
import gc, json, os, runpy, sys
import genesis_jax.finetune, genesis_jax.pretrain

gc.collect(), gc.freeze(), gc.disable()  # a collection would copy all that a child shares with us

for line in sys.stdin:
    argv, env, files = json.loads(line)
    child = os.fork()
    if not child:
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
        os.environ.update(env)
        sys.argv = argv
        runpy.run_path('main.py', run_name='__main__')
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def forks():
    return subprocess.Popen(
        [sys.executable, '-c', FORKS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope='module', autouse=True)
def _no_forks_stay():
    yield
    if forks.cache_info().currsize:
        forks().communicate()


def run_main(*arguments, env=None):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ('out', 'err')]
        asked = (['main.py', *arguments], env or {}, [*map(str, files)])
        print(json.dumps(asked), file=forks().stdin, flush=True)
        status = int(forks().stdout.readline())
        said = (file.read_text() for file in files)
        return subprocess.CompletedProcess(arguments, status, *said)


@pytest.mark.parametrize(
    'flag, sentence',
    [
        (
            '--config.model.widht=8',
            'there is no field config.model.widht; the nearest is config.model.width',
        ),
        ('--config.learning_rate=8', 'the nearest is config.optimizer.learning_rate'),
        ('--config.zzz=x', 'no field config.zzz; expected one of batch_per_device, '),
        ('--config.steps_per_epoch=8', 'data.…, dimensions, '),
        ('--config.schedule.gamma=8', 'expected one of schedule.epochs, schedule.'),
        ('--config.schedule.epoch=8', 'the nearest is config.schedule.epochs'),
        ('--config.data_dir=8', 'the nearest is config.data.dir'),
        ('--config.model.width=wide', '--config.model.width=wide: expected int'),
        ('--config.seed=1.5', '--config.seed=1.5: expected int'),
        ('--config.model.remat=maybe', '--config.model.remat=maybe: expected bool'),
        ('--config.batch_size=six', '--config.batch_size=six: expected int'),
        ('--config.model=8', 'config.model is a group of fields'),
        ('--config=configs/nc.py', 'configs/nc.py; the nearest are configs/ncs.py, configs/ncc.py'),
        ('--config=config/ncs.py', 'no config config/ncs.py; the nearest are configs/ncs.py'),
        ('--config=configs/target.py', 'is no experiment of its own; expected one of bms.py, clas'),
        (
            '--config=configs/genesis_ct.py:blurring',
            "no variant 'blurring'; expected unified, dist",
        ),
        ('--config=configs/dxc.py:2d', 'error: configs/dxc.py has no variants; leave :2d out'),
    ],
)
def test_a_wrong_flag_is_one_sentence(flag, sentence, tmp_path):
    done = run_main('--config=configs/genesis_ct.py', flag, f'--workdir={tmp_path / "run"}')
    assert done.returncode != 0
    assert sentence in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'run').exists()


def test_flags_may_be_written_with_a_space(tmp_path):
    done = run_main(
        '--config', 'configs/genesis_ct.py', '--workdir', 'x', '--config.model.widht', '8'
    )
    assert 'the nearest is config.model.width' in done.stderr
    done = run_main(
        '--config', 'configs/genesis_ct.py', '--workdir', 'x', '--config.model.width', '8x'
    )
    assert '--config.model.width=8x: expected int' in done.stderr


def test_a_missing_flag_is_one_sentence():
    for arguments, missing in ((), 'config'), (['--config=configs/genesis_ct.py'], 'workdir'):
        done = run_main(*arguments)
        assert done.returncode != 0
        (line,) = done.stderr.splitlines()
        assert line.startswith(f'error: found no --{missing}; expected ')


def test_an_incomplete_cluster_is_one_sentence(tmp_path):
    done = run_main(
        '--config=configs/genesis_ct.py',
        f'--workdir={tmp_path}',
        env={'JAX_COORDINATOR_ADDRESS': 'localhost:1'},
    )
    assert 'set all three or none' in done.stderr and 'Traceback' not in done.stderr


def test_a_missing_dataset_names_the_command_that_prepares_it(tmp_path):
    arguments = [f'--workdir={tmp_path / "run"}', f'--config.data.dir={tmp_path}']
    done = run_main('--config=configs/genesis_ct.py', *arguments)
    assert done.returncode == 1
    assert f'python -m data_prep.luna16 --source=LUNA16 --data_dir={tmp_path}' in done.stderr
    assert 'Traceback' not in done.stderr
    own = run_main('--config=configs/genesis_ct.py', '--config.data.name=mine', *arguments)
    assert 'python -m data_prep.scans --name=mine --modality=ct' in own.stderr


@pytest.mark.parametrize(
    ('name', 'fields', 'command'),
    [
        ('genesis_ct', {}, 'scans --name=mine --modality=ct --source=SCANS'),
        ('genesis_mri', {}, 'scans --name=mine --modality=ct --source=SCANS'),
        ('genesis_ct_2d', {}, 'slices --name=mine --modality=ct --source=SCANS'),
        ('genesis_ct_2d', {}, 'images --name=mine --source=IMAGES'),
        ('genesis_ct_2d', {'view': 'slices'}, 'scans --name=mine --modality=ct --source=SCANS'),
        ('dxc', {}, 'images --name=mine --source=IMAGES --csv=LABELS.csv'),
        ('iuc', {}, 'images --name=mine --source=IMAGES --csv=LABELS.csv'),
        ('ncc', {}, 'candidates --name=mine --source=SCANS --csv=POINTS.csv'),
        ('ncc', {'view': 'slices'}, 'candidates --name=mine --source=SCANS --csv=POINTS.csv'),
        ('lcs', {}, 'nnunet --name=mine --source=FOLDER'),
    ],
)
def test_a_missing_dataset_of_ones_own_names_what_can_prepare_it(name, fields, command, tmp_path):
    config = importlib.import_module(f'configs.{name}').get_config()
    config.data.update({'dir': str(tmp_path), 'name': 'mine', **fields})
    if 'view' in fields:
        config.dimensions = 2
    opened = reading.open_splits if config.task == 'restoration' else labelled.open_labelled
    with pytest.raises(UserError) as error:
        opened(config)
    assert f'python -m data_prep.{command} --data_dir={tmp_path}' in str(error.value)


def test_help_explains_itself():
    done = run_main('--help')
    assert 'configs/NAME.py' in done.stdout and 'gs://BUCKET' in done.stdout
    assert 'None' not in done.stdout


@pytest.mark.parametrize(
    'field, value, sentence',
    [
        ('transforms__paint_probability', 1.2, 'a probability between 0 and 1'),
        ('transforms__shuffle_probability', -0.1, 'a probability between 0 and 1'),
        ('transforms__fill', 'snow', "'noise' or 'constant'"),
        ('optimizer__name', 'lion', "'sgd' or 'adam' or 'adamw'"),
        ('schedule__name', 'linear', "'plateau' or 'step' or 'cosine'"),
        ('model__width', 0, 'a number above 0'),
        ('optimizer__learning_rate', -1.0, 'a number above 0'),
        ('optimizer__momentum', 1.0, 'from 0 to below 1'),
        ('schedule__factor', 2.0, 'a factor between 0 and 1'),
        ('data__window', (5, 5), 'low,high in the unit'),
        ('data__window', ('a', 'b'), 'low,high in the unit'),
        ('data__name', '', 'a letter, then'),
        ('data__name', '../luna16', 'a letter, then'),
        ('epochs', 0, 'a number above 0'),
        ('picture_epochs', 0, 'a number above 0'),
        ('schedule__min_delta', 0.0, 'a number above 0'),
        ('model__epsilon', -1.0, 'a number above 0'),
        ('model__batch_norm_momentum', 1.0, 'from 0 to below 1'),
        ('seed', -1, '0 or more'),
        ('profile_steps', (20, 10), 'the first and the last step'),
        ('profile_steps', (5,), 'the first and the last step'),
    ],
)
def test_values_that_cannot_run_are_refused(field, value, sentence):
    with pytest.raises(UserError) as refused:
        resolve(changed(**{field: value}), devices=1)
    assert sentence in str(refused.value)
    assert f'config.{field.replace("__", ".")}={value}' in str(refused.value)


@pytest.mark.parametrize(
    ('fields', 'sentence'),
    [
        (
            {'head_warmup_epochs': 1000, 'init': 'x'},
            'fewer than config.epochs=1000, otherwise only',
        ),
        ({'head_warmup_epochs': 2}, 'head_warmup_epochs=2: expected 0 with config.init=scratch'),
    ],
)
def test_protocols_that_mean_nothing_are_refused(fields, sentence):
    config = ncc.get_config()
    config.update(fields)
    with pytest.raises(UserError, match=sentence):
        resolve(config, devices=1)
    config.update({'init': 'x', 'head_warmup_epochs': 999})
    resolve(config, devices=1)
    config.update({'init': 'scratch', 'head_warmup_epochs': 0, 'freeze': 'encoder'})
    resolve(config, devices=1)


def test_a_decoder_that_is_not_there_cannot_be_frozen():
    config = ncc.get_config()
    config.freeze = 'encoder_decoder'
    with pytest.raises(UserError, match="'encoder' or 'none' in classification, which has no dec"):
        resolve(config, devices=1)


def test_the_global_batch_is_six_on_each_device_unless_given():
    assert resolve(genesis_ct.get_config(), devices=1).batch_size == 6
    assert resolve(genesis_ct.get_config(), devices=8).batch_size == 48
    assert resolve(changed(batch_size=16), devices=8).batch_size == 16
    with pytest.raises(UserError, match='8 devices cannot share it evenly; use 8 or 16'):
        resolve(changed(batch_size=12), devices=8)
    with pytest.raises(UserError, match='use 8 or 16'):
        resolve(changed(batch_size=3), devices=8)


def test_cubes_must_fit_network_and_batch():
    config = resolve(genesis_ct.get_config(), devices=1)
    check_cubes(config, (64, 64, 32, 1), 6)
    published = resolve(changed(transforms__flip_axes=(0, 1, -1)), devices=1)
    check_cubes(published, (64, 64, 32, 1), 6)
    assert check_shape(config, (64, 64, 32, 1)) == (64, 64, 32, 1)
    with pytest.raises(UserError, match='divide by 8.*--cube_size'):
        check_shape(config, (60, 64, 32, 1))
    with pytest.raises(UserError, match='1000000000 windows; expected 1 to 100 times 131072'):
        check_cubes(resolve(changed(transforms__shuffle_windows=10**9), 1), (64, 64, 32, 1), 100)
    with pytest.raises(UserError, match='warmup_steps=500: expected fewer than the 16 of the run'):
        check_cubes(resolve(changed(schedule__warmup_steps=500, epochs=1), 1), (64, 64, 32, 1), 100)
    with pytest.raises(UserError, match=r'profile_steps=\(50, 60\): expected within the 16 of the'):
        check_cubes(resolve(changed(profile_steps=(50, 60), epochs=1), 1), (64, 64, 32, 1), 100)
    with pytest.raises(UserError, match='5 patches, less than one batch'):
        check_cubes(config, (64, 64, 32, 1), 5)
    config = resolve(genesis_ct_2d.get_config(), devices=1)
    with pytest.raises(UserError, match='5 images, less than one batch.* prepare more images'):
        check_cubes(config, (64, 64, 1), 5)


@pytest.mark.parametrize('file', sorted((ROOT / 'configs').glob('*.py')), ids=lambda f: f.stem)
def test_every_config_can_run(file):
    if file.stem != 'target':
        config = importlib.import_module(f'configs.{file.stem}').get_config()
        resolved = resolve(config, devices=1)
        width = {2: 64, 3: 4 if 'demo' in file.stem else 32}
        assert resolved.model.width == width[resolved.dimensions]


@pytest.mark.parametrize('module', [ncc, ecc, ncs])
def test_target_tasks_are_read_in_2d(module):
    views = {'2d': 'slices', '2.5d': 'adjacent', 'orthogonal': 'orthogonal'}
    if module is ncs:
        del views['orthogonal']
        with pytest.raises(ValueError, match="variant 'orthogonal'; expected 3d, 2d, 2.5d"):
            module.get_config('orthogonal')
    in_3d = resolve(module.get_config(), devices=1)
    for name, view in views.items():
        config = resolve(module.get_config(name), devices=1)
        assert config.dimensions == 2 and config.data.view == view
        assert config.data.name == in_3d.data.name and config.patience == in_3d.patience
    with pytest.raises(ValueError, match="no variant '4d'"):
        module.get_config('4d')


@pytest.mark.parametrize(
    ('fields', 'shape', 'sentence'),
    [
        ({'dimensions': 3}, (64, 64, 1), r'=3 and the dataset .luna16. has 2D records \(64x64x1'),
        ({'dimensions': 2}, (64, 64, 32, 1), 'dimensions=2 .* 3D .*--config.data.view=slices'),
        ({'dimensions': 2}, (40, 64, 1), 'divide by 32.*--size'),
        ({'dimensions': 2, 'data.view': 'slices'}, (40, 64, 8, 1), 'divide by 32.*--cube_size'),
        ({'dimensions': 2, 'data.view': 'slices'}, (64, 64, 1), 'slices is of 3D records and .*2D'),
    ],
)
def test_records_must_have_the_dimensions_of_the_network(fields, shape, sentence):
    with pytest.raises(UserError, match=sentence):
        check_shape(resolve(changed(transforms__flip_axes=(0, 1), **fields), devices=1), shape)


@pytest.mark.parametrize(
    ('fields', 'shape'),
    [
        ({'dimensions': 2}, (64, 64, 32, 1)),
        ({'dimensions': 2, 'data.view': 'slices'}, (64, 64, 1)),
    ],
)
def test_a_config_that_is_settled_is_not_to_be_changed(fields, shape):
    config = resolve(changed(transforms__flip_axes=(0, 1), **fields), devices=1)
    with pytest.raises(UserError, match='; choose another --name$'):
        check_shape(config, shape, other='--name')


@pytest.mark.parametrize(
    ('fields', 'sentence'),
    [
        ({'data.view': 'slices'}, 'none in 3D'),
        ({'dimensions': 2, 'data.view': 'sagittal'}, "'slices' or 'adjacent' or 'orthogonal'"),
        ({'dimensions': 2, 'data.view': 'orthogonal'}, "'slices' or 'adjacent' in restoration"),
        ({'dimensions': 4}, '2 or 3'),
        ({'dimensions': 2}, r'flip_axes=\(0, 1, 2\): expected axes among \(0, 1, -1\)'),
        ({'transforms__flip_axes': (0, -2)}, r'flip_axes=\(0, -2\): expected axes among'),
    ],
)
def test_what_dimensions_cannot_have_is_refused(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve(changed(**fields), devices=1)


def test_runs_of_earlier_versions_resume():
    config = resolve(genesis_ct.get_config(), devices=1)
    saved = to_json(config)
    del saved['dimensions'], saved['data']['view']
    assert difference(saved, config) is None
    in_2d = resolve(changed(dimensions=2, transforms__flip_axes=(0, 1)), devices=1)
    assert difference(saved, in_2d) == ('dimensions', 3, 2)


@pytest.mark.parametrize(
    'variant, happening',
    [
        ('unified', {'shuffle', 'nonlinear', 'out', 'in'}),
        ('distortion', {'shuffle', 'nonlinear'}),
        ('painting', {'out', 'in'}),
        ('nonlinear', {'nonlinear'}),
        ('shuffling', {'shuffle'}),
        ('outpainting', {'out'}),
        ('inpainting', {'in'}),
        ('autoencoder', set()),
    ],
)
@pytest.mark.parametrize('module', [genesis_ct, demo])
def test_variants_do_what_they_are_called(module, variant, happening):
    transforms = module.get_config(variant).transforms
    paint, out = transforms.paint_probability, transforms.outpaint_probability
    probabilities = {
        'shuffle': transforms.shuffle_probability,
        'nonlinear': transforms.nonlinear_probability,
        'out': paint * out,
        'in': paint * (1 - out),
    }
    assert {name for name, p in probabilities.items() if p > 0} == happening
