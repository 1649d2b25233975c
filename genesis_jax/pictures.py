"""Pictures: restorations beside their originals, segmentations beside the truth."""

import importlib.util

import numpy as np

_COLUMNS = ('original', 'corrupted', 'restored', 'restored − original')


def available():
    """Whether matplotlib, an optional dependency, is there."""
    return importlib.util.find_spec('matplotlib') is not None


def restorations(original, corrupted, restored):
    """Draws cubes `[N, X, Y, Z, C]` in [0, 1] (first channel), one row each.

    A cube shows its middle axial plane and, beside it, the coronal above the sagittal one.

    Returns:
      an RGB image, uint8 `[rows, columns, 3]`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, mosaic = len(original), _planes(original[0])
    height = 3.2 * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure((3.4 * len(_COLUMNS), height * rows + 0.5), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(_COLUMNS), squeeze=False)
    for row, (first, second, third) in enumerate(zip(original, corrupted, restored, strict=True)):
        for column, cube in enumerate((first, second, third, third - first)):
            is_difference = column == len(_COLUMNS) - 1
            axes[row, column].imshow(
                _planes(cube),
                cmap='RdBu_r' if is_difference else 'gray',
                vmin=-0.5 if is_difference else 0,
                vmax=0.5 if is_difference else 1,
                interpolation='nearest',
            )
            axes[row, column].set_axis_off()
            if row == 0:
                axes[row, column].set_title(_COLUMNS[column])
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def segmentations(cubes, masks, predicted):
    """Draws examples, one column each: the truth above, the prediction below, in colours.

    The axial plane is the one with most foreground in the truth (or, if it has none, the middle).

    Args:
      cubes: `[N, X, Y, Z, C]` in [0, 1]; the first channel is shown.
      masks: class indices `[N, X, Y, Z]`.
      predicted: probabilities `[N, X, Y, Z, n]`.

    Returns:
      an RGB image, uint8 `[rows, columns, 3]`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    answers = predicted[..., 0] > 0.5 if predicted.shape[-1] == 1 else predicted.argmax(axis=-1)
    figure = Figure((2.6 * len(cubes), 5.6), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(cubes), squeeze=False)
    for column, (cube, mask, answer) in enumerate(zip(cubes, masks, answers, strict=True)):
        covered = (mask > 0).sum(axis=(0, 1))
        z = int(covered.argmax()) if covered.any() else mask.shape[2] // 2
        for row, (title, labels) in enumerate((('truth', mask), ('prediction', answer))):
            overlay(axes[row, column], cube[:, :, z, 0], labels[:, :, z])
            axes[row, column].set_title(title)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def overlay(axes, plane, labels):
    """Draws an axial plane `[X, Y]` in [0, 1] and over it its labels `[X, Y]`, in colours."""
    from matplotlib import colormaps

    axes.imshow(plane.T, cmap='gray', vmin=0, vmax=1, interpolation='nearest')
    colours = colormaps['tab10']((labels.T.astype(int) - 1) % 10)
    colours[..., 3] = 0.45 * (labels.T > 0)
    axes.imshow(colours, interpolation='nearest')
    axes.set_axis_off()


def _planes(cube):
    """The three middle planes of `[X, Y, Z, C]` as one image, as a radiologist looks at them."""
    x, y, z = (n // 2 for n in cube.shape[:3])
    axial = cube[:, :, z, 0].T
    coronal, sagittal = cube[:, y, ::-1, 0].T, cube[x, :, ::-1, 0].T
    return _join(axial, _join(coronal.T, sagittal.T).T)


def _join(left, right):
    """Two images side by side, a voxel apart; what neither covers stays blank (NaN)."""
    joined = np.full((max(len(left), len(right)), left.shape[1] + 1 + right.shape[1]), np.nan)
    joined[: len(left), : left.shape[1]] = left
    joined[: len(right), left.shape[1] + 1 :] = right
    return joined
