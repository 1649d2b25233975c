"""Where the patches of a labelled volume lie, and what fills them beyond it."""

import numpy as np
import pytest

from data_prep.sampling.patches import GridPatches, RandomPatches, cut_patches
from data_prep.types import LabelledVolume


@pytest.fixture
def volume(rng):
    voxels = rng.integers(-500, 500, (30, 28, 20, 2)).astype(np.int16)
    mask = np.zeros((30, 28, 20), np.uint8)
    mask[5:25, 6:20, 4:18] = 1
    mask[12, 13, 14] = 2
    return LabelledVolume(voxels, mask, (1, 1, 2), np.array([[-400, 400], [-300.5, 400]]))


def test_half_of_the_patches_are_centred_on_each_class_in_turn(rng, volume):
    size = (8, 8, 4)
    starts = RandomPatches(size, 200, 0.5).starts(rng, volume)
    centres = [volume.mask[tuple(np.add(start, np.array(size) // 2))] for start in starts[:100]]
    assert 0 not in centres and 30 < centres.count(2) < 70
    assert len(set(starts[100:])) > 80
    mask = np.zeros_like(volume.mask)
    empty = LabelledVolume(volume.voxels, mask, volume.spacing, volume.window)
    assert len(RandomPatches(size, 10, 0.5).starts(rng, empty)) == 10


def test_patches_beyond_a_small_scan_are_filled_up(rng, volume):
    size = (34, 8, 25)
    for rule in (RandomPatches(size, 5, 0.5), GridPatches(size, 10, 0.1)):
        starts = rule.starts(rng, volume)
        assert {(start[0], start[2]) for start in starts} == {(-2, -3)}
        for item in cut_patches(volume, starts, size):
            assert item.cube.shape == (*size, 2) and item.mask.shape == size
            y = item.origin[1]
            inside = (slice(2, 32), slice(None), slice(3, 23))
            np.testing.assert_array_equal(item.cube[inside], volume.voxels[:, y : y + 8])
            np.testing.assert_array_equal(item.mask[inside], volume.mask[:, y : y + 8])
            assert (item.cube[:2] == (-400, -300)).all() and not item.mask[:2].any()


def test_patches_without_brain_are_left_out():
    voxels = np.zeros((40, 40, 20, 1), np.int16)
    voxels[20:, 20:] = -5  # below the black around it
    volume = LabelledVolume(voxels, np.zeros((40, 40, 20), np.uint8), (1,) * 3, np.zeros((1, 2)))
    assert GridPatches((10, 10, 10), 10, 0.1).starts(None, volume) == [
        (x, y, z) for x in (20, 30) for y in (20, 30) for z in (0, 10)
    ]
