"""Metrics against the published implementation's numbers, scikit-learn, and cases made by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from genesis_jax import metrics

ROOT = Path(__file__).parent.parent
_SHAPE = (5, 4, 3)
_masks = hnp.arrays(bool, _SHAPE)
_probabilities = hnp.arrays(np.float32, _SHAPE, elements=st.floats(0, 1, width=32))


def _box(start, stop, shape=(20, 20, 10)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def _two_classes(rng, count=60, gain=1.0):
    labels = rng.permutation(count) < count // 3
    return labels.astype(int), rng.normal(size=count) + gain * labels


# --- overlap ---------------------------------------------------------------------------------


def test_the_published_implementation_gives_these_numbers(golden):
    expected = json.loads((golden / 'metrics.json').read_text())
    del expected['dice_soft_smooth1']  # that of the loss, see test_losses.py
    with np.load(golden / 'metrics.npz') as stored:
        probabilities, mask = stored['p'], stored['y']
    found = {
        'mean_iou_paper': metrics.mean_iou_paper(probabilities, mask),
        'iou_foreground_0.5': metrics.iou(probabilities, mask),
        'dice_hard_0.5': metrics.dice(probabilities, mask),
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_overlap_of_boxes():
    a, b = _box((0, 0, 0), (4, 4, 4)), _box((2, 0, 0), (6, 4, 4))
    assert metrics.dice(a, b) == 0.5
    assert metrics.iou(a, b) == pytest.approx(1 / 3)
    size, union, both = a.size, 96, 32
    expected = (both / union + (size - union) / (size - both)) / 2
    assert metrics.mean_iou_paper(a, b) == pytest.approx(expected)


@pytest.mark.parametrize('metric', [metrics.dice, metrics.iou])
def test_overlap_of_empty_masks(metric):
    empty, filled = np.zeros(_SHAPE, bool), np.ones(_SHAPE, bool)
    assert metric(empty, empty) == 1
    assert metric(empty, filled) == metric(filled, empty) == pytest.approx(0, abs=0.02)
    assert metrics.mean_iou_paper(empty, empty) == metrics.mean_iou_paper(filled, filled) == 1
    assert metrics.mean_iou_paper(empty, filled) == metrics.mean_iou_paper(filled, empty) == 0


@given(_masks, _masks)
@settings(deadline=None)
def test_overlap_of_masks_is_symmetric_bounded_and_1_only_for_equals(a, b):
    for metric in (metrics.dice, metrics.iou, metrics.mean_iou_paper):
        assert 0 <= metric(a, b) <= 1
        assert metric(a, b) == metric(b, a) == metric(a[::-1], b[::-1])
        assert (metric(a, b) == 1) == np.array_equal(a, b)
    dice, iou = metrics.dice(a, b), metrics.iou(a, b)
    assert dice == pytest.approx(2 * iou / (1 + iou))


@given(_probabilities, _masks)
@settings(deadline=None)
def test_overlap_of_probabilities_is_that_of_what_lies_above_the_threshold(p, mask):
    assert metrics.dice(p, mask, 0.3) == metrics.dice(p > 0.3, mask)
    thresholds = [percent / 100 for percent in range(50, 100, 5)]
    ious = [(metrics.iou(p > t, mask) + metrics.iou(p <= t, ~mask)) / 2 for t in thresholds]
    assert metrics.mean_iou_paper(p, mask) == pytest.approx(np.mean(ious))


def test_overlap_of_different_shapes_is_an_error():
    with pytest.raises(ValueError, match='a prediction of'):
        metrics.dice(np.zeros((4, 4, 1)), np.zeros((4, 4)))


# --- surfaces --------------------------------------------------------------------------------


def test_surfaces_of_a_shifted_plate_are_apart_by_the_shift():
    """A plate one voxel thick is its own surface; shifted along z by 3 voxels of 2 mm: 6 mm."""
    a, b = _box((0, 0, 2), (20, 20, 3)), _box((0, 0, 5), (20, 20, 6))
    distances = metrics.surface_distances(a, b, (1.0, 1.0, 2.0))
    assert [np.unique(side).tolist() for side in distances] == [[6.0], [6.0]]
    assert metrics.hd95(*distances) == 6
    assert metrics.surface_dice(*distances, tolerance=5.9) == 0
    assert metrics.surface_dice(*distances, tolerance=6) == 1


def test_hd95_forgives_five_percent_of_the_surface():
    plate, speck = _box((0, 0, 2), (20, 20, 3)), _box((0, 0, 9), (1, 1, 10))
    distances = metrics.surface_distances(plate | speck, plate, (1, 1, 1))
    assert max(distances[0]) == 7
    assert metrics.hd95(*distances) == 0
    assert metrics.surface_dice(*distances, tolerance=1) == pytest.approx(800 / 801)


def test_the_inside_is_no_surface_and_a_tolerance_includes_itself():
    a, b = _box((2, 2, 2), (9, 9, 7)), _box((3, 2, 2), (9, 9, 7))
    from_prediction, from_mask = metrics.surface_distances(a, b, (0.1, 0.1, 0.1))
    assert from_prediction.size == 7 * 7 * 5 - 5 * 5 * 3
    assert from_mask.size == 6 * 7 * 5 - 4 * 5 * 3
    assert metrics.surface_dice(from_prediction, from_mask, tolerance=0.1) == 1


def test_surfaces_of_empty_masks():
    empty, filled = np.zeros(_SHAPE, bool), np.ones(_SHAPE, bool)
    for a, b, distance, share in [(empty, empty, 0, 1), (empty, filled, np.nan, 0)]:
        for pair in ((a, b), (b, a)):
            distances = metrics.surface_distances(*pair, (1, 1, 1))
            assert metrics.hd95(*distances) == pytest.approx(distance, nan_ok=True)
            assert metrics.surface_dice(*distances) == share


@given(_masks, _masks, st.floats(0.5, 3))
@settings(deadline=None)
def test_surfaces_are_symmetric_scale_with_the_spacing_and_agree_with_brute_force(a, b, scale):
    distances = metrics.surface_distances(a, b, (scale, scale, 2 * scale))
    for side, expected in zip(distances, _brute_force(a, b), strict=True):
        np.testing.assert_allclose(side, expected * scale)
    assert metrics.hd95(*distances) == pytest.approx(metrics.hd95(*distances[::-1]), nan_ok=True)
    near, far = (metrics.surface_dice(*distances, tolerance) for tolerance in (1, 2))
    assert 0 <= near <= far <= 1


def test_few_points_in_a_large_volume_are_as_far_apart_as_by_brute_force(rng):
    a, b = (np.zeros((120, 100, 80), bool) for _ in range(2))
    for mask in (a, b):
        mask[tuple(rng.integers(0, side, 50) for side in mask.shape)] = True
    a[30:34, 30:34, 30:34] = b[31:36, 30:34, 30:34] = True
    found = metrics.surface_distances(a, b, (1, 1, 2))
    for side, expected in zip(found, _brute_force(a, b), strict=True):
        np.testing.assert_allclose(side, expected)


def _brute_force(a, b):
    """Distances by comparing all points, at a spacing of (1, 1, 2)."""
    surfaces = []
    for mask in (a, b):
        padded = np.pad(mask, 1)
        hidden = mask.copy()
        for axis in range(3):
            for step in (-1, 1):
                hidden &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
        surfaces.append(np.argwhere(mask & ~hidden) * (1, 1, 2))
    table = np.linalg.norm(surfaces[0][:, None] - surfaces[1], axis=-1)
    return table.min(axis=1, initial=np.inf), table.min(axis=0, initial=np.inf)


# --- cases -----------------------------------------------------------------------------------


def test_a_case_has_a_row_for_every_class_but_the_background():
    mask = _box((2, 2, 2), (8, 8, 8)).astype(np.uint8)
    mask[10:14, 10:14, 2:6] = 2
    shifted = np.roll(mask, 1, axis=0)
    classes = ['background', 'liver', 'lesion']
    rows = metrics.case_metrics(shifted, mask, (1.5, 1, 1), classes)
    assert [row['class'] for row in rows] == classes[1:]
    assert list(rows[0]) == ['class', *metrics.CASE_METRICS]
    assert all(type(row[name]) is float for row in rows for name in metrics.CASE_METRICS)
    assert [row['dice'] for row in rows] == pytest.approx([5 / 6, 3 / 4])
    assert [row['hd95'] for row in rows] == [1.5, 1.5]
    soft = np.eye(3)[shifted] * 0.8 + 0.1 * (1 - np.eye(3)[shifted])
    graded = metrics.case_metrics(soft.astype(np.float32), mask, (1.5, 1, 1), classes)
    for row, other in zip(rows, graded, strict=True):
        assert row | {'mean_iou_paper': 0} == other | {'mean_iou_paper': 0}
        assert row['mean_iou_paper'] > other['mean_iou_paper']  # nothing is above 0.85
    means = metrics.segmentation_metrics(rows, classes)
    assert means['dice'] == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert means['dice_lesion'] == pytest.approx(3 / 4)


def test_one_output_is_the_probability_of_the_foreground(rng):
    mask = _box((2, 2, 2), (8, 8, 8)).astype(np.uint8)
    probabilities = np.clip(mask * 0.5 + rng.uniform(0, 0.5, mask.shape), 0, 1)
    one = metrics.case_metrics(probabilities[..., None], mask, (1, 1, 1), ['background', 'liver'])
    both = np.stack([1 - probabilities, probabilities], axis=-1)
    assert one == metrics.case_metrics(both, mask, (1, 1, 1), ['background', 'liver'])
    assert one[0]['mean_iou_paper'] == metrics.mean_iou_paper(probabilities, mask)


def test_a_class_that_is_in_neither_mask_nor_prediction_is_not_counted():
    """A lesion in one case of five that is never found has a Dice of 0, not of 4 / 5."""
    mask = _box((2, 2, 2), (8, 8, 8)).astype(np.uint8)
    classes = ['background', 'liver', 'lesion']
    without = metrics.case_metrics(mask, mask, (1, 1, 1), classes)
    assert without[0]['dice'] == 1 and np.isnan([without[1][n] for n in metrics.CASE_METRICS]).all()
    ill = mask.copy()
    ill[12:15, 12:15, 2:5] = 2
    missed = metrics.case_metrics(mask, ill, (1, 1, 1), classes)
    rows = 4 * without + missed
    means, counts = (
        summed(rows, classes)
        for summed in (metrics.segmentation_metrics, metrics.segmentation_counts)
    )
    assert (means['dice_liver'], means['dice_lesion']) == (1, 0)
    assert means['dice'] == pytest.approx(5 / 6) and means['hd95'] == 0
    assert counts['dice'] == [6, 10] and counts['hd95'] == [5, 10]
    assert counts['dice_liver'] == [5, 5] and counts['dice_lesion'] == [1, 5]
    false = metrics.case_metrics(ill, mask, (1, 1, 1), classes)
    assert metrics.segmentation_metrics(4 * without + false, classes)['dice_lesion'] == 0


def test_a_prediction_of_another_number_of_classes_is_an_error():
    with pytest.raises(ValueError, match=r'\(20, 20, 10, 3\) for a mask of .* and 2 classes'):
        mask = np.zeros((20, 20, 10), int)
        metrics.case_metrics(np.zeros((20, 20, 10, 3)), mask, (1, 1, 1), ['background', 'liver'])


# --- ranking ---------------------------------------------------------------------------------


def test_ranking_agrees_with_scikit_learn(rng):
    labels, scores = _two_classes(rng)
    scores = np.round(scores, 1)  # ties
    assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert metrics.average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores)
    )
    classes, table = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    assert metrics.auc(classes, table) == pytest.approx(
        roc_auc_score(classes, table, multi_class='ovr')
    )
    findings = rng.integers(0, 2, (60, 3))
    assert metrics.auc(findings, table) == pytest.approx(roc_auc_score(findings, table))


def test_delong_by_hand():
    """Three positives that beat 3, 2 and 2 of 3 negatives; the negatives lose to 3, 3 and 1.

    AUC 7/9; variances of (1, 2/3, 2/3) and (1, 1, 1/3) with n - 1: 1/27 and 4/27;
    squared error (1/27 + 4/27) / 3.
    """
    labels, scores = [1, 1, 1, 0, 0, 0], [0.9, 0.6, 0.5, 0.1, 0.2, 0.8]
    low, high = metrics.auc_interval(labels, scores, level=0.5)
    assert metrics.auc(labels, scores) == pytest.approx(7 / 9)
    reach = 0.6744897501960817 * np.sqrt(5 / 81)
    assert (low, high) == pytest.approx((7 / 9 - reach, 7 / 9 + reach))


@pytest.mark.parametrize('kind', ['two classes', 'three classes', 'findings'])
def test_the_interval_is_as_wide_as_the_bootstrap_finds(rng, kind):
    if kind == 'two classes':
        labels, scores = _two_classes(rng, 400)
    else:
        classes = rng.integers(0, 3, 400)
        scores = rng.normal(size=(400, 3)) + np.eye(3)[classes]
        labels = classes if kind == 'three classes' else np.eye(3, dtype=int)[classes]
    draws = rng.integers(0, 400, (400, 400))
    spread = np.std([metrics.auc(labels[draw], scores[draw]) for draw in draws])
    low, high = metrics.auc_interval(labels, scores)
    assert (high - low) / 2 / 1.96 == pytest.approx(spread, rel=0.12)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_auc_heeds_ranks_only_and_turns_with_the_labels(seed):
    labels, scores = _two_classes(np.random.default_rng(seed), 24)
    scores = np.round(scores)
    area, interval = metrics.auc(labels, scores), metrics.auc_interval(labels, scores)
    assert metrics.auc(labels, np.exp(scores)) == pytest.approx(area)
    assert metrics.auc(1 - labels, scores) == pytest.approx(1 - area)
    assert metrics.auc_interval(labels, np.exp(scores)) == pytest.approx(interval)
    assert 0 <= interval[0] <= area <= interval[1] <= 1


@pytest.mark.parametrize('labels', [[1, 1, 1], [0, 0, 0], []])
def test_one_class_has_no_ranking(labels):
    scores = np.linspace(0.1, 0.9, len(labels))
    found = metrics.classification_metrics(labels, scores, [*'aab'][: len(labels)])
    accuracy = found.pop('accuracy')
    assert np.isnan(list(found.values())).all() and len(found) == 5
    assert np.isnan(accuracy) == (not labels)


def test_a_finding_that_nobody_has_is_left_out_of_the_mean(rng):
    labels, scores = rng.integers(0, 2, (30, 2)), rng.uniform(size=(30, 2))
    labels[:, 1] = 0
    assert metrics.auc(labels, scores) == metrics.auc(labels[:, 0], scores[:, 0])


def test_two_probabilities_are_that_of_class_1(rng):
    labels, scores = _two_classes(rng)
    probabilities = 1 / (1 + np.exp(-scores))
    one = metrics.classification_metrics(labels, probabilities[:, None])
    two = metrics.classification_metrics(labels, np.stack([1 - probabilities, probabilities], 1))
    assert one == two == metrics.classification_metrics(labels, probabilities)


def test_accuracy_of_two_classes_of_three_and_of_findings():
    assert metrics.accuracy([0, 1, 1, 0], [0.5, 0.6, 0.4, 0.1]) == 0.75
    assert metrics.accuracy([0, 2], [[0.4, 0.3, 0.3], [0.5, 0.2, 0.3]]) == 0.5
    assert metrics.accuracy([[0, 1], [1, 1]], [[0.1, 0.9], [0.2, 0.9]]) == 0.75


def test_scores_that_are_not_numbers_are_an_error():
    with pytest.raises(ValueError, match='must be finite'):
        metrics.auc([0, 1], [0.1, np.nan])


def test_froc_by_hand():
    """By falling score: hit, false, hit, false, false, miss; two scans of three candidates."""
    labels, scores = [1, 0, 1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    scans = ['a', 'b', 'a', 'b', 'a', 'b']
    found = metrics.froc(scans, labels, scores, rates=(0.1, 0.49, 0.5, 1, 1.49, 1.5, 8))
    np.testing.assert_allclose(found, np.array([1, 1, 2, 2, 2, 3, 3]) / 3)
    assert metrics.luna16_score(scans, labels, scores) == pytest.approx(
        (1 + 1 + 2 + 2 + 3 + 3 + 3) / 21
    )


def test_froc_of_tied_candidates_lies_on_a_line():
    found = metrics.froc(['a'] * 4, [1, 1, 0, 0], [0.5] * 4, rates=(0.5, 1, 2))
    np.testing.assert_allclose(found, [0.25, 0.5, 1])


def test_metrics_import_no_jax():
    code = 'import sys; sys.modules["jax"] = None; import genesis_jax.metrics'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
