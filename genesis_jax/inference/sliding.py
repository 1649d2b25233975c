"""Whole volumes through a network that takes windows: cut, predicted, blended.

Rank-polymorphic: a volume is `[X, Y, Z, C]` or `[X, Y, C]`. The device only ever holds two batches
of one fixed shape, so its memory does not depend on the volume, and nothing is compiled twice.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genesis_jax import models, parallel
from genesis_jax.card import Card
from genesis_jax.data import views
from genesis_jax.tasks import TASKS
from genesis_jax.transforms.flips import flip

# Per device. A CPU is no faster with more, which at full width take a gigabyte each.
_BATCH_SIZES = {'cpu': 1}
_BATCH_SIZE = 8
_SD = 1 / 8  # of the window's side: in 3D a corner weighs exp(-24) of the centre


def on_devices(members: Iterable[tuple[Callable[..., Any], Any]]) -> Callable[[Any], Any]:
    """Makes the `predict` of `sliding_window` from pairs `(function, variables)`: their mean.

    Batches are divided among all local devices, so their size must be a multiple of the devices'
    number; a function is compiled once per shape of batch, however many members have it.
    """
    one_a_device = np.zeros(jax.local_device_count(), np.float32)
    place = _program(_state, None)
    placed = [(_program(function, 0), place(own, one_a_device)) for function, own in members]

    def predict(batch):
        sharded = parallel.shard(batch)
        outputs = (program(variables, sharded) for program, variables in placed)
        total = functools.reduce(operator.add, outputs)
        return total if len(placed) == 1 else total / len(placed)

    return predict


def _state(variables, _):
    return variables


@functools.lru_cache(maxsize=16)
def _program(function, out_axes):
    return parallel.spmd(function, out_axes=out_axes)


@functools.lru_cache(maxsize=8)
def answers(
    network: Any, task: str, mirrored: Sequence[int] = ()
) -> Callable[[Any, Any], jax.Array]:
    """`(variables, batch) -> probabilities`; of equal networks one function, compiled once.

    Args:
      mirrored: spatial axes; the answer is the mean over the mirror images along any of them, the
        image itself included: of k axes 2^k images, one after the other, in the memory of one.
    """

    def answer(variables, batch):
        return models.probabilities(network.predict(variables, batch), task)

    return _over_mirror_images(answer, mirrored, TASKS[task].dense) if mirrored else answer


def _over_mirror_images(answer, axes, dense):
    """The mean of `answer` over mirror images; what is `dense` is turned back before."""
    turn = jax.vmap(flip, in_axes=(0, None))

    def mean(variables, batch):
        def add(total, flips):
            probabilities = answer(variables, turn(batch, flips))
            return total + (turn(probabilities, flips) if dense else probabilities), None

        choices = [(False, True) if axis in axes else (False,) for axis in range(batch.ndim - 2)]
        images = np.array(list(itertools.product(*choices)))
        like = jax.eval_shape(answer, variables, batch)
        total, _ = jax.lax.scan(add, jnp.zeros(like.shape, like.dtype), images)
        return total / len(images)

    return mean


def whole_batch(batch_size: int | None = None) -> int:
    """A batch size as a multiple of the local devices; by default one that suits them."""
    devices = jax.local_device_count()
    if batch_size is None:
        return devices * _BATCH_SIZES.get(jax.default_backend(), _BATCH_SIZE)
    return -(-batch_size // devices) * devices


def sliding_window(
    predict: Callable[[np.ndarray], Any],
    volume: np.ndarray,
    *,
    window: Sequence[int],
    overlap: float = 0.5,
    batch_size: int | None = None,
    value_range: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Predicts a volume of any size window by window, blended with Gaussian weights.

    Args:
      predict: maps a host batch, float32 `[B, *window, C]`, to an array `[B, *window, n]` or
        `[devices, B / devices, *window, n]`; best without waiting for it, as JAX does.
      volume: NumPy `[*sides, C]`. Sides below the window's are padded with zeros, that is with
        the value range's lower end.
      window: sides of the windows, in voxels.
      overlap: share of a window's side that its neighbour covers too, from 0 to below 1; the last
        window is moved back to end at the border, where more overlaps.
      batch_size: windows predicted together, rounded up by `whole_batch`.
      value_range: `[C, 2]`, per channel the values that become 0 and 1; others are clipped.
        None: the volume is normalised already.
      progress: called as `progress(windows done, windows in all)` after every batch.

    Returns:
      float32 `[*sides, n]` on the host; each of the n maps lies contiguous in memory.

    Raises:
      ValueError: the window's rank is not the volume's, or the overlap leaves no step.
    """
    sides, window = volume.shape[:-1], tuple(window)
    if len(window) != len(sides):
        raise ValueError(f'a volume of {len(sides)} spatial axes needs as many sides, not {window}')
    axes = [_starts(*axis, overlap) for axis in zip(sides, window, strict=True)]
    places = [
        tuple(slice(i, min(i + w, side)) for i, w, side in zip(corner, window, sides, strict=True))
        for corner in itertools.product(*axes)
    ]
    inside = tuple(_middle(*axis) for axis in zip(sides, window, strict=True))
    weights = np.ascontiguousarray(_gaussian(window)[inside])
    scratch = np.empty((2, *weights.shape), np.float32)
    batch_size = whole_batch(batch_size)

    def run(batch):
        return predict(_cut(volume, batch, inside, (batch_size, *window), value_range))

    batches = [places[i : i + batch_size] for i in range(0, len(places), batch_size)]
    total, done = np.zeros(sides, np.float32), 0
    mean: Any = None  # until the first batch tells n
    for batch, output in one_behind(run, batches):
        windows = np.asarray(output).reshape(batch_size, *window, -1)
        if mean is None:
            mean = np.zeros((windows.shape[-1], *sides), np.float32)
        for place, probabilities in zip(batch, windows, strict=False):  # the last is padded
            _blend(mean, total, place, weights, probabilities[inside], scratch)
        done += len(batch)
        if progress is not None:
            progress(done, len(places))
    return np.moveaxis(mean, 0, -1)


