r"""Classification of candidates in any scans, from scratch or from a pre-trained network.

    python -m data_prep.candidates --source=SCANS --csv=CANDIDATES.csv --name=mine --data_dir=data
    python main.py --config=configs/classify.py --config.data.name=mine --workdir=runs/mine \
        --config.init=runs/genesis_ct

The CSV names a scan, a point in it and its class. The time depends on the dataset; how much
pre-training helps, `python -m genesis_jax.compare` tells.
"""

from configs import target


def get_config():
    """The config; the dataset is named on the command line."""
    return target.get_config('classification')
