"""The corruption as a plain NumPy loop: what a data loader on the host would run.

The definition of the published recipe taken literally, one patch after the other, one window after
the other; the baseline of `benchmarks.corruption`.
"""

import numpy as np


def corrupt(rng, patch, windows=10_000):
    """`(corrupted, target)` of a patch `[X, Y, Z]` in [0, 1], with the published probabilities."""
    target = random_flip(rng, patch)
    corrupted = target
    if rng.random() < 0.5:
        corrupted = local_shuffle(rng, corrupted, windows)
    if rng.random() < 0.9:
        corrupted = bezier_map(rng, corrupted)
    if rng.random() < 0.9:
        paint = out_painting if rng.random() < 0.8 else in_painting
        corrupted = paint(rng, corrupted)
    return corrupted, target


def random_flip(rng, patch):
    """Up to three flips along random axes, each next one with probability 0.4."""
    for _ in range(3):
        if rng.random() >= 0.4:
            break
        patch = np.flip(patch, rng.integers(3))
    return patch


def local_shuffle(rng, patch, windows=10_000):
    """Permutes the original voxels of `windows` random windows; later ones overwrite."""
    shuffled = patch.copy()
    sides = rng.integers(1, np.array(patch.shape) // 10 + 1, (windows, 3))
    starts = rng.integers(0, patch.shape - sides + 1)
    for start, side in zip(starts.tolist(), sides.tolist(), strict=True):
        place = tuple(slice(a, a + n) for a, n in zip(start, side, strict=True))
        shuffled[place] = rng.permutation(patch[place].ravel()).reshape(side)
    return shuffled


def bezier_map(rng, patch, samples=10_000):
    """Grey values through a cubic Bézier curve, by interpolation in a table of its points."""
    t = np.linspace(0, 1, samples)[:, None]
    first, second = rng.random((2, 2))
    points = 3 * t * (1 - t) ** 2 * first + 3 * t**2 * (1 - t) * second + t**3
    abscissa, ordinate = points.T
    if rng.random() < 0.5:
        # Downwards: the curve from (0, 1) to (1, 0) with the control points' heights exchanged.
        heights = np.array([[first[0], second[1]], [second[0], first[1]]])
        points = 3 * t * (1 - t) ** 2 * heights[0] + 3 * t**2 * (1 - t) * heights[1]
        abscissa, ordinate = (points + t**3 * [1, 0] + (1 - t) ** 3 * [0, 1]).T
    return np.interp(patch, abscissa, ordinate).astype(patch.dtype)


def in_painting(rng, patch):
    """Noise in up to five boxes of a sixth to a third of each side."""
    painted = patch.copy()
    for _ in range(5):
        if rng.random() >= 0.95:
            break
        place = _box(rng, patch.shape, [(n // 6, n // 3) for n in patch.shape])
        painted[place] = rng.random(painted[place].shape)
    return painted


def out_painting(rng, patch):
    """Noise around the union of one to five boxes."""
    painted = rng.random(patch.shape, dtype=patch.dtype)
    for i in range(5):
        if i and rng.random() >= 0.95:
            break
        place = _box(rng, patch.shape, [(n - 4 * n // 7, n - 3 * n // 7) for n in patch.shape])
        painted[place] = patch[place]
    return painted


def _box(rng, shape, sides):
    side = [rng.integers(least, most + 1) for least, most in sides]
    start = [rng.integers(3, n - s - 2) for n, s in zip(shape, side, strict=True)]
    return tuple(slice(a, a + s) for a, s in zip(start, side, strict=True))
