r"""ECC: pulmonary embolism against false positives, candidates in CT angiographies.

    python -m data_prep.candidates --source=SCANS --csv=CANDIDATES.csv --name=ecc --data_dir=data
    python main.py --config=configs/ecc.py --workdir=runs/ecc --config.runs=10 \
        --config.init=runs/genesis_ct

The published data (PE-CAD) are private: bring scans and a CSV of points. Expected (mean and sd of
ten runs, published): AUC 79.99 ± 8.06 % from scratch, 87.20 ± 2.87 % from Genesis Chest CT.
"""

from configs import target


def get_config():
    """The published recipe: 64x64x64 voxels, 20 mm across; three folds by patient."""
    config = target.get_config('classification')
    config.data.name = 'ecc'
    config.batch_size = 24
    config.patience = 38
    return config
