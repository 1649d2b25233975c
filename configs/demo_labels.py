r"""Minutes on a laptop: seven labels of the chest CT that ships with the `demo` extra.

    python -m data_prep.demo_labels --out=chest_labels
    python -m data_prep.nnunet --source=chest_labels --name=chest_labels --data_dir=data \
        --spacing=3.047,3.047,3.333 --cube_size=64,64,8 --seed=4
    python main.py --config=configs/demo_labels.py --workdir=runs/demo_labels \
        --config.init=runs/demo

Every other block of three slices trains, the blocks between are the test set.
"""

from configs import target


def get_config():
    """The config."""
    config = target.get_config('segmentation', name='chest_labels', batch_size=4, epochs=20)
    config.model.width = 4  # as configs/demo.py
    config.augment.flip_probability = 0.0  # the right lung is not the left one
    config.augment.transpose_probability = 0.0
    config.optimizer.learning_rate = 1e-2  # few steps
    config.schedule.name = 'cosine'
    return config
