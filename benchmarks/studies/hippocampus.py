r"""Does pre-training on unlabelled MR volumes save labels? Hippocampus, two classes.

    python -m benchmarks.study --study=hippocampus --source=Task04_Hippocampus --out=hippocampus

Task04 of the Medical Segmentation Decathlon (CC BY-SA 4.0), volumes of about 35×50×36 mm: 60 are
the test. The network restores patches of the others, without their labels, then learns to segment
from 1 to 100 % of four fifths of them; the last fifth validates.
"""

from dataclasses import replace

from benchmarks.study.few_labels import few_labels, shrunk
from benchmarks.study.spec import Layout, Start, Study

_FRACTIONS = (0.05, 0.1, 0.25, 1.0, 0.02, 0.01)  # the most telling first
_LONGER = '--config.steps_per_epoch=100 --config.epochs=10 --config.patience=100'


def study(quick: bool = False) -> Study:
    """The study; `quick` shows the way with a tiny network."""
    base = few_labels(
        title='Hippocampus',
        about='segmentation of its anterior and posterior part in MR, from few labels',
        raw='the folder Task04_Hippocampus of the Medical Segmentation Decathlon',
        modality='mri',
        test=60,
        pretraining='genesis_mri.py --config.epochs=9',
        target='hippocampus',
        fractions=_FRACTIONS,
    )
    starts = {
        'longer scratch': Start(flags=_LONGER, rate_of='scratch', length=4),
        'longer Genesis': Start('genesis', _LONGER, 'Genesis', length=4),
        'random features': Start(flags='--config.freeze=encoder_decoder'),
        'Genesis features': Start('genesis', '--config.freeze=encoder_decoder'),
    }
    longer, features = [*starts][:2], [*starts][2:]
    layouts = [
        Layout('robustness', {'hippocampus': ['scratch', 'Genesis']}, _FRACTIONS[:1]),
        Layout('longer', {'hippocampus': longer}, (0.05, 0.25)),
        Layout('probe', {'hippocampus': features}, (0.05, 1.0)),
    ]
    whole = replace(base, starts={**base.starts, **starts}, layouts=[*base.layouts, *layouts])
    return shrunk(whole) if quick else whole
