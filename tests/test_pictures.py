"""Pictures of segmentations: which examples they show, when they are drawn, what they say."""

import functools
import types

import numpy as np
import pytest
from matplotlib.figure import Figure

from genesis_jax import finetune, run
from genesis_jax.checkpoints import Progress
from genesis_jax.data import labelled
from genesis_jax.runs import pictures

SHAPE = (8, 8, 4)


def offer(examples, masks, batch_size=2):
    """Offers masks in batches, the last filled up as in validation; returns the rows fetched."""
    fetched = 0
    for start in range(0, len(masks), batch_size):
        position = np.arange(start, start + batch_size)
        batch = {
            'position': position,
            'weight': (position < len(masks)).astype(np.float32),
            'mask': np.stack([masks[i % len(masks)] for i in position]),
        }

        def fetch(batch=batch):
            nonlocal fetched
            fetched += 1
            return batch['mask'][..., None] / 4, batch['mask'][..., None] > 0

        examples.offer(batch, fetch)
    return fetched


def mask_of(*voxels):
    """A mask with this many voxels of class 1, 2, ..."""
    mask = np.zeros(SHAPE, np.uint8)
    for index, count in enumerate(voxels, 1):
        mask[index, :count, 2] = index
    return mask


def test_a_picture_shows_each_patients_richest_example():
    patients = ['a', 'a', 'a', 'b', 'c', 'c', 'd']
    masks = [mask_of(3), mask_of(2, 1), mask_of(8), mask_of(), mask_of(), mask_of(0, 4), mask_of(1)]
    for count, named in ((9, 'abcd'), (3, 'acd'), (2, 'ac'), (1, 'a')):
        examples = pictures.Examples(patients, count)
        offer(examples, masks)
        assert [example.patient for example in examples.chosen] == list(named)
    np.testing.assert_array_equal(examples.chosen[0].mask, masks[1])  # two classes
    np.testing.assert_array_equal(examples.chosen[0].patch[..., 0], masks[1] / 4)
    assert offer(pictures.Examples(['a'] * 8, 1), [mask_of(2)] * 8) == 1  # nothing better to fetch


def test_a_segmentation_is_drawn_with_its_names(monkeypatch):
    figures = []
    monkeypatch.setattr(
        'matplotlib.figure.Figure', lambda *a, **k: figures.append(Figure(*a, **k)) or figures[-1]
    )
    truth = mask_of(4, 0, 2)
    answer = np.eye(4)[mask_of(0, 0, 0, 0)] + np.eye(4)[np.roll(truth, 1, 1)] * 2
    example = pictures.Example('p' * 40, truth, truth[..., None] / 4, answer)
    np.testing.assert_array_equal(example.answer, np.roll(truth, 1, 1))
    image = pictures.segmentations([example, example], ['background', 'liver', 'cyst', 'spleen'])
    assert image.dtype == np.uint8 and image.shape[2] == 3
    axes, (legend,) = figures[0].axes, figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ['liver', 'spleen']
    assert [axes[row].texts[0].get_text() for row in (0, 2, 4)] == ['image', 'truth', 'prediction']
    assert axes[0].get_title() == '…' + 'p' * 25
    shown = axes[2].images[1].get_array()[..., 3]
    np.testing.assert_array_equal(shown > 0, truth[:, :, 2].T > 0)
    assert not axes[0].images[1].get_array()[..., 3].any()  # the plain image


class Steps:
    """Steps that predict what is bright."""

    def evaluate(self, state, batch):
        patches = np.asarray(batch['cube'], np.float32)
        return {'loss': np.float32(state)}, (patches, patches > 0)

    def conclude(self, totals):
        return totals


@pytest.mark.parametrize(
    ('epoch', 'without_gain', 'drawn'),
    [(1, 0, True), (2, 0, False), (4, 0, True), (7, 0, True), (6, 2, True), (6, 1, False)],
)
def test_the_first_the_last_and_some_epochs_are_drawn(make_target, epoch, without_gain, drawn):
    config = make_target('seg', epochs=7, picture_epochs=4, patience=3)
    dataset = labelled.open_labelled(config)
    assert dataset.validation.patients == [p for p in dataset.patients['validation'] for _ in '12']
    steps, images = Steps(), []
    log = types.SimpleNamespace(picture=lambda *about: images.append(about))
    progress = Progress(epochs_without_gain=without_gain)
    picture = functools.partial(finetune._Segmentations, dataset, config)
    job = run.Job(steps, 1, None, dataset.validation, {}, None, picture, None)
    run._validate(config, job, log, progress, 1.0, epoch, 10 * epoch)
    assert [(step, name) for step, _, name in images] == [(10 * epoch, 'segmentation')] * drawn
