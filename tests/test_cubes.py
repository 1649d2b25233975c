"""The sampling rule, the paper's and the default, against a plain reading of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.sampling.cubes import CubeRule, default_rule, sample_cubes
from genesis_jax.errors import ScanError

FREE = CubeRule(size=(4, 4, 3), border_low=(0, 0, 0), border_high=(0, 0, 0), tries=100)


def plain_score(voxels, start, rule):
    """The tissue score of one patch, voxel by voxel."""
    total = 0.0
    for x in range(start[0], start[0] + rule.size[0]):
        for y in range(start[1], start[1] + rule.size[1]):
            for z in range(start[2], start[2] + rule.size[2]):
                if voxels[x, y, z] >= rule.tissue_threshold:
                    total += 1
                elif z + 1 < voxels.shape[2] and voxels[x, y, z + 1] >= rule.tissue_threshold:
                    total += 0.5
    return total / np.prod(rule.size)


def plain_sample(rng, voxels, rule):
    """The rule as the paper tells it: try after try."""
    low = np.array(rule.border_low)
    high = np.array(voxels.shape) - rule.size - rule.border_high
    starts = rng.integers(low, high + 1, size=(rule.tries, 3), dtype=np.int32)
    kept, tried, air, tissue = [], 0, 0, 0
    for start in starts:
        score = plain_score(voxels, start, rule)
        tried += 1
        air += score <= rule.min_tissue
        tissue += score > rule.max_tissue
        if rule.min_tissue < score <= rule.max_tissue:
            kept.append(start)
        if len(kept) == rule.per_scan:
            break
    return kept, tried, air, tissue


@st.composite
def cases(draw):
    side = st.integers(1, 4)
    size = draw(st.tuples(side, side, side))
    low = draw(st.tuples(*[st.integers(0, 2)] * 3))
    high = draw(st.tuples(*[st.integers(0, 2)] * 3))
    spare = draw(st.tuples(*[st.integers(0, 3)] * 3))
    limits = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    rule = CubeRule(
        size=size,
        per_scan=draw(st.integers(1, 20)),
        tries=draw(st.integers(1, 150)),
        border_low=low,
        border_high=high,
        tissue_threshold=draw(st.floats(-3, 3)),
        min_tissue=limits[0],
        max_tissue=limits[1],
    )
    shape = np.sum([size, low, high, spare], axis=0)
    seed = draw(st.integers(0, 2**32 - 1))
    return rule, np.random.default_rng(seed).integers(-3, 4, shape).astype(np.int16), seed


@given(cases())
def test_the_fast_rule_is_the_plain_rule(case):
    rule, voxels, seed = case
    kept, tried, air, tissue = plain_sample(np.random.default_rng(seed), voxels, rule)
    patches = sample_cubes(np.random.default_rng(seed), voxels, rule)
    assert patches.origins.dtype == np.int32 and patches.voxels.dtype == np.int16
    assert patches.voxels.shape == (len(kept), *rule.size)
    np.testing.assert_array_equal(patches.origins, np.reshape(kept, (-1, 3)))
    assert (patches.tried, patches.air, patches.tissue) == (tried, air, tissue)
    for (x, y, z), patch in zip(patches.origins, patches.voxels, strict=True):
        dx, dy, dz = rule.size
        np.testing.assert_array_equal(patch, voxels[x : x + dx, y : y + dy, z : z + dz])


def test_a_deep_cube_does_not_overflow():
    voxels = np.zeros((1, 1, 301), np.int16)
    rule = replace(FREE, size=(1, 1, 300), min_tissue=0.99, max_tissue=1, per_scan=1)
    with_air = voxels.copy()
    with_air[..., 290:] = -1000
    assert len(sample_cubes(np.random.default_rng(0), voxels, rule).origins) == 1
    assert len(sample_cubes(np.random.default_rng(0), with_air, rule).origins) == 0


def test_memory_order_does_not_matter():
    voxels = np.random.default_rng(0).integers(-1000, 300, (20, 21, 22)).astype(np.int16)
    rule = replace(FREE, max_tissue=1)
    first, second = (
        sample_cubes(np.random.default_rng(1), array, rule)
        for array in (np.ascontiguousarray(voxels), np.asfortranarray(voxels))
    )
    np.testing.assert_array_equal(first.voxels, second.voxels)


def test_the_paper_starts_at_100_to_size_minus_165_and_30_to_depth_minus_66():
    paper = CubeRule(tries=300, per_scan=300, max_tissue=1)
    voxels = np.zeros((270, 268, 99), np.int16)
    origins = sample_cubes(np.random.default_rng(0), voxels, paper).origins
    low, high = origins.min(axis=0), origins.max(axis=0)
    np.testing.assert_array_equal(low, (100, 100, 30))
    np.testing.assert_array_equal(high, (270 - 165, 268 - 165, 99 - 66))


def test_the_least_scan_has_one_start():
    voxels = np.zeros((265, 265, 96), np.int16)
    rule = CubeRule(max_tissue=1, tries=3, per_scan=3)
    origins = sample_cubes(np.random.default_rng(0), voxels, rule).origins
    np.testing.assert_array_equal(origins, [[100, 100, 30]] * 3)


@pytest.mark.parametrize('shape', [(264, 265, 96), (265, 264, 96), (265, 265, 95)])
def test_a_scan_too_small_is_refused_with_what_it_needs(shape):
    has = ' x '.join(map(str, shape))
    with pytest.raises(ScanError, match=f'has {has} voxels .* at least 265 x 265 x 96; lower --cu'):
        sample_cubes(np.random.default_rng(0), np.zeros(shape, np.int16), CubeRule())


def test_all_air_is_refused_as_air_and_all_tissue_as_tissue():
    for value, air, tissue in ((-1000, 100, 0), (0, 0, 100)):
        voxels = np.full((10, 10, 10), value, np.int16)
        patches = sample_cubes(np.random.default_rng(0), voxels, FREE)
        assert (len(patches.origins), patches.air, patches.tissue) == (0, air, tissue)


def test_the_tissue_limit_is_included():
    voxels = np.full((4, 4, 4), -1000, np.int16)
    voxels[:3, 0, 1] = -150  # 3 voxels are tissue and the 3 before them half: 4.5 of 48
    rule = replace(FREE, per_scan=1, max_tissue=4.5 / 48)
    voxels = voxels[:, :, :3]
    assert len(sample_cubes(np.random.default_rng(0), voxels, rule).origins) == 1
    rule = replace(rule, max_tissue=np.nextafter(4.5 / 48, 0))
    assert sample_cubes(np.random.default_rng(0), voxels, rule).tissue == rule.tries


def test_by_default_patches_lie_anywhere_but_in_air():
    ct = default_rule('ct')
    assert ct.border_low == ct.border_high == (0, 0, 0) and ct.tissue_threshold == -150
    assert (ct.min_tissue, ct.max_tissue) == (0.01, 1) and ct.size == CubeRule().size
    for modality in ('mri', 'other'):
        rule = default_rule(modality)
        assert rule.border_low == rule.border_high == (0, 0, 0)
        assert rule.at_window((100, 600)).tissue_threshold == 150
        assert (rule.min_tissue, rule.max_tissue) == (0.1, 1)
    assert CubeRule().at_window((0, 1)).tissue_threshold == -150
