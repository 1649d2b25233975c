"""Pictures: restorations beside their originals, segmentations beside the truth."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from genesis_jax.errors import missing

_COLUMNS = ('original', 'corrupted', 'restored', 'restored − original')
_NAME_LENGTH = 26  # characters


def available() -> bool:
    """Whether matplotlib, an optional dependency, is there."""
    return not missing('plot', 'drawing')


def restorations(original: np.ndarray, corrupted: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Draws patches `[N, X, Y, Z, C]` or images `[N, X, Y, C]` in [0, 1], one row each.

    A patch shows its middle axial plane and, beside it, the coronal above the sagittal one; of
    several channels the first is shown.

    Returns:
      an RGB image, uint8 `[rows, columns, 3]`.
    """
    from matplotlib.figure import Figure

    rows, mosaic = len(original), _planes(original[0])
    height = 3.2 * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure((3.4 * len(_COLUMNS), height * rows + 0.5), dpi=100, layout='constrained')
    axes = figure.subplots(rows, len(_COLUMNS), squeeze=False)
    for row, (first, second, third) in enumerate(zip(original, corrupted, restored, strict=True)):
        for column, patch in enumerate((first, second, third, third - first)):
            is_difference = column == len(_COLUMNS) - 1
            axes[row, column].imshow(
                _planes(patch),
                cmap='RdBu_r' if is_difference else 'gray',
                vmin=-0.5 if is_difference else 0,
                vmax=0.5 if is_difference else 1,
                interpolation='nearest',
            )
            axes[row, column].set_axis_off()
            if row == 0:
                axes[row, column].set_title(_COLUMNS[column])
    return _drawn(figure)


@dataclasses.dataclass(frozen=True)
class Example:
    """One example of a segmentation.

    Attributes:
      patient: the name.
      mask: class indices `[X, Y, Z]`, or `[X, Y]`.
      patch: `[X, Y, Z, C]`, or `[X, Y, C]`, in [0, 1].
      probabilities: `[X, Y, Z, n]`, or `[X, Y, n]`, where one is that of class 1.
    """

    patient: str
    mask: np.ndarray
    patch: np.ndarray
    probabilities: np.ndarray

    @property
    def answer(self) -> np.ndarray:
        """The class indices predicted, of the mask's shape."""
        if self.probabilities.shape[-1] == 1:
            return (self.probabilities[..., 0] > 0.5).astype(int)
        return self.probabilities.argmax(axis=-1)


class Examples:
    """Examples of a split for a picture: of each patient the one with most to see.

    That is most classes, then most foreground. Patients without any give way to others. The choice
    depends on the masks alone, so all pictures of a run show the same.

    Args:
      patients: whose each record of the split is.
      count: of patients to show.
    """

    def __init__(self, patients: Sequence[str], count: int):
        self._patients, self._count = patients, count
        # By patient: what there is to see, and the example.
        self._best: dict[str, tuple[tuple[int, int], Example]] = {}

    @property
    def chosen(self) -> list[Example]:
        """The examples, once the whole split has been offered."""
        return [example for _, example in self._best.values()]

    def offer(self, batch: Mapping[str, np.ndarray], fetch: Callable[[], Sequence]) -> None:
        """Looks at a batch of the split; `fetch()` gives its patches and probabilities."""
        outputs = None
        for row, (position, weight) in enumerate(
            zip(batch['position'], batch['weight'], strict=True)
        ):
            patient, mask = self._patients[position % len(self._patients)], batch['mask'][row]
            per_class = np.bincount(mask.ravel(), minlength=2)[1:]
            worth = (int(np.count_nonzero(per_class)), int(per_class.sum()))
            if weight and self._make_room(patient, worth):
                outputs = outputs or fetch()
                self._best[patient] = worth, Example(patient, mask, *(o[row] for o in outputs))

    def _make_room(self, patient, worth):
        """Whether an example is to be kept, for which another may have been given up."""
        if patient in self._best:
            return worth > self._best[patient][0]
        if len(self._best) < self._count:
            return True
        empty = [name for name, (seen, _) in self._best.items() if not any(seen)]
        if not (empty and any(worth)):
            return False
        del self._best[empty[0]]
        return True


