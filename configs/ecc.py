r"""ECC: pulmonary embolism against false positives, candidates in CT angiographies.

    python -m data_prep.candidates --source=SCANS --csv=CANDIDATES.csv --name=ecc --data_dir=data
    python main.py --config=configs/ecc.py --workdir=runs/ecc --config.runs=10 \
        --config.init=runs/genesis_ct

The published data (PE-CAD) are private: bring scans and a CSV of points. Expected (mean and sd of
ten runs, published): AUC 79.99 ± 8.06 % from scratch, 87.20 ± 2.87 % from Genesis Chest CT.

In 2D on the same data: `--config=configs/ecc.py:2d` (axial slices), `:2.5d` (each with its
neighbours), `:orthogonal` (three planes); `--config.init` is then a 2D pre-training or a ResNet-18
of ImageNet (FILE.pth, FILE.safetensors).
Expected: 71.27 ± 4.64 % from scratch, 78.61 ± 3.73 % from ImageNet, 78.58 ± 3.67 % from Genesis
Chest CT 2D.
"""

from configs import target


def get_config(reading='3d'):
    """The published recipe: 64x64x64 voxels, 20 mm across; three folds by patient."""
    prepare = 'candidates --source=SCANS --csv=CANDIDATES.csv --name=ecc'
    return target.get_reading(
        'classification', reading, name='ecc', prepare=prepare, batch_size=24, patience=38
    )
