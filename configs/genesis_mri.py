r"""Genesis MRI: pre-training of the 3D U-Net on any folder of MR volumes.

    python -m data_prep.scans --source=SCANS --name=mri --modality=mri --data_dir=data
    python main.py --config=configs/genesis_mri.py --workdir=runs/genesis_mri

`--config.init=runs/genesis_ct`, or any other 3D weights, lets it go on from there.
Named as future work by the authors, so there are no published numbers. MR intensities have no unit:
each volume has its own window, from its 0.5th to its 99.5th percentile, which the records hold.
Sequences may be mixed. Patch size, borders and filter are options of data_prep.scans; variants and
all else are as in configs/genesis_ct.py.
"""

from configs import genesis_ct


def get_config(variant='unified'):
    """The config of a variant."""
    config = genesis_ct.get_config(variant)
    config.data.name = 'mri'
    config.data.prepare = ('mri', 'scans --name=mri --modality=mri --source=SCANS')
    config.data.window = None  # each volume's own
    return config
