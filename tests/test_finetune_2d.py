"""Target tasks in 2D on bright balls in noise: views of 3D records, several findings, images."""

import csv

import jax
import ml_collections
import numpy as np
import pytest
import SimpleITK as sitk
from make_labelled import make
from PIL import Image

from configs import dxc, genesis_ct_2d, ncc, ncs
from data_prep import demo, scans
from genesis_jax import evaluate, metrics, parallel
from genesis_jax.checkpoints import load_export
from genesis_jax.data import labelled
from genesis_jax.errors import UserError
from genesis_jax.finetune import finetune
from genesis_jax.imaging.intensity import in_range
from genesis_jax.inference import ensemble
from genesis_jax.models import from_card
from genesis_jax.predict import main as predict_main
from genesis_jax.pretrain import pretrain

SMALL = {'model.width': 2, 'batch_size': 4, 'epochs': 1, 'log_every': 1}


@pytest.fixture(autouse=True)
def _no_start(monkeypatch):
    monkeypatch.setattr(parallel, 'start', lambda: None)  # JAX runs already


@pytest.fixture(scope='module')
def balls_2d(tmp_path_factory):
    """A data_dir with labelled records whose sides divide by 32."""
    folder = tmp_path_factory.mktemp('balls_2d')
    make(folder, 'seg', 'segmentation', whole=True, per_patient=1, size=(32, 32, 16))
    make(folder, 'cubes', 'segmentation', per_patient=1, size=(32, 32, 16))
    make(folder, 'cls', 'classification', size=(32, 32, 16))
    make(folder, 'found', 'multilabel', per_patient=4, size=(32, 32))
    return folder


def small(config, data_dir, name, **fields):
    config.data.dir, config.data.name = str(data_dir), name
    if 'hidden' in config.model:
        config.model.hidden = 8
    fields = {key.replace('__', '.'): value for key, value in fields.items()}
    config.update_from_flattened_dict(SMALL | {'steps_per_epoch': 2} | fields)
    return config


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def slice_by_slice(variables, card, record):
    """Probabilities `[X, Y, Z, 1]` of a record as large as the network's window."""
    network, patch = from_card(card), (record['cube'] + 1000.0) / 2000
    below = np.concatenate([patch[:, :, :1], patch[:, :, :-1]], axis=2)
    above = np.concatenate([patch[:, :, 1:], patch[:, :, -1:]], axis=2)
    seen = np.concatenate([below, patch, above], axis=-1).clip(0, 1).astype(np.float32)
    logits = jax.jit(network.predict)(variables, np.moveaxis(seen, 2, 0))
    return np.moveaxis(1 / (1 + np.exp(-np.asarray(logits))), 0, 2)


@pytest.fixture(scope='module')
def cubes_run(balls_2d, tmp_path_factory):
    """Segmented slices with their neighbours, of a dataset without whole scans."""
    workdir = tmp_path_factory.mktemp('cubes')
    (found,) = finetune(small(ncs.get_config('2.5d'), balls_2d, 'cubes'), workdir)
    return workdir / 'seed_0', found


def test_segmented_slices_are_scored_as_whole_cubes(cubes_run, balls_2d):
    run, found = cubes_run
    variables, card = load_export(run / 'export' / 'model')
    assert card['network'] == 'unet2d' and card['view'] == 'adjacent'
    assert card['cube_shape'] == [32, 32, 3] and card['record_shape'] == [32, 32, 16, 1]
    assert found['training_examples'] == 4 * 16 and found['examples'] == 2
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    expected = []
    for record in dataset.test.source:
        predicted = slice_by_slice(variables, card, record)
        expected += metrics.case_metrics(
            predicted, record['mask'], record['spacing'], card['classes']
        )
    written = rows_of(run / 'cases.csv')
    assert [row['patient'] for row in written] == dataset.patients['test']
    for row, wanted in zip(written, expected, strict=True):
        for name in ('dice', 'mean_iou_paper', 'hd95'):
            assert float(row[name] or 'nan') == pytest.approx(wanted[name], nan_ok=True, rel=1e-3)
    assert list((run / 'samples').glob('*.png'))


@pytest.mark.slow
def test_whole_scans_are_put_together_from_slices(balls_2d, tmp_path, capsys):
    (found,) = finetune(small(ncs.get_config('2d'), balls_2d, 'seg'), tmp_path)
    said = capsys.readouterr().out
    assert 'seg as slices: 64 train, 32 validation of 32x32x1, 2 whole scans to test' in said
    assert 'UNet2D, width 2' in said and found['examples'] == 2
    variables, card = load_export(tmp_path / 'seed_0' / 'export' / 'model')
    dataset = labelled.open_labelled(ml_collections.ConfigDict(card['config']))
    predict = ensemble.predictor(variables, card)
    rows, _ = evaluate.evaluate(predict, card, dataset, split='validation')
    assert len(rows) == 2  # whole patches, one of each patient


@pytest.mark.parametrize(
    ('reading', 'channels'),
    [pytest.param('2d', 1, marks=pytest.mark.slow), ('orthogonal', 3)],
)
def test_candidates_are_classified_by_planes(reading, channels, balls_2d, tmp_path):
    (found,) = finetune(small(ncc.get_config(reading), balls_2d, 'cls'), tmp_path)
    _, card = load_export(tmp_path / 'seed_0' / 'export' / 'model')
    assert card['network'] == 'classifier2d' and card['cube_shape'] == [32, 32, channels]
    assert found['examples'] == 4 and 0 <= found['metrics']['auc'] <= 1


