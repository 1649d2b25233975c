"""Shared by all tests: four simulated devices, cached programs, strict broadcasting."""

import functools
import gc
import importlib
import importlib.metadata
import inspect
import json
import locale
import os
import shutil
import tempfile
import types
from pathlib import Path

os.environ.setdefault(
    'JAX_COMPILATION_CACHE_DIR', str(Path(tempfile.gettempdir()) / 'genesis_jax_tests_xla')
)
# Tests compile much and compute little: programs that LLVM does not optimise are made in half the
# time, or up to JAX 0.10 in a fifth. Their roundings differ a little, which no test may mind.
UNOPTIMISED = '--xla_backend_optimization_level=0'
if importlib.metadata.version('jaxlib') < '0.11':  # later ones do not know the flag, and end
    UNOPTIMISED += ' --xla_cpu_use_fusion_emitters=false'
os.environ.setdefault('XLA_FLAGS', UNOPTIMISED)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)

GOLDEN = Path(__file__).parent / 'data'

# --- Programs are traced once for all tests whose configs differ in nothing that reaches them.
MAKERS = ('genesis_jax.pretrain:make_steps', 'genesis_jax.finetune:make_steps')
OUTSIDE = {'batch_size', 'patience', 'log_every', 'pictures', 'picture_epochs', 'runs', 'init'}
OUTSIDE |= {
    'transfer',
    'profile_steps',
    'seed',
    'label_fraction',
    'steps_per_epoch',
    'overlap',
    'mirror',
    'data',
}
PROGRAMS = {}


def _remember(make):
    """`make(config, ...)`, which makes the steps of a config, with a memory."""

    @functools.wraps(make)
    def remembered(config, *rest, **more):
        if any(isinstance(one, types.FunctionType) for one in (*rest, *more.values())):
            return make(config, *rest, **more)  # factors of learning rates cannot be compared
        given = inspect.signature(make).bind(config, *rest, **more).arguments
        decays = config.schedule.name in ('cosine', 'poly', 'sawtooth')
        outside = OUTSIDE | (set() if decays else {'epochs'})
        if config.schedule.name == 'plateau' and not config.schedule.warmup_steps:
            outside |= {'steps_per_epoch'}
        fields = {**config.to_dict(), **given, 'config': None}
        fields = {name: value for name, value in fields.items() if name not in outside}
        key = repr((make.__module__, fields, config.data.window))
        if key not in PROGRAMS:
            PROGRAMS[key] = make(config, *rest, **more)
        return PROGRAMS[key]

    return remembered


for module, name in (maker.split(':') for maker in MAKERS):
    module = importlib.import_module(module)
    setattr(module, name, _remember(getattr(module, name)))


@pytest.fixture
def new_programs():
    """For tests that change what programs are made of."""
    before = PROGRAMS.copy()
    PROGRAMS.clear()
    yield PROGRAMS
    PROGRAMS.clear()
    PROGRAMS.update(before)


@pytest.fixture(scope='session')
def golden():
    """The folder of numbers made by the published implementation."""
    return GOLDEN


@pytest.fixture(scope='session')
def statistics(golden):
    """What the published transforms do to a patch of 64x64x32, in numbers."""
    return json.loads((golden / 'transform_statistics.json').read_text())['64x64x32']


