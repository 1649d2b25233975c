"""Scores the prediction of the labelled demo in the slices it has not learned from.

    python -m benchmarks.chest_labels --source=chest_labels --predicted=predicted/scan.nrrd

The commands before it stand in the README. Prints Dice by label, in the test slices and (for
comparison only) in those of the training, and draws the picture of the README.
"""

import sys

import numpy as np
import SimpleITK as sitk

from data_prep.demo_labels import LABELS, is_test
from genesis_jax.cli.arguments import Parser, existing_file, existing_folder, path
from genesis_jax.metrics import dice
from genesis_jax.runs.pictures import overlay


def main(argv=None):
    """Prints the table, draws the picture, returns the exit status."""
    parser = Parser(prog='python -m benchmarks.chest_labels')
    parser.option('source', existing_folder, 'DIR', 'what demo_labels wrote', required=True)
    parser.option('predicted', existing_file, 'FILE', 'what predict wrote', required=True)
    parser.option('picture', path, 'FILE', 'PNG to draw')
    args = parser.parse_args(argv)
    files = (args.source / 'scan.nrrd', args.source / 'labels.nrrd', args.predicted)
    # In LPS order the rows of a slice run from front to back, as radiologists look at it.
    images = (sitk.DICOMOrient(sitk.ReadImage(str(file)), 'LPS') for file in files)
    scan, truth, prediction = (sitk.GetArrayFromImage(image) for image in images)
    test = np.array([is_test(z, len(scan)) for z in range(len(scan))])
    print(f'| Dice | {test.sum()} test slices | {(~test).sum()} training slices |')
    print('| --- | --- | --- |')
    for value, name in enumerate(LABELS[1:], start=1):
        scores = [dice(prediction[part] == value, truth[part] == value) for part in (test, ~test)]
        print(f'| {name.replace("_", " ")} | {scores[0]:.3f} | {scores[1]:.3f} |')
    if args.picture:
        draw(scan, truth, prediction, test).savefig(args.picture, dpi=80)
    return 0


def draw(scan, truth, prediction, test):
    """Test slices of the body, top to bottom: the truth above, the prediction below."""
    from matplotlib.figure import Figure

    chosen = np.flatnonzero(test)[1::3][:5]
    figure = Figure((3 * len(chosen), 6.6), layout='constrained')
    axes = figure.subplots(2, len(chosen))
    window = ((scan + 1000) / 1400).clip(0, 1)
    for column, z in enumerate(chosen):
        for row, (title, labels) in enumerate((('truth', truth), ('prediction', prediction))):
            overlay(axes[row, column], window[z].T, labels[z].T)
            axes[row, column].set_title(f'{title}, slice {z}')
    return figure


if __name__ == '__main__':
    sys.exit(main())
