"""2D from raw files to a metric, by the commands that a user types, on miniature data.

Each source is prepared once, a network is pre-trained on it, and every target task starts from one.
"""

import csv
import re

import pytest
import SimpleITK as sitk
from commands import python

from data_prep import demo

pytestmark = pytest.mark.slow

SMALL = ['--config.model.width=4', '--config.epochs=2', '--config.batch_size=8']
SMALL += ['--config.pictures=1']
TASKS = {  # config: what prepares its data, which pre-training starts it, metric
    'dxc': ('radiographs', 'xray', 'auc'),
    'iuc': ('frames', 'ultrasound', 'accuracy'),
    'ncc:2d': ('nodules', 'ct', 'auc'),
    'ncc:2.5d': ('nodules', 'ct', 'auc'),
    'ncc:orthogonal': ('nodules', 'ct', 'auc'),
    'ecc:2d': ('emboli', 'ct', 'auc'),
    'ncs:2d': ('masks', 'ct', 'mean_iou_paper'),
    'ncs:2.5d': ('masks', 'ct', 'mean_iou_paper'),
}
PHANTOMS = {  # layout, patients, preparations
    'radiographs': ('chestxray', 24, ['chestxray --size=32,32']),
    'frames': (
        'ultrasound',
        9,
        [
            'images --name=ultrasound --patient_pattern=(.*)/ --size=32,32',
            'images --csv={source}/labels.csv --name=iuc --size=32,32',
        ],
    ),
    'nodules': ('luna16_candidates', 10, ['luna16_candidates --cube_size=32,32,16']),
    'emboli': ('candidates', 6, ['candidates --csv={source}/candidates.csv --cube_size=32,32,32']),
    'masks': ('lidc', 6, ['lidc --cube_size=32,32,16']),
    'mr': ('brats2018', 6, ['scans --name=mri --modality=mri --cube_size=32,32,16 --max_tissue=1']),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('tasks_2d')


@pytest.fixture(scope='module')
def prepare(folder):
    """Prepares a source of PHANTOMS, once, in `folder/data`."""
    done = {}

    def run(name):
        if name not in done:
            layout, patients, preparations = PHANTOMS[name]
            source = folder / name
            made = [f'--layout={layout}', f'--patients={patients}', f'--out={source}']
            python('-m', 'data_prep.phantom', *made)
            for preparation in preparations:
                module, *options = preparation.format(source=source).split()
                paths = [f'--source={source}', f'--data_dir={folder / "data"}']
                python('-m', f'data_prep.{module}', *paths, *options)
            done[name] = source

    return run


@pytest.fixture(scope='module')
def pretrain(folder, prepare):
    """Pre-trains, once, on `ct` (real slices), `xray`, `ultrasound` or `mri`; gives its workdir."""

    def run(name):
        workdir = folder / 'runs' / name
        if not workdir.exists():
            if name == 'ct':
                real_slices(folder)
            else:
                prepare({'xray': 'radiographs', 'ultrasound': 'frames', 'mri': 'mr'}[name])
            config = 'genesis_ct_2d' if name == 'ct' else f'genesis_{name}'
            said = main(folder, config, workdir)
            error = float(re.search(r'restoration, best +(\S+)', said)[1])
            assert 0 < error < float(re.search(r'left unchanged +(\S+)', said)[1])
        return workdir

    return run


def real_slices(folder):
    """Axial slices of a real chest CT, above and below, as those of two scans."""
    chest = sitk.ReadImage(str(demo.chest_file('CTChest4.nrrd')))
    (folder / 'chest').mkdir()
    for start in (0, 17):
        sitk.WriteImage(chest[:, :, start : start + 17], str(folder / 'chest' / f'{start}.nrrd'))
    options = ['--validation_share=0.5', '--size=64,64', '--name=luna16_slices']
    paths = [f'--source={folder / "chest"}', f'--data_dir={folder / "data"}']
    said = python('-m', 'data_prep.slices', *paths, *options)
    assert 'train: 17 slices from 1 scan of 1 patient\n  validation: 17 slices' in said


def main(folder, config, workdir, *options):
    where = [f'--config.data.dir={folder / "data"}', f'--workdir={workdir}']
    name, _, variant = config.partition(':')
    file = f'configs/{name}.py' + (f':{variant}' if variant else '')
    return python('main.py', f'--config={file}', *where, *SMALL, *options)


def results_of(workdir):
    with (workdir / 'results.csv').open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize('task', TASKS)
def test_every_task_from_raw_files_through_a_pretraining_to_a_metric(
    task, folder, prepare, pretrain
):
    source, start, metric = TASKS[task]
    prepare(source)
    init = f'--config.init={pretrain(start)}'
    workdir = folder / 'runs' / task.replace(':', '_')
    fold = '0' if task in ('ecc:2d', 'iuc') else ''
    options = [init, '--config.steps_per_epoch=2'] + [f'--config.data.fold={fold}'] * bool(fold)
    assert f'| {metric} |' in main(folder, task, workdir, *options)
    (row,) = results_of(workdir)
    assert row['fold'] == fold and 0 <= float(row[metric]) <= 1
    report = (workdir / 'report.md').read_text()
    assert f'start: from {pretrain(start)}' in report
    # The recipe is the variant, and differs in nothing but what the command says.
    name, _, variant = task.partition(':')
    file, changed = re.search(r'recipe: (\S+), but (.+)', report).groups()
    assert file == f'configs/{name}.py' + (f':{variant}' if variant else '')
    fields = {field.partition('=')[0] for field in changed.split(', ')}
    given = {option.removeprefix('--config.').partition('=')[0] for option in [*SMALL, *options]}
    assert {'init', 'steps_per_epoch', 'model.width'} <= fields <= given


def test_volumes_of_mr_pretrain_in_3d(pretrain):
    assert (pretrain('mri') / 'export' / 'encoder_decoder').is_dir()


def test_imagenet_weights_start_a_task(folder, prepare, tmp_path):
    torch = pytest.importorskip('torch')
    from resnets import ResNet

    torch.save(ResNet(width=4).state_dict(), tmp_path / 'resnet18.pth')
    prepare('radiographs')
    init = f'--config.init={tmp_path / "resnet18.pth"}'
    main(folder, 'dxc', tmp_path / 'run', init, '--config.steps_per_epoch=2')
    assert 'encoder (' in (tmp_path / 'run' / 'report.md').read_text()