@pytest.fixture(autouse=True, scope='module')
def _free_programs():
    """A process may map 65,530 pieces of memory, and every compiled program takes some of them."""
    yield
    maps = Path('/proc/self/maps')
    if maps.exists() and maps.read_bytes().count(b'\n') > 40_000:
        PROGRAMS.clear()
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def _locale():
    """Tests that write DICOM through ITK would leave the C locale to those after them."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope='session')
def small_data(tmp_path_factory):
    """A data_dir with the dataset `small`: 12 training, 4 validation patches of a real chest CT."""
    import SimpleITK as sitk

    from data_prep import demo, scans

    source, data_dir = tmp_path_factory.mktemp('scans'), tmp_path_factory.mktemp('data')
    chest = sitk.ReadImage(str(demo.chest_file('CTChest4.nrrd')))
    for start in (0, 32, 64, 96):
        sitk.WriteImage(chest[start : start + 32, 32:96, :], str(source / f'slab_{start}.nrrd'))
    options = '--cube_size=24,24,8 --border_low=0,0,0 --border_high=0,0,0 --cubes_per_scan=4'
    paths = [f'--source={source}', f'--data_dir={data_dir}']
    fixed = '--name=small --modality=ct --validation_share=0.25 --max_tissue=1 --workers=1'
    assert scans.main([*paths, *fixed.split(), *options.split()]) == 0
    return data_dir


@pytest.fixture(scope='session')
def make_config(small_data):
    """Makes configs that train on `small` in seconds: 3 steps an epoch, 2 epochs.

    Corruption is painting; shuffling and curves, which compile long, are on where they matter.
    """
    from configs import genesis_ct

    def make(**fields):
        config = genesis_ct.get_config()
        small = {
            'data.dir': str(small_data),
            'data.name': 'small',
            'model.width': 2,
            'batch_size': 4,
            'epochs': 2,
            'log_every': 1,
            'optimizer.learning_rate': 0.1,
            'pictures': 2,
            'transforms.shuffle_probability': 0.0,
            'transforms.nonlinear_probability': 0.0,
        }
        fields = {name.replace('__', '.'): value for name, value in fields.items()}
        config.update_from_flattened_dict(small | fields)
        return config

    return make


@pytest.fixture(scope='session')
def balls(tmp_path_factory):
    """A data_dir with labelled datasets of bright balls in noise; see tests/make_labelled.py."""
    from make_labelled import make

    folder = tmp_path_factory.mktemp('balls')
    make(folder, 'seg', 'segmentation', whole=True)
    make(folder, 'cls', 'classification')
    make(folder, 'folds', 'classification', splits=[f'fold_{i % 3}' for i in range(6)])
    make(folder, 'many', 'segmentation', classes=3, channels=2)
    return folder


@pytest.fixture(scope='session')
def make_target(balls):
    """Makes configs of a target task on `balls`, of seconds: width 2, two epochs.

    At a rate at which sixty steps show that something is learned: all tests share its programs.
    """
    from configs import classify, segment

    def make(name, **fields):
        config = (segment if name in ('seg', 'many') else classify).get_config()
        small = {
            'data.dir': str(balls),
            'data.name': name,
            'model.width': 2,
            'batch_size': 4,
            'epochs': 2,
            'log_every': 1,
            'optimizer.learning_rate': 1e-2,
        }
        if config.task == 'classification':
            small['model.hidden'] = 8
        fields = {key.replace('__', '.'): value for key, value in fields.items()}
        config.update_from_flattened_dict(small | fields)
        return config

    return make


@pytest.fixture
def frames(tmp_path):
    """Twelve images, two for each of six patients, in four formats; and their classes."""
    from PIL import Image
    from pixels import pixels_of

    source = tmp_path / 'frames'
    rows = []
    for index in range(12):
        name = f'p{index // 2}/f{index}.{("png", "jpg", "tif", "BMP")[index % 4]}'
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_of(index)).save(source / name)
        rows.append([name, 'abc'[index % 3], f'patient{index // 2}'])
    return source, rows


@pytest.fixture(scope='session')
def pretrained(tmp_path_factory):
    """A workdir with the exports of a pre-training at width 2, without the pre-training."""
    from genesis_jax.checkpoints import export
    from genesis_jax.models import UNet3D

    workdir = tmp_path_factory.mktemp('pretrained')
    network = UNet3D(width=2)
    variables = jax.jit(
        lambda: network.init(jax.random.key(7), np.zeros((1, 16, 16, 16, 1)), train=False)
    )()
    card = {
        'network': 'unet3d',
        'in_channels': 1,
        'out_channels': 1,
        'config': {'model': {'width': 2, 'upsample': 'transpose', 'epsilon': 1e-5}},
    }
    for name, parts in (
        ('encoder', ('encoder',)),
        ('encoder_decoder', ('encoder', 'decoder', 'head')),
    ):
        export(workdir / 'export' / name, variables, parts, card | {'parts': list(parts)})
    return workdir


@pytest.fixture(scope='module')
def sources(request, tmp_path_factory):
    """Phantoms by layout, of as many patients as the module's PHANTOMS says; not to be changed."""
    from segmented import make

    base = tmp_path_factory.mktemp('sources')
    wanted = request.module.PHANTOMS.items()
    return {layout: make(layout, base / layout, patients) for layout, patients in wanted}


@pytest.fixture
def copied(sources, tmp_path):
    """Makes a copy of a phantom, to be spoiled."""
    return lambda layout: shutil.copytree(sources[layout], tmp_path / layout)