@pytest.mark.slow
def test_several_findings_are_told_apart(balls_2d, tmp_path, capsys):
    quick = {'model.width': 4, 'optimizer.learning_rate': 1e-2}
    config = small(dxc.get_config(), balls_2d, 'found', epochs=8, steps_per_epoch=8, **quick)
    (found,) = finetune(config, tmp_path)
    run = tmp_path / 'seed_0'
    rows = rows_of(run / 'predictions.csv')
    columns = ['label_ball', 'label_fog', 'p_ball', 'p_fog']
    assert list(rows[0]) == ['patient', 'scan_id', *columns] and len(rows) == 8
    values = np.array([[float(row[name]) for name in columns] for row in rows])
    expected = metrics.findings_metrics(values[:, :2], values[:, 2:], ['ball', 'fog'])
    assert found['metrics'] == pytest.approx(expected)
    assert found['metrics']['auc_fog'] > 0.9  # the whole image is brighter
    assert found['metrics']['auc'] == pytest.approx(
        (expected['auc_ball'] + expected['auc_fog']) / 2
    )
    assert np.abs(values[:, 2:].sum(axis=1) - 1).max() > 0.1  # findings do not exclude each other
    for name in ('auc_ball', 'auc_fog'):
        assert f'| {name} |' in (run / 'report.md').read_text()
    capsys.readouterr()

    # --- On other images: the same as in the test, and what cannot be read is told.
    images = tmp_path / 'images'
    images.mkdir()
    variables, card = load_export(run / 'export' / 'model')
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (32, 32)).astype(np.uint8)).save(
            images / f'{index}.png'
        )
    (images / 'damaged.png').write_bytes((images / '0.png').read_bytes()[:100])
    arguments = [f'--model={run}', f'--input={images}', f'--output={tmp_path / "out"}']
    assert predict_main(arguments) == 1
    said = capsys.readouterr().out
    assert 'Images predicted: 3, skipped: 1' in said and 'damaged.png is damaged' in said
    told = rows_of(tmp_path / 'out' / 'predictions.csv')
    assert [row['image'] for row in told] == ['0.png', '1.png', '2.png']
    grey, (low, high) = in_range(np.asarray(Image.open(images / '1.png')).T)
    seen = ((grey[None, ..., None] - low) / np.float32(high - low)).clip(0, 1)
    wanted = 1 / (1 + np.exp(-np.asarray(jax.jit(from_card(card).predict)(variables, seen))))
    got = [float(told[1][name]) for name in ('p_ball', 'p_fog')]
    assert got == pytest.approx(list(wanted[0]), abs=1e-3)
    with pytest.raises(SystemExit):
        predict_main(
            [arguments[0], f'--input={tmp_path / "nofolder"}', f'--output={tmp_path / "none"}']
        )
    assert 'nofolder does not exist; check --input' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        predict_main([*arguments, '--candidates=x.csv', '--overwrite'])
    assert 'classifies whole images; leave out --candidates' in capsys.readouterr().err


@pytest.mark.slow
def test_a_pretraining_on_slices_starts_a_target_task(balls_2d, tmp_path, capsys):
    """Patches of 3D serve as slices; what was learned from them is loaded."""
    source = tmp_path / 'scans'
    source.mkdir()
    chest = sitk.ReadImage(str(demo.chest_file('CTChest4.nrrd')))
    for start in (0, 48):
        sitk.WriteImage(chest[start : start + 48, 32:96, :], str(source / f'slab_{start}.nrrd'))
    options = '--name=cubes3d --modality=ct --cube_size=32,32,8 --border_low=0,0,0 --workers=1'
    options += ' --border_high=0,0,0 --cubes_per_scan=2 --validation_share=0.5 --max_tissue=1'
    assert scans.main([f'--source={source}', f'--data_dir={tmp_path}', *options.split()]) == 0
    config = genesis_ct_2d.get_config()
    fields = {'data.dir': str(tmp_path), 'data.name': 'cubes3d', 'data.view': 'adjacent'}
    config.update_from_flattened_dict(SMALL | fields | {'optimizer.learning_rate': 0.1})
    pretrain(config, tmp_path / 'pre')
    said = capsys.readouterr().out
    assert 'cubes3d as adjacent: 16 images of 32x32x3 for training' in said
    assert 'mean squared error on the validation images' in (tmp_path / 'pre/report.md').read_text()
    _, card = load_export(tmp_path / 'pre' / 'export' / 'encoder_decoder')
    assert card['network'] == 'unet2d' and card['outputs'] == 3
    start = small(ncs.get_config('2.5d'), balls_2d, 'cubes', init=str(tmp_path / 'pre'))
    (found,) = finetune(start, tmp_path / 'fine')
    assert any('encoder and decoder' in line for line in found['start'])
    start.dimensions, start.data.view, start.model.width = 3, None, 2
    with pytest.raises(UserError, match='holds a 2D network, and this run has config.dimensions=3'):
        finetune(start, tmp_path / 'in_3d')