def predict_scan(
    predict: Callable, card: Card, voxels: np.ndarray, window: np.ndarray, **options: Any
) -> np.ndarray:
    """Probabilities of a scan as prepared, with the tiles, the view and the window of the training.

    Args:
      voxels: `[X, Y, Z, C]`; of images `[X, Y, C]`.
      window: `[C, 2]`, the scan's own.
      options: of `sliding_window`.
    """
    tile = tuple(card.cube_shape or ())[:-1]
    if len(tile) < voxels.ndim - 1:
        predict, tile = views.over_slices(predict, tile)
    volume = views.channels(voxels, card.view)
    ranges = [card.window] * volume.shape[-1] if card.window else views.ranges(window, card.view)
    return sliding_window(predict, volume, window=tile, value_range=ranges, **options)


def _starts(side, window, overlap):
    """Where the windows along one axis start."""
    if not 0 <= overlap < 1:
        raise ValueError(f'the overlap is {overlap}, but must be from 0 to below 1')
    step = max(1, round(window * (1 - overlap)))
    last = max(0, side - window)
    return [*range(0, last, step), last]


def _middle(side, window):
    """The part of a window that holds volume, along an axis that may be shorter than it."""
    start = max(0, window - side) // 2
    return slice(start, start + min(side, window))


def _gaussian(window):
    """Weights `window`, float32: 1 in the middle, never 0."""
    axes = [(np.arange(side) - (side - 1) / 2) / (side * _SD) for side in window]
    bells = functools.reduce(np.multiply.outer, [np.exp(-0.5 * axis**2) for axis in axes])
    return bells.astype(np.float32)


def _cut(volume, places, inside, shape, value_range):
    """A host batch float32 `[B, *window, C]`, filled up with its last window."""
    shape = (*shape, volume.shape[-1])
    # New memory for every batch: on the CPU, JAX reads it in place while this goes on.
    whole = all(
        part.stop - part.start == side for part, side in zip(inside, shape[1:-1], strict=True)
    )
    batch = np.empty(shape, np.float32) if whole else np.zeros(shape, np.float32)
    for cut, place in zip(batch, places, strict=False):
        cut[inside] = volume[place]
    if value_range is not None:
        filled = batch[(slice(len(places)), *inside)]
        low, high = np.asarray(value_range, np.float32).T
        filled -= low
        filled /= high - low
        np.clip(filled, 0, 1, out=filled)
    batch[len(places) :] = batch[len(places) - 1]
    return batch


def one_behind(run: Callable[[Any], Any], batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs of a batch and its result, each given when the next batch runs already."""
    running = None
    for batch in batches:
        result = run(batch)
        if running is not None:
            yield running
        running = batch, result
    if running is not None:
        yield running


def _blend(mean, total, place, weights, probabilities, scratch):
    """Takes one window into the weighted mean of every voxel it covers.

    By increments: a voxel's first share is w / w = 1 and its mean so far 0, which gives exactly
    the first prediction; while later ones equal it they add exactly 0. A sum of weighted
    predictions over a sum of weights would leave the rounding of both.
    """
    share, step = scratch  # memory that stays: new arrays of this size take three times as long
    covered = total[place]
    covered += weights
    np.divide(weights, covered, out=share)
    for channel, part in enumerate(mean[(slice(None), *place)]):
        np.subtract(probabilities[..., channel], part, out=step)
        step *= share
        part += step
