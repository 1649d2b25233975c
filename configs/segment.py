r"""Segmentation on any labelled dataset, from scratch or from a pre-trained network.

    python -m data_prep.nnunet --source=DATASET --name=mine --data_dir=data
    python main.py --config=configs/segment.py --config.data.name=mine --workdir=runs/mine \
        --config.init=runs/genesis_ct

DATASET is in the layout of nnU-Net or the Medical Decathlon. The time depends on the dataset; how
much pre-training helps, `python -m genesis_jax.compare` tells.
"""

from configs import target


def get_config():
    """The config; the dataset is named on the command line."""
    return target.get_config('segmentation')
