"""The tasks of a config (`config.task`), one row each: what networks and tables depend on.

Imports no JAX.
"""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Task:
    """What a task decides.

    Attributes:
      network: 'unet', which answers every voxel, or 'classifier', which answers an example.
      exclusive: whether one class rules out the others.
      table: the file with a row per case of a test.
      metrics: of a test, those shown first.
    """

    network: str
    exclusive: bool = True
    table: str = 'predictions.csv'
    metrics: tuple[str, ...] = ('auc', 'average_precision', 'accuracy', 'luna16_score')

    @property
    def dense(self) -> bool:
        """Whether every voxel has an answer."""
        return self.network == 'unet'

    def out_channels(self, classes: Sequence[str]) -> int:
        """Logits of the network: one tells two classes apart, otherwise each class has its own."""
        return 1 if len(classes) == 2 and self.exclusive else len(classes)


TASKS = {
    'restoration': Task('unet', exclusive=False, table='', metrics=()),
    'classification': Task('classifier'),
    'multilabel': Task('classifier', exclusive=False),
    'segmentation': Task(
        'unet',
        table='cases.csv',
        metrics=('dice', 'iou', 'mean_iou_paper', 'hd95', 'surface_dice'),
    ),
}
LABELLED = tuple(name for name in TASKS if name != 'restoration')  # the tasks of a fine-tuning


def restoration_loss(name: str = 'squared', where: str = 'all', **_: object) -> str:
    """What a restoration minimises (`config.loss`), such as 'mean squared error'."""
    named = name.replace('_', ' ').replace('+', ' plus ')
    return f'mean {named} error' + ' where corrupted' * (where == 'corrupted')
