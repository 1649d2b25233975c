"""Studies: their plans, their splits, and the whole way from raw files to tables."""

import csv
import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import hippocampus, phantom
from benchmarks.study import run, tables
from benchmarks.study.__main__ import NAMES, main
from benchmarks.study.hold_out import hold_out
from benchmarks.study.plan import Places, Run, make_steps, runs_of
from benchmarks.study.robustness import CHANGES, Changed
from benchmarks.study.tables import steps_to_share
from data_prep.formats.dataset_json import list_files, read_dataset_json
from genesis_jax.errors import UserError
from tests.compared import make_classifier, make_workdir, write_config

PLACES = Places(Path('/out'), Path('/raw'))


def write_results(folder, losses):
    folder.mkdir(parents=True)
    for seed, loss in enumerate(losses):
        (folder / f'seed_{seed}').mkdir()
        text = json.dumps({'validation_loss': loss})
        (folder / f'seed_{seed}' / 'results.json').write_text(text)
    (folder / 'results.csv').write_text('seed\n')


# --- plans -----------------------------------------------------------------------------------


@pytest.mark.parametrize('quick', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_every_command_of_a_study_is_one_that_exists(name, quick):
    study = importlib.import_module(f'benchmarks.studies.{name}').study(quick)
    places = PLACES if study.raw else Places(Path('/out'))
    root = Path(__file__).parent.parent
    for step in make_steps(study, places):
        if step.kind in ('source', 'dataset'):
            file = step.command()[1].replace('.', '/')
            assert (root / f'{file}.py').exists()
        elif step.kind == 'pre-training':
            config = step.command()[1].removeprefix('--config=').partition(':')[0]
            assert (root / config).exists()


def test_runs_are_made_once_for_all_tables():
    study = phantom.study()
    steps = [step for step in make_steps(study, Places(Path('/out'))) if step.kind == 'fine-tuning']
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert sum(name.endswith('scratch, 100 % of the labels') for name in names) == 6
    assert not any('ImageNet' in name for name in names)
    with_file = make_steps(study, Places(Path('/out'), imagenet=Path('/w/resnet18.pth')))
    (step,) = (s for s in with_file if s.name == 'iuc from ImageNet, 100 % of the labels')
    assert '--config.init=/w/resnet18.pth' in step.command()


def test_each_start_gets_the_rate_that_is_best_on_validation(tmp_path):
    study, places = hippocampus.study(), Places(tmp_path / 'out', tmp_path)
    rates = study.targets['hippocampus'].rates
    for start, losses in (('scratch', (0.4, 0.2, 0.3)), ('Genesis', (0.1, 0.2, float('nan')))):
        for rate, loss in zip(rates, losses, strict=True):
            folder = places.tuning(Run('hippocampus', start, 0.05), rate)
            write_results(folder, [loss, loss + 0.01])
    steps = {step.name: step for step in make_steps(study, places)}
    commands = [
        steps[f'hippocampus from {start}, 1 % of the labels'].command()
        for start in ('scratch', 'Genesis')
    ]
    for command, rate in zip(commands, (rates[1], rates[0]), strict=True):
        assert f'--config.optimizer.learning_rate={rate}' in command
        assert '--config.label_fraction=0.01' in command and '--config.runs=5' in command
    assert f'--config.init={tmp_path}/out/runs/genesis' in commands[1]


def test_a_start_takes_over_the_rate_of_another(tmp_path):
    study, places = hippocampus.study(), Places(tmp_path / 'out', tmp_path)
    rates = study.targets['hippocampus'].rates
    for rate, loss in zip(rates, (0.4, 0.3, 0.2), strict=True):
        write_results(places.tuning(Run('hippocampus', 'Genesis', 0.05), rate), [loss, loss])
    steps = {step.name: step for step in make_steps(study, places)}
    assert not any('longer' in step.name for step in steps.values() if step.kind == 'tuning')
    command = steps['hippocampus from longer Genesis, 25 % of the labels'].command()
    assert f'--config.optimizer.learning_rate={rates[2]}' in command
    assert (
        '--config.epochs=10' in command
        and command.count(f'--config.init={places.out}/runs/genesis') == 1
    )


def test_what_is_done_is_neither_run_nor_planned_again(tmp_path, capsys):
    study, places = hippocampus.study(), Places(tmp_path / 'out', tmp_path)
    (tmp_path / 'out/data/images').mkdir(parents=True)
    write_results(places.workdir(Run('hippocampus', 'scratch', 0.05)), [0.1] * 5)
    write_results(places.workdir(Run('hippocampus', 'Genesis', 0.05)), [0.1] * 4)
    left = [step.name for step in make_steps(study, places) if not step.done()]
    assert 'dataset: images' not in left and 'dataset: labels' in left
    assert 'hippocampus from scratch, 5 % of the labels' not in left
    assert 'hippocampus from Genesis, 5 % of the labels' in left
    text = run.plan_text(study, make_steps(study, places))
    assert '| dataset | 2 | 1 |' in text and '| fine-tuning | 100 | 95 |' in text


def test_a_step_that_fails_ends_the_study(tmp_path):
    study, places = hippocampus.study(), Places(tmp_path / 'out', tmp_path)
    first, *_ = make_steps(study, places)
    failing = replace(first, command=lambda: ('-c', 'raise SystemExit(3)'))
    with pytest.raises(UserError, match='"raw files: split" failed'):
        run.run([failing])


def test_a_source_is_whole_or_not_there(tmp_path):
    study, places = hippocampus.study(), Places(tmp_path / 'out', tmp_path)
    first, *_ = make_steps(study, places)
    partial = tmp_path / 'out/raw/split.partial'
    (partial / 'left by a killed command').mkdir(parents=True)
    assert f'--out={partial}' in first.command() and not partial.exists()
    fills = f'import pathlib; pathlib.Path({str(partial)!r}).mkdir()'
    with pytest.raises(UserError):
        run.run([replace(first, command=lambda: ('-c', f'{fills}; raise SystemExit(1)'))])
    assert not first.done()
    partial.rmdir()
    run.run([replace(first, command=lambda: ('-c', fills))])
    assert first.done() and not partial.exists()


def test_a_folder_holds_one_study(tmp_path, capsys):
    (tmp_path / 'study.json').write_text('{"study": "phantom", "quick": true}')
    with pytest.raises(SystemExit):
        main(['--study=phantom', f'--out={tmp_path}', '--tables'])
    assert 'holds the study phantom, quick; choose another --out' in capsys.readouterr().err


def test_runs_of_some_folds_are_not_done(tmp_path):
    study, places = hippocampus.study(), Places(tmp_path / 'out', tmp_path)
    folder = places.workdir(Run('hippocampus', 'scratch', 0.05))
    write_results(folder, [])
    for seed in range(5):
        for fold in range(3 if seed < 4 else 2):
            (folder / f'seed_{seed}_fold_{fold}').mkdir()
            (folder / f'seed_{seed}_fold_{fold}' / 'results.json').touch()
    name = 'hippocampus from scratch, 5 % of the labels'
    (step,) = (step for step in make_steps(study, places) if step.name == name)
    assert not step.done()
    (folder / 'seed_4_fold_2').mkdir()
    (folder / 'seed_4_fold_2' / 'results.json').touch()
    assert step.done()


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_the_tables_of_a_study_can_be_made_of_its_runs(name, tmp_path, capsys):
    """Of made-up runs of segmentations and classifications, as the study names them."""
    study = importlib.import_module(f'benchmarks.studies.{name}').study()
    places = Places(tmp_path, tmp_path if study.raw else None)
    for layout in study.layouts:
        if layout.kind in ('speed', 'robustness'):
            continue
        for one in runs_of(study, layout, places):
            folder = places.workdir(one)
            if not folder.exists():
                config = study.targets[one.target].config
                fake_runs(folder, config, study.starts[one.start].init, one.fraction)
            for rate in study.targets[one.target].rates:
                if not (tuning := places.tuning(one, rate)).exists():
                    write_results(tuning, [0.1, 0.2])
    text = tables.write(study, places)
    assert 'no run' not in text and 'are complete' not in text
    for kind in {layout.kind for layout in study.layouts} & {'table2', 'table3', 'table4'}:
        rows = (tmp_path / f'tables/{kind}/{kind}.csv').read_text()
        assert rows.count('measured') > 3
    capsys.readouterr()


def fake_runs(folder, config, init, fraction):
    """A workdir of three runs of a task, named as its config names it."""
    name, _, reading = config.removesuffix('.py').replace('.py:', ':').partition(':')
    init = init if init == 'scratch' else f'/runs/{init}'
    if name in ('ncc', 'iuc'):
        make_classifier(folder, init=init)
    else:
        make_workdir(folder, init=init, dataset=name, fraction=fraction)
    for file in folder.glob('*/results.json'):
        about = json.loads(file.read_text()) | {'dataset': name, 'label_fraction': fraction}
        if init != 'scratch':
            about['provenance'] = {
                'loaded': ['encoder'], 'task': 'restoration', 'dataset': 'own', 'modality': 'ct',
            }  # fmt: skip
            if init.endswith('xray'):
                about['provenance']['dataset'] = 'chestxray'
        file.write_text(json.dumps(about))
    in_2d = reading == '2d' or name in ('dxc', 'iuc')
    view = 'slices' if reading == '2d' else None
    (folder / 'results.csv').touch()
    write_config(folder, dimensions=2 if in_2d else 3, data={'view': view})


def test_a_study_says_what_it_needs(tmp_path, capsys):
    for options, words in (
        (['--study=hippocampus'], 'the study needs --source=DIR, the folder Task04_Hippocampus'),
        (['--study=phantom', f'--source={tmp_path}'], 'draws its own scans'),
        (['--study=none'], 'none'),
        (
            [*['--study=hippocampus'], f'--source={tmp_path}', f'--imagenet={__file__}'],
            'leave --imagenet out',
        ),
    ):
        with pytest.raises(SystemExit):
            main([*options, f'--out={tmp_path}', '--plan'])
        error = capsys.readouterr().err
        assert words in error and error.count('\n') == 1


# --- splits, changes, speed ------------------------------------------------------------------


@pytest.mark.parametrize('layout', ['decathlon', 'nnunet'])
def test_test_patients_are_held_out(layout, tmp_path):
    from data_prep import phantom as command

    source = tmp_path / 'source'
    assert command.main([f'--layout={layout}', '--patients=8', f'--out={source}']) == 0
    hold_out(source, tmp_path / 'out', test=3)
    declared = read_dataset_json(tmp_path / 'out')
    parts = [set(list_files(tmp_path / 'out', declared, part)) for part in ('Tr', 'Ts')]
    assert len(parts[1]) == 3 and not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(list_files(source, read_dataset_json(source), 'Tr'))
    hold_out(source, tmp_path / 'fewer', test=3, train=2)
    kept = set(list_files(tmp_path / 'fewer', read_dataset_json(tmp_path / 'fewer'), 'Tr'))
    assert len(kept) == 2 and kept < parts[0]
    with pytest.raises(UserError, match='8 labelled scans, too few to hold out 7'):
        hold_out(source, tmp_path / 'none', test=7)


def test_changes_keep_the_window():
    rng = np.random.default_rng(0)
    window = np.array([[-100.0, 300.0]])
    cube = rng.uniform(-150, 350, (6, 5, 4, 1)).astype(np.float32)
    clipped = cube.clip(-100, 300)
    for name, change in CHANGES.items():
        (record,) = Changed([{'cube': cube, 'window': window, 'patient': 'p'}], change)
        assert record['patient'] == 'p' and record['cube'].dtype == np.float32
        assert record['cube'].min() >= -100.001 and record['cube'].max() <= 300.001
        same = np.allclose(record['cube'], clipped, atol=1e-3)
        assert same == (name == 'none')
    inverted = Changed([{'cube': cube, 'window': window}], CHANGES['inverted'])[0]['cube']
    np.testing.assert_allclose(inverted + clipped, 200, atol=1e-3)


def test_the_speed_is_the_first_step_near_the_last_dice(tmp_path):
    file = tmp_path / 'metrics.jsonl'
    rows = [{'step': 1, 'train/loss': 1.0}]
    rows += [
        {'step': 10 * n, 'validation/dice': dice} for n, dice in enumerate((0.1, 0.7, 0.77, 0.8))
    ]
    file.write_text('\n'.join(map(json.dumps, rows)))
    assert steps_to_share(file) == 20


# --- the whole way ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_on_drawn_patients_fills_all_tables(tmp_path, capfd):
    out = tmp_path / 'a study'
    assert main(['--study=phantom', '--quick', f'--out={out}']) == 0
    tables = out / 'tables'
    for name in ('table2', 'table3', 'table4', 'figure2'):
        with (tables / name / f'{name}.csv').open() as stream:
            rows = list(csv.DictReader(stream))
        assert any(row['p'] for row in rows), name
    assert (tables / 'figure2/figure2.png').exists()
    assert '## Labels saved' in (tables / 'labels_ncs/comparison.md').read_text()
    capfd.readouterr()
    assert main(['--study=phantom', '--quick', f'--out={out}']) == 0
    assert '===' not in capfd.readouterr().out  # nothing was run again
