"""Segmentations of whole scans, written in each scan's own geometry."""

import glob
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genesis_jax.card import Card
from genesis_jax.errors import UserError, collected_remarks
from genesis_jax.imaging.geometry import output_suffix, read_placed, restore, write_image
from genesis_jax.imaging.seg_writing import check_series, write_seg
from genesis_jax.inference.inputs import Input
from genesis_jax.inference.prediction_log import Outcome, check_free
from genesis_jax.inference.sliding import predict_scan

_DATA = {'.mhd': ('.raw', '.zraw')}  # beside a header


@dataclass(frozen=True)
class Segmenter:
    """A network that segments, and how.

    Attributes:
      predict: maps batches of windows to probabilities (`sliding.on_devices`).
      card: of the export.
      overlap, batch_size: of the windows.
      keep_probabilities: write them too, one image for each output of the network.
      as_seg: write DICOM SEG, of DICOM series.
    """

    predict: Callable
    card: Card
    overlap: float
    batch_size: int
    keep_probabilities: bool = False
    as_seg: bool = False

    def __call__(self, source, label_file, progress):
        """Segments one scan (`inputs.Input`); returns the ml of every foreground class.

        Probabilities, not labels, go back to the scan's grid, interpolated linearly where the
        network works at another spacing: the borders come out smooth instead of in steps of the
        network's voxels. They do so one class at a time, and the highest so far is kept, so that
        host memory is that of the network's grid (float32, all classes) and of two images.

        Raises:
          ScanError: the scan cannot be used.
        """
        about = self.card
        grid = (about.modality, about.spacing, bool(about.full_range))
        if self.as_seg:  # before the work, which would be lost
            check_series(source.channels[0], about.modality, about.classes[1:])
        scan = read_placed(source.channels, about.channels, *grid)
        options = {'overlap': self.overlap, 'batch_size': self.batch_size, 'progress': progress}
        probabilities = predict_scan(self.predict, self.card, scan.voxels, scan.window, **options)
        file = source.channels[0].files[0]
        labels = self._labels(probabilities, scan, file, label_file)
        # Last: whoever sees it sees a finished scan.
        if self.as_seg:
            series, names = source.channels[0], about.classes[1:]
            write_seg(labels, scan.stored, label_file, series, about.modality, names)
        else:
            write_image(labels, scan.stored, label_file, file)
        counts = np.bincount(labels.ravel(order='K'), minlength=len(self.card.classes))
        return counts[1:] * np.prod(scan.stored.spacing) / 1000

    def _labels(self, probabilities, scan, file, label_file):
        """Class indices uint8 [I, J, K] on the grid of the file."""
        outputs = probabilities.shape[-1]
        names = self.card.output_classes
        highest = labels = None
        for output, name in enumerate(names):
            values = restore(probabilities[..., output], scan.prepared, scan.stored)
            if self.keep_probabilities:
                index = output if outputs > 1 else 1
                write_image(values, scan.stored, probability_file(label_file, index, name), file)
            if outputs == 1:
                return (values > 0.5).astype(np.uint8)
            if highest is None:
                highest, labels = values.copy(), np.zeros(values.shape, np.uint8)
                continue
            labels[values > highest] = output
            np.maximum(highest, values, out=highest)
        return labels


