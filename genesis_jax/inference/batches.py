"""Predictions of examples of a network's own size, batch by batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from genesis_jax.inference.sliding import one_behind
from genesis_jax.transforms.window import normalise


def predict_examples(
    predict: Callable[[np.ndarray], Any],
    records: Iterable[dict[str, Any]],
    batch_size: int,
    window: Sequence[float] | None,
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Pairs `(record, probabilities)` in the order of the records.

    Args:
      predict: maps batches `[B, ..., C]` in [0, 1] to `[devices, B / devices, ...]`
        (`sliding.on_devices`).
      records: dicts with `cube` int16 `[..., C]` and `window` `[2]` or `[C, 2]`.
      batch_size: a multiple of the number of local devices; the last batch is padded.
      window: (low, high), what becomes 0 and 1; None: the records' own.
    """

    def run(chunk):
        padded = chunk + chunk[:1] * (batch_size - len(chunk))
        batch = {name: np.stack([r[name] for r in padded]) for name in ('cube', 'window')}
        return predict(np.asarray(normalise(batch, window)))

    records = iter(records)
    chunks = iter(lambda: list(islice(records, batch_size)), [])
    for chunk, outputs in one_behind(run, chunks):
        outputs = np.asarray(outputs)
        outputs = outputs.reshape(batch_size, *outputs.shape[2:])
        yield from zip(chunk, outputs, strict=False)  # without the padding
