r"""Genesis Ultrasound: pre-training of a 2D U-Net on any folder of ultrasound frames.

    python -m data_prep.images --source=FRAMES --name=ultrasound --data_dir=data \
        --patient_pattern='(.*)/'
    python main.py --config=configs/genesis_ultrasound.py --workdir=runs/genesis_ultrasound

Named as future work by the authors, so there are no published numbers. Grey values are those of the
frames, 0 to 255. Frames of a patient look alike, so they are split by patient: the pattern takes
the folder of a frame for its patient. Variants as of configs/genesis_ct.py, all else as
configs/genesis_ct_2d.py.
"""

from configs import genesis_ct_2d


def get_config(variant='unified'):
    """The config of a variant."""
    config = genesis_ct_2d.get_config(variant)
    config.data.name = 'ultrasound'
    config.data.prepare = ('ultrasound', 'images --name=ultrasound --source=FRAMES')
    config.transforms.flip_axes = (0,)  # shadows fall away from the probe
    return config