def segment(
    inputs: Sequence[Input], segmenter: Segmenter, output: Path, *, overwrite=False, members=()
) -> Outcome:
    """Segments scans (`inputs.Input`) into the folder `output`; returns the Outcome.

    Writes `CASE.nii.gz` (or in the format of the scan, or DICOM SEG) and summary.csv. Scans that
    fail are skipped; of what is overwritten, nothing stays of the scans given, so that no result is
    taken for that of another network. Of several `members` (names) the table tells them.

    Raises:
      UserError: results are there already and are not to be overwritten; or they are to be DICOM
        SEG and no scan is DICOM.
    """
    outcome = Outcome(output / 'summary.csv', members=members)
    if segmenter.as_seg:
        inputs = _series_only(inputs)
    earlier = [_results(output, scan) for scan in inputs]
    files = [both[segmenter.as_seg] for both in earlier]
    check_free([*(file for both in earlier for file in both), outcome.table], overwrite)
    outcome.table.unlink(missing_ok=True)
    classes = (segmenter.card.classes or [])[1:]
    rows = zip(inputs, files, earlier, strict=True)
    for scan, file, results in tqdm(rows, 'scans', len(inputs), unit='scan', disable=None):
        started = time.perf_counter()
        for result in results:
            _remove(result, files)
        if scan.reason:
            outcome.skip(scan.shown, scan.reason)
            continue
        try:
            with (
                tqdm(desc=scan.scan_id, unit='window', leave=False, disable=None) as bar,
                collected_remarks() as told,
            ):
                volumes = segmenter(scan, file, _advance(bar))
        except Exception as error:  # whatever one scan does to a library, the others are predicted
            outcome.skip(scan.shown, error)
            continue
        outcome.remark(scan.shown, told)
        seconds = time.perf_counter() - started
        millilitres = {f'{name}_ml': round(v, 3) for name, v in zip(classes, volumes, strict=True)}
        outcome.rows.append({'scan': scan.scan_id, 'seconds': round(seconds, 2), **millilitres})
        outcome.scans += 1
        outcome.write()  # after every scan: who stops early has it for those that are done
        figures = ', '.join(f'{n} {v:.1f} ml' for n, v in zip(classes, volumes, strict=True))
        tqdm.write(f'{scan.scan_id}: {seconds:.1f} s, {figures}')
    if outcome.scans > 1:
        columns = {name: [row[f'{name}_ml'] for row in outcome.rows] for name in classes}
        figures = ', '.join(f'{name} {np.mean(values):.1f} ml' for name, values in columns.items())
        outcome.lines.append(f'On average: {figures}')
    return outcome


def _results(output: Path, scan: Input) -> tuple[Path, Path]:
    """What may be written for a scan: an image, or a DICOM SEG."""
    image = scan.scan_id + output_suffix(scan.channels[0])
    return output / image, output / f'{scan.scan_id}.dcm'


def _series_only(inputs: Sequence[Input]) -> list[Input]:
    """The inputs, those that are no DICOM with the reason why no SEG can be of them."""
    why = 'is no DICOM series, to which a DICOM SEG could refer; leave out --format=seg for it'
    if inputs and not any(scan.channels[0].is_dicom for scan in inputs):
        raise UserError(f'{inputs[0].shown} {why}')
    return [
        scan if scan.channels[0].is_dicom else replace(scan, reason=scan.reason or why)
        for scan in inputs
    ]


def probability_file(label_file: Path, index: int, name: str) -> Path:
    """Where the probabilities of a class go: CASE_p1_liver.nii.gz."""
    stem, suffix = _split(label_file)
    safe = re.sub(r'[^\w.-]+', '_', name)
    return label_file.with_name(f'{stem}_p{index}_{safe}{suffix}')


def _remove(label_file, others):
    """Removes an earlier result of a scan; `others` are label files, which may look like it."""
    stem, suffix = _split(label_file)
    results = label_file.parent.glob(f'{glob.escape(stem)}_p[0-9]*_*{suffix}')
    for file in [label_file, *(file for file in results if file not in others)]:
        for part in (file, *(file.with_suffix(data) for data in _DATA.get(suffix, ()))):
            part.unlink(missing_ok=True)


def _split(label_file):
    suffix = '.nii.gz' if label_file.name.endswith('.nii.gz') else label_file.suffix
    return label_file.name.removesuffix(suffix), suffix


def _advance(bar):
    def progress(done, total):
        bar.total = total
        bar.update(done - bar.n)

    return progress
