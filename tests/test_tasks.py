"""The five 3D target tasks from raw files in their own formats to a table of metrics.

One command prepares, one fine-tunes and tests, as a user types them, on miniature data.
"""

import csv

import pytest
from commands import python

SMALL = [
    *('--config.model.width=2', '--config.epochs=2', '--config.batch_size=8'),
    *('--config.steps_per_epoch=2', '--config.pictures=1'),
]
TASKS = {  # config: layout of the phantom, what prepares it, metric
    'ncc': ('luna16_candidates', 'luna16_candidates --cube_size=16,16,16', 'auc'),
    'ncs': ('lidc', 'lidc --cube_size=32,32,16', 'mean_iou_paper'),
    'ecc': ('candidates', 'candidates --csv={source}/candidates.csv --cube_size=16,16,16', 'auc'),
    'lcs': ('lits', 'lits --split=2,1,1 --cube_size=32,32,16', 'mean_iou_paper'),
    'bms': ('brats2018', 'brats --cube_size=32,32,16', 'mean_iou_paper'),
}
PATIENTS = {'luna16_candidates': 10, 'lits': 4, 'brats2018': 6, 'lidc': 6, 'candidates': 6}


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_from_raw_files_to_metrics(task, tmp_path):
    layout, preparation, metric = TASKS[task]
    source, data_dir, workdir = (tmp_path / name for name in ('raw', 'data', 'run'))
    made = f'--patients={PATIENTS[layout]}'
    python('-m', 'data_prep.phantom', f'--out={source}', f'--layout={layout}', made)
    module, *options = preparation.format(source=source).split()
    said = python(
        '-m', f'data_prep.{module}', f'--source={source}', f'--data_dir={data_dir}', *options
    )
    assert f'Next: python main.py --config=configs/{task}.py' in said
    said = python(
        'main.py',
        f'--config=configs/{task}.py',
        f'--config.data.dir={data_dir}',
        f'--workdir={workdir}',
        *SMALL,
    )
    assert f'| {metric} |' in said
    with (workdir / 'results.csv').open() as lines:
        rows = list(csv.DictReader(lines))
    folds = {'ecc', 'bms'}
    assert [row['fold'] for row in rows] == (['0', '1', '2'] if task in folds else [''])
    assert all(0 <= float(row[metric]) <= 1 for row in rows)
    report = (workdir / 'report.md').read_text()
    assert f'- recipe: configs/{task}.py, but batch_size=8, epochs=2, ' in report
