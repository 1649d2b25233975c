"""Classes or findings of 2D image files, read as those that the network was trained on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genesis_jax.card import Card
from genesis_jax.errors import UserError
from genesis_jax.imaging.images import SUFFIXES, find_images, read_grey
from genesis_jax.imaging.scans import Scan
from genesis_jax.inference.batches import predict_examples
from genesis_jax.inference.prediction_log import Outcome, check_free

_NAMED = 3  # of the images that a line of the closing summary is about


def classify_images(
    source: Path,
    predict: Callable,
    card: Card,
    output: Path,
    *,
    batch_size,
    overwrite=False,
    members=(),
) -> Outcome:
    """Classifies an image (PNG, JPEG, TIFF, BMP), or every one in a folder.

    Writes predictions.csv with the columns image and `p_<class>` (of two classes, the second's
    only; of findings, each). Images that cannot be read are skipped. Returns the Outcome.

    Args:
      source: the image or the folder.
      predict: maps batches of images to probabilities (`sliding.on_devices`).
      card: of the export.
      output: the folder to write to.
      batch_size: a multiple of the number of local devices.
      members: names of the networks; of several, the table tells them.

    Raises:
      UserError: there is no such path or no image in it, or results are there already and are not
        to be overwritten.
    """
    outcome = Outcome(output / 'predictions.csv', called='images', members=members)
    check_free([outcome.table], overwrite)
    if not source.exists():
        raise UserError(f'{source} does not exist; check --input')
    images = [Scan(source.stem, source.name, (source,))]
    if source.is_dir():
        images = find_images(source, outcome.lines.append, [outcome.table])
    if not images:
        raise UserError(f'{source} holds no image; expected {", ".join(SUFFIXES)}')
    outcome.table.unlink(missing_ok=True)  # should every image fail, no earlier one stays
    names = [f'p_{name}' for name in card.output_classes]
    records = _read(tqdm(images, 'images', unit='image', disable=None), card, outcome)
    dark = []
    for record, probabilities in predict_examples(predict, records, batch_size, card.window):
        values = zip(names, map(float, probabilities), strict=True)
        outcome.rows.append({'image': record['shown'], **dict(values)})
        outcome.scans += 1
        dark += [record['shown']] * record['dark']
    if dark:
        outcome.lines.append(_darkness(dark))
    if outcome.scans:
        outcome.write()
    return outcome


def _darkness(names):
    """A line on the images that the network saw nearly black."""
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return (
        'Nearly black, less than an eighth of the bit depth being used: '
        f'{", ".join(names[:_NAMED])}{more}; rescale them to the full range, unless the network '
        'was trained on images as dark'
    )


def _read(images, card, outcome):
    """The records of all images that can be read."""
    kind = 'depth' if card.full_range else 'robust'
    for image in images:
        try:
            grey = read_grey(image.files[0], card.cube_shape[:2], kind)
        except Exception as error:  # whatever one file does to a library, the others are predicted
            outcome.skip(image.shown, error)
            continue
        yield {
            'cube': grey.pixels[..., None],
            'window': np.array([grey.window], np.float32),
            'shown': image.shown,
            'dark': bool(grey.remark),  # there is no other; its words are those of a preparation
        }
