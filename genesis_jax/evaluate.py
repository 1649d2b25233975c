"""Tests a fine-tuned network, or several as one: python -m genesis_jax.evaluate --model=RUN

Whole scans where the dataset holds them (segmentation), else its test examples; each case in a
table, and the metrics of all. Over several processes each one does the whole work.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import grain
import numpy as np
from tqdm import tqdm

from genesis_jax import metrics, parallel
from genesis_jax.card import Card
from genesis_jax.cli.arguments import Parser, add_networks, path_or_url
from genesis_jax.data import labelled
from genesis_jax.errors import UserError
from genesis_jax.inference import ensemble
from genesis_jax.inference.batches import predict_examples
from genesis_jax.inference.prediction_log import check_free
from genesis_jax.inference.sliding import predict_scan, whole_batch
from genesis_jax.paths import is_url
from genesis_jax.runs import results
from genesis_jax.runs.cards import check_data, check_unseen, config_of, count_seen
from genesis_jax.runs.files import write_atomically
from genesis_jax.runs.workdir import RESULTS

_WRITTEN = (RESULTS, 'cases.csv', 'predictions.csv')
_AHEAD = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)  # whole scans are large


def evaluate(
    predict: Callable, card: Card, dataset: labelled.Labelled, split: str = 'test'
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Predicts a split of a `labelled.Labelled` dataset with a network, or several.

    Args:
      predict: maps batches to probabilities (`inference.ensemble`).
      card: of the network, or of the first of several.

    Returns:
      `(rows, metrics)`: a row (dict) per example (classification) or per case and class, and the
      metrics of all by name.
    """
    config = config_of(card)
    source = dataset.tested(split)
    records = grain.MapDataset.source(source).to_iter_dataset(_AHEAD)
    if source is getattr(dataset, split):
        predictions = predict_examples(
            predict, records, whole_batch(config.batch_size), card.window
        )
    else:
        predictions = (
            (r, predict_scan(predict, card, r['cube'], r['window'], overlap=config.overlap))
            for r in records
        )
    pairs = tqdm(predictions, desc=split, total=len(source), unit='example', disable=None)
    if card.task == 'segmentation':
        return _segmented(pairs, card.classes)
    if card.task == 'multilabel':
        return _multilabel(pairs, card.classes)
    return _classified(pairs, card.classes, of_scans=_is_complete(dataset.about, split))


def _is_complete(about, split):
    """Whether a split holds all negatives of its scans: else false positives are too few."""
    kept = (about.get('recipe') or {}).get('negatives_per_positive') or {}
    return kept.get(split, 'all') == 'all'


def _classified(pairs, classes, of_scans):
    named = list(classes)[1:] if len(classes) == 2 else list(classes)
    rows, labels, scores = [], [], []
    for record, predicted in pairs:
        probability = {f'p_{c}': float(p) for c, p in zip(named, predicted, strict=True)}
        rows.append({**_who(record), 'label': int(record['label']), **probability})
        labels.append(rows[-1]['label'])
        scores.append(predicted)
    scans = [row['scan_id'] for row in rows] if of_scans else None
    return rows, metrics.classification_metrics(np.array(labels), np.array(scores), scans)


def _multilabel(pairs, findings):
    """Of several findings at once: for each its label, and its probability."""
    rows, labels, scores = [], [], []
    for record, predicted in pairs:
        label = np.asarray(record['label'])
        rows.append(
            _who(record)
            | {f'label_{name}': int(value) for name, value in zip(findings, label, strict=True)}
            | {f'p_{name}': float(value) for name, value in zip(findings, predicted, strict=True)}
        )
        labels.append(label)
        scores.append(predicted)
    return rows, metrics.findings_metrics(np.array(labels), np.array(scores), findings)


def _segmented(pairs, classes):
    rows = []
    for record, predicted in pairs:
        mask = record['mask']
        measured = metrics.case_metrics(predicted, mask, record['spacing'][: mask.ndim], classes)
        rows += [_who(record) | row for row in measured]
    return rows, metrics.segmentation_metrics(rows, classes)


def _who(record):
    texts = ((name, record[name]) for name in ('patient', 'scan_id'))
    return {n: text.decode() if isinstance(text, bytes) else str(text) for n, text in texts}


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates a model as the arguments say; returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    try:
        parallel.start()
        _main(args)
    except UserError as error:
        parser.fail(error)
    except KeyboardInterrupt:
        parser.fail('interrupted; nothing was written', 130)
    return 0


def _make_parser():
    parser = Parser(
        prog='python -m genesis_jax.evaluate', description='Tests a fine-tuned network.'
    )
    add_networks(parser)
    option = parser.option
    option('output', path_or_url, 'DIR', 'folder for the tables', required=True)
    training = 'that of the training'
    option('data_dir', path_or_url, 'DIR', 'folder of all datasets', otherwise=training)
    option('name', str, None, 'of the dataset', otherwise=training)
    option('split', labelled.SPLITS, None, 'to predict', 'test')
    parser.switch('overwrite', 'replace earlier results')
    text = 'patients of the same names as those of the training are others'
    parser.switch('other_patients', text)
    return parser


def _main(args):
    networks = ensemble.load(args.model, args.mirror)
    card = networks.card
    config = config_of(card)
    config.data.dir = str(args.data_dir or config.data.dir)
    config.data.name = args.name or config.data.name
    dataset = labelled.open_labelled(config, other='--name')
    check_data(card, dataset, networks.names[0], config.data.name)
    if args.split == 'test' and not args.other_patients:
        for name, member in zip(networks.names, networks.cards, strict=True):
            check_unseen(member, dataset, name, config.data.name)
    _check_output(args.output, args.overwrite)
    rows, measured = evaluate(networks.predict, card, dataset, args.split)
    if not parallel.is_main_process():
        return
    patients = dataset.patients[args.split]
    seen = 0 if args.other_patients else count_seen(networks.cards, patients)
    result = {
        'task': card.task,
        'dataset': config.data.name,
        'split': args.split,
        'classes': card.classes,
        'model': networks.called,
        'members': networks.members,
        **results.measured(card.task, card.classes, measured, rows),
        'examples': dataset.counts[args.split],
        'patients': len(patients),
        'patients_of_training': seen,
    }
    try:
        for name in _WRITTEN:
            (args.output / name).unlink(missing_ok=True)
        results.write_tables(args.output, result, rows, args.split)
        write_atomically(args.output / RESULTS, json.dumps(result, indent=2) + '\n')
    except OSError as error:
        raise _unwritable(args.output, error) from None
    if seen:
        print(
            f'note: the network{"s were" if networks.cards[1:] else " was"} trained on (or chosen '
            f'by) {seen} of these {len(patients)} patients: this is no test'
        )


def _check_output(output, overwrite):
    """Makes the folder; UserError if nothing can be written there, or something is to be lost."""
    if (output / 'config.json').exists():
        raise UserError(f'--output={output} holds a run; choose another folder')
    check_free([output / name for name in _WRITTEN], overwrite)
    if parallel.is_main_process() and not is_url(output):
        try:
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=output):
                pass  # else hours of work might have no place in the end
        except OSError as error:
            raise _unwritable(output, error) from None


def _unwritable(output, error):
    return UserError(
        f'cannot write in --output={output} ({error.strerror or error}); choose another folder'
    )


if __name__ == '__main__':
    sys.exit(main())
