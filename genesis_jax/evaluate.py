"""Tests a fine-tuned network: python -m genesis_jax.evaluate --model=RUN

Whole scans where the dataset holds them (segmentation), else its test examples; each case in a
table, and the metrics of all. Over several processes each one does the whole work.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path

import grain
import jax
import ml_collections
import numpy as np
from tqdm import tqdm

from genesis_jax import data, labelled, metrics, parallel, results
from genesis_jax.checkpoints import load_export
from genesis_jax.errors import UserError
from genesis_jax.models import from_card, probabilities
from genesis_jax.sliding import on_devices, sliding_window

_OF_SCANS = ('channels', 'modality', 'spacing', 'window')
_OF_NETWORKS = ('classes', 'outputs', 'in_channels', 'cube_shape')
_AHEAD = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)  # whole scans are large


def evaluate(variables, card, dataset, split='test'):
    """Predicts a split of a `labelled.Labelled` dataset with the network of an export.

    Returns:
      `(rows, metrics)`: a row (dict) per example (classification) or per case and class, and the
      metrics of all by name.
    """
    network, config = from_card(card), ml_collections.ConfigDict(card['config'])
    predict = on_devices(lambda v, x: probabilities(network.predict(v, x)), variables)
    whole = split == 'test' and dataset.cases is not None
    source = dataset.cases if whole else getattr(dataset, split)
    if whole:
        window, overlap = card['cube_shape'][:-1], config.overlap
        found = _whole(predict, source, window, overlap, card['window'])
    else:
        devices = jax.local_device_count()
        batch_size = -(-config.batch_size // devices) * devices
        found = _examples(predict, source, batch_size, card['window'])
    shown = tqdm(found, desc=split, total=len(source), unit='case', disable=None)
    rows = _classified if card['task'] == 'classification' else _segmented
    return rows(shown, card['classes'])


def _whole(predict, source, window, overlap, given):
    """`(record, probabilities [X, Y, Z, n])` of whole scans."""
    for record in grain.MapDataset.source(source).to_iter_dataset(_AHEAD):
        ranges = record['window'] if given is None else [given] * record['cube'].shape[-1]
        yield (
            record,
            sliding_window(
                predict,
                record['cube'],
                window=window,
                overlap=overlap,
                value_range=np.asarray(ranges, np.float32),
            ),
        )


def _examples(predict, source, batch_size, given):
    """`(record, probabilities)` of examples of the network's own size."""
    records = iter(grain.MapDataset.source(source).to_iter_dataset(_AHEAD))
    while chunk := list(islice(records, batch_size)):
        padded = chunk + chunk[:1] * (batch_size - len(chunk))
        batch = {name: np.stack([r[name] for r in padded]) for name in ('cube', 'window')}
        predicted = jax.device_get(predict(np.asarray(data.normalise(batch, given))))
        predicted = predicted.reshape(batch_size, *predicted.shape[2:])
        yield from zip(chunk, predicted, strict=False)  # without the padding


def _classified(pairs, classes):
    named = list(classes)[1:] if len(classes) == 2 else list(classes)
    rows, labels, scores = [], [], []
    for record, predicted in pairs:
        who = {'patient': _text(record['patient']), 'scan_id': _text(record['scan_id'])}
        probability = {f'p_{c}': float(p) for c, p in zip(named, predicted, strict=True)}
        rows.append({**who, 'label': int(record['label']), **probability})
        labels.append(rows[-1]['label'])
        scores.append(predicted)
    scans = [row['scan_id'] for row in rows]
    return rows, metrics.classification_metrics(np.array(labels), np.array(scores), scans)


def _segmented(pairs, classes):
    rows = []
    for record, predicted in pairs:
        who = {'patient': _text(record['patient']), 'scan_id': _text(record['scan_id'])}
        measured = metrics.case_metrics(predicted, record['mask'], record['spacing'], classes)
        rows += [who | row for row in measured]
    return rows, metrics.segmentation_metrics(rows, classes)


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def main(argv=None):
    """Evaluates a model as the arguments say; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m genesis_jax.evaluate', description='Tests a fine-tuned network.'
    )
    parser.add_argument(
        '--model', required=True, metavar='DIR', help='a run (WORKDIR/seed_0) or its export/model'
    )
    parser.add_argument('--output', required=True, metavar='DIR', help='folder for the tables')
    parser.add_argument('--data_dir', metavar='DIR', help='default: that of the training')
    parser.add_argument('--name', help='of the dataset (default: that of the training)')
    parser.add_argument(
        '--split', choices=labelled.SPLITS, default='test', help='default: %(default)s'
    )
    args = parser.parse_args(argv)
    try:
        parallel.start()
        _main(args)
    except UserError as error:
        parser.exit(1, f'error: {error}\n')
    return 0


def _main(args):
    variables, card = load_model(args.model)
    config = ml_collections.ConfigDict(card['config'])
    config.data.dir = args.data_dir or config.data.dir
    config.data.name = args.name or config.data.name
    dataset = labelled.open_labelled(config)
    if list(dataset.about['classes']) != card['classes']:
        raise UserError(
            f'{args.model} tells {", ".join(card["classes"])} apart and the dataset '
            f'{config.data.name!r} has {", ".join(dataset.about["classes"])}; choose a dataset of '
            'the same classes'
        )
    if dataset.shape[-1] != card['in_channels']:
        raise UserError(
            f'{args.model} takes {card["in_channels"]} channels and the dataset '
            f'{config.data.name!r} has {dataset.shape[-1]}; choose one with as many'
        )
    rows, found = evaluate(variables, card, dataset, args.split)
    results.write_tables(Path(args.output), card['task'], found, rows)


def load_model(folder):
    """The export of a fine-tuned network, named by itself or by its run."""
    inside = Path(folder).expanduser() / 'export' / 'model'
    variables, card = load_export(inside if inside.is_dir() else folder)
    if card.get('task') not in ('classification', 'segmentation'):
        raise UserError(
            f'{folder} is a network that restores cubes; expected a fine-tuned one, such as '
            'WORKDIR/seed_0/export/model'
        )
    if lacking := [name for name in _OF_NETWORKS + _OF_SCANS if name not in card]:
        raise UserError(
            f'the card of {folder} is damaged, it has no {lacking[0]!r}; copy or export it again'
        )
    return variables, card


if __name__ == '__main__':
    sys.exit(main())
