r"""Segmentation on any labelled dataset, from scratch or from a pre-trained network.

    python -m data_prep.nnunet --source=DATASET --name=mine --data_dir=data
    python main.py --config=configs/segment.py --config.data.name=mine --workdir=runs/mine \
        --config.init=runs/genesis_ct

DATASET is in the layout of nnU-Net or the Medical Decathlon. The time depends on the dataset; how
much pre-training helps, `python -m genesis_jax.compare` tells.

Variants (`--config=configs/segment.py:NAME`): paper (default), the training of the published target
tasks; strong, that of nnU-Net (Isensee et al., 2021), for a baseline that is hard to beat:
rotation, scaling, changes of grey values and of resolution, gradients clipped at 12, SGD with
Nesterov momentum 0.99, polynomial decay, deep supervision, mirror images in the test. Network,
loss, window and patches are those of paper; nnU-Net, besides, normalises instances, chooses its
network, patches and spacing by the dataset, and adds the cross-entropy also for two classes.

strong counts on few scans, some tens to hundreds: 100 epochs of 250 steps, a tenth of nnU-Net's, to
the end (--config.epochs and --config.steps_per_epoch change that; the decay follows). From weights,
a smaller rate and two warm-ups forget less (a sawtooth; Wald et al., OpenMind, 2024):

    python main.py --config=configs/segment.py:strong --config.data.name=mine \
        --workdir=runs/mine_strong --config.init=runs/genesis_ct \
        --config.optimizer.learning_rate=1e-3 --config.schedule.name=sawtooth \
        --config.head_warmup_epochs=5 --config.schedule.warmup_steps=1250

A larger share of patches with foreground is made when preparing: `--foreground_share` of
data_prep.nnunet, 0.5 if not given (nnU-Net: a third).
"""

from configs import target

_STRONG = {
    # nnU-Net's probabilities; its blur (0.2) and low resolution (0.25) spare half of the channels.
    'augment.transpose_probability': 0.0,
    'augment.rotation_probability': 0.2,
    'augment.scale_probability': 0.2,
    # Its noise has a variance of up to 0.1 where the scan's is 1. Of windowed scans the standard
    # deviation is about 0.3, so 0.3 * sqrt(0.1) = 0.1, which noise_sd is already.
    'augment.noise_probability': 0.1,
    'augment.blur_probability': 0.1,
    'augment.brightness_probability': 0.15,
    'augment.contrast_probability': 0.15,
    'augment.low_resolution_probability': 0.125,
    'augment.gamma_inverted_probability': 0.1,
    'augment.gamma_probability': 0.3,
    'model.deep_supervision': True,
    'mirror': True,
    'optimizer.name': 'sgd',
    'optimizer.learning_rate': 1e-2,
    'optimizer.momentum': 0.99,
    'optimizer.nesterov': True,
    'optimizer.weight_decay': 3e-5,
    'optimizer.clip_norm': 12.0,
    'schedule.name': 'poly',
    'steps_per_epoch': 250,
    'epochs': 100,
    'patience': 100_000,  # to the end: the last epochs, at low rates, are the best
}
VARIANTS = {'paper': {}, 'strong': _STRONG}


def get_config(variant='paper'):
    """The config of a variant; the dataset is named on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f'there is no variant {variant!r}; expected {", ".join(VARIANTS)}')
    config = target.get_config('segmentation')
    config.update_from_flattened_dict(VARIANTS[variant])
    return config
