"""Classes of candidate points: a patch around each, cut as those the network was trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tqdm import tqdm

from genesis_jax.card import Card
from genesis_jax.data import views
from genesis_jax.errors import PrepareError, collected_remarks
from genesis_jax.imaging.points import PointRule, check_points, cut_points, gather
from genesis_jax.imaging.scans import Scan
from genesis_jax.imaging.tables import parse_position, read_rows, with_scans
from genesis_jax.imaging.volumes import Modality
from genesis_jax.inference.batches import predict_examples
from genesis_jax.inference.prediction_log import Outcome, check_free

_COLUMNS = ('scan', 'x', 'y', 'z')
_LUNA16 = ('seriesuid', 'coordX', 'coordY', 'coordZ')  # of its own candidates_V2.csv


def classify(
    scans: Sequence[Scan],
    table: Path,
    predict,
    card: Card,
    output,
    *,
    batch_size,
    overwrite=False,
    members=(),
) -> Outcome:
    """Classifies the points of a CSV file with columns scan, x, y, z (world mm, LPS), or LUNA16's.

    Writes predictions.csv: the same rows with `p_<class>` (of two classes, the second's only),
    empty for the points of a scan that fails. Returns the Outcome.

    Args:
      scans: `imaging.volumes.Scan`s that the rows may name.
      table: the CSV file.
      predict: maps batches of patches to probabilities (`sliding.on_devices`).
      card: of the export.
      output: the folder to write to.
      batch_size: a multiple of the number of local devices.
      members: names of the networks; of several, the table tells them.

    Raises:
      PrepareError: the table is not such a table, or a row contradicts the scans.
      UserError: results are there already and are not to be overwritten.
    """
    outcome = Outcome(output / 'predictions.csv', members=members)
    check_free([outcome.table], overwrite)
    names = [f'p_{name}' for name in card.output_classes]
    spacing = tuple(card.spacing) if card.spacing else None
    size = tuple(card.record_shape or card.cube_shape or ())[:-1]  # of what a view reads in 2D
    rule = PointRule(size, spacing, cast(Modality, card.modality), False, str(table))
    rows = list(read_rows(table, _COLUMNS, instead=_LUNA16))
    located = _located(scans, table, rows)
    check_points(located, rule)
    outcome.table.unlink(missing_ok=True)  # should every scan fail, no earlier one stays
    outcome.rows = [row | dict.fromkeys(names, '') for _, row in rows]
    line_of = {line: place for place, (line, _) in enumerate(rows)}
    for scan, points in tqdm(located, 'scans', unit='scan', disable=None):
        try:
            with collected_remarks() as told:
                examples = _examples(cut_points(scan, points, rule), card.view)
            outcome.remark(scan.shown, told)
            pairs = predict_examples(predict, examples, batch_size, card.window)
            outputs = [probabilities for _, probabilities in pairs]
        except PrepareError:  # a row contradicts its scan: the table is wrong
            raise
        except Exception as error:  # whatever one scan does to a library, the others are predicted
            outcome.skip(scan.shown, error)
            continue
        outcome.scans += 1
        for line, probabilities in zip(points.rows, outputs, strict=True):
            row = outcome.rows[line_of[line]]
            row |= zip(names, map(float, probabilities), strict=True)
    if outcome.scans:
        outcome.write()
    done = sum(row[names[0]] != '' for row in outcome.rows)
    outcome.lines.append(f'Candidates: {done} of {len(rows)}')
    return outcome


def _located(scans, table, rows):
    """The scans that the table names, each with its points."""
    points, scan_of = {}, {}
    luna16 = bool(rows) and set(_LUNA16) <= rows[0][1].keys()
    named, *axes = _LUNA16 if luna16 else _COLUMNS
    for line, row, scan in with_scans(rows, scans, table, 'input', named):
        scan_of[scan.scan_id] = scan
        position = parse_position(table, line, row, axes)
        points.setdefault(scan.scan_id, []).append((line, position, 0))
    if not points:
        raise PrepareError(f'{table} holds no row below its header; add candidates')
    return [(scan, gather(points[scan_id])) for scan_id, scan in scan_of.items()]


def _examples(cuts, view):
    """What the network sees of the patches of one scan: `cube` int16 and `window` of each."""
    records = [{'cube': patch, 'window': cuts.window} for patch in cuts.patches]
    return list(views.viewed(records, view, records[0]['cube'].shape, every=False))
