r"""Does the recipe of `hippocampus`, unchanged, save labels in another modality? Head and neck, CT.

    python -m benchmarks.study --study=head_neck --source=Head_Neck_CT --out=head_neck

Seven organs at risk in 40 planning CTs of OpenKBP (Babier et al., 2021), about 110×65×80 voxels of
4×4×2.5 mm, as a dataset of nnU-Net: 12 are the test, 22 train, 6 validate.
"""

from benchmarks.study.few_labels import few_labels, shrunk
from benchmarks.study.spec import Study


def study(quick: bool = False) -> Study:
    """The study; `quick` shows the way with a tiny network."""
    whole = few_labels(
        title='Head and neck',
        about='segmentation of seven organs at risk in CT, from few labels',
        raw='a dataset of nnU-Net with 40 CTs of the head and neck',
        modality='ct',
        test=12,
        pretraining='genesis_ct.py --config.epochs=46',
        target='organs',
        fractions=(0.1, 0.25, 0.5, 1.0),
    )
    return shrunk(whole) if quick else whole