def segmentations(examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
    """Draws examples, one column each: the image, the truth and the prediction in colours.

    The axial plane is the one with most foreground in the truth (or, if it has none, the middle);
    of several channels the first is shown.

    Args:
      examples: of `Example`.
      classes: names by index, background first.

    Returns:
      an RGB image, uint8 `[rows, columns, 3]`.
    """
    from matplotlib.figure import Figure

    planes = [_plane(example) for example in examples]
    held = np.unique(np.concatenate([labels.ravel() for plane in planes for labels in plane[1:]]))
    width = max(2.6 * len(planes), 3.0)
    columns = max(1, int(width // 1.7))  # of the legend
    x, y = planes[0][0].shape
    height = 0.5 + 3 * 2.45 * y / x + 0.2 * np.ceil(len(held) / columns)
    figure = Figure((width, height), dpi=100, layout='constrained')
    axes = figure.subplots(3, len(planes), squeeze=False)
    for column, (example, (image, *labels)) in enumerate(zip(examples, planes, strict=True)):
        for row, layer in enumerate((np.zeros_like(labels[0]), *labels)):
            overlay(axes[row, column], image, layer)
        axes[0, column].set_title(_short(example.patient), fontsize=9)
    for row, name in enumerate(('image', 'truth', 'prediction')):
        where = {'transform': axes[row, 0].transAxes, 'ha': 'right', 'va': 'center'}
        axes[row, 0].text(-0.03, 0.5, name, rotation='vertical', **where)
    _legend(figure, classes, [index for index in held if index], columns)
    return _drawn(figure)


def _drawn(figure):
    """The figure's pixels, uint8 `[rows, columns, 3]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def overlay(axes: Any, plane: np.ndarray, labels: np.ndarray) -> None:
    """Draws an axial plane `[X, Y]` in [0, 1] and over it its labels `[X, Y]`, in colours."""
    axes.imshow(plane.T, cmap='gray', vmin=0, vmax=1, interpolation='nearest')
    colours = np.array([(*_colour(index), 0.45 * (index > 0)) for index in range(256)])
    axes.imshow(colours[labels.T.astype(int)], interpolation='nearest')
    axes.set_axis_off()


def _colour(index):
    """Red, green and blue of a class."""
    from matplotlib import colormaps

    palette = [*colormaps['tab10'].colors, *colormaps['tab20b'].colors]
    return palette[(index - 1) % len(palette)]


def _plane(example):
    """Image, truth and prediction `[X, Y]` in the axial plane to show."""
    if example.mask.ndim == 2:
        return example.patch[..., 0], example.mask, example.answer
    covered = (example.mask > 0).sum(axis=(0, 1))
    z = int(covered.argmax()) if covered.any() else example.mask.shape[2] // 2
    return example.patch[:, :, z, 0], example.mask[:, :, z], example.answer[:, :, z]


def _legend(figure, classes, indices, columns):
    """Names the classes of these indices in their colours, below all."""
    from matplotlib.patches import Patch

    patches = [Patch(color=_colour(index), label=_short(classes[index])) for index in indices]
    if patches:
        figure.legend(handles=patches, loc='outside lower center', ncols=columns, fontsize=8)


def _short(name):
    """A name that fits a column: of a long one, such as a UID, the end tells more."""
    return name if len(name) <= _NAME_LENGTH else f'…{name[1 - _NAME_LENGTH :]}'


def _planes(patch):
    """The three middle planes of `[X, Y, Z, C]` as one image, as a radiologist looks at them.

    Of `[X, Y, C]`, that image.
    """
    if patch.ndim == 3:
        return patch[..., 0].T
    x, y, z = (n // 2 for n in patch.shape[:3])
    axial = patch[:, :, z, 0].T
    coronal, sagittal = patch[:, y, ::-1, 0].T, patch[x, :, ::-1, 0].T
    return _join(axial, _join(coronal.T, sagittal.T).T)


def _join(left, right):
    """Two images side by side, a voxel apart; what neither covers stays blank (NaN)."""
    joined = np.full((max(len(left), len(right)), left.shape[1] + 1 + right.shape[1]), np.nan)
    joined[: len(left), : left.shape[1]] = left
    joined[: len(right), left.shape[1] + 1 :] = right
    return joined
