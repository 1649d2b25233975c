"""Every place where a patch may start, against the rule that tries some; how scans are stored."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cubes import plain_score

from data_prep.sampling.cubes import CubeRule, sample_cubes
from data_prep.sampling.starts import accepted_starts, reached_voxels
from genesis_jax.errors import ScanError
from genesis_jax.imaging.stored import StoredScan, write_array


@st.composite
def cases(draw):
    side, margin = st.integers(1, 4), st.integers(0, 2)
    size, low, high = (draw(st.tuples(part, part, part)) for part in (side, margin, margin))
    spare = draw(st.tuples(*[st.integers(0, 3)] * 3))
    limits = sorted(draw(st.lists(st.floats(-0.5, 1), min_size=2, max_size=2, unique=True)))
    rule = CubeRule(size, 1, 1, low, high, draw(st.floats(-3, 3)), *limits)
    shape = np.sum([size, low, high, spare], axis=0)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    voxels = rng.integers(-3, 4, shape).astype(np.int16)
    share = draw(st.sampled_from([None, 0.05, 0.7]))
    valid = None if share is None else (rng.random(shape) < share).astype(np.uint8)
    return rule, voxels, valid


@settings(max_examples=60)
@given(cases())
def test_all_starts_are_judged_by_the_plain_rule(case):
    rule, voxels, valid = case
    shown = np.ones(voxels.shape, bool) if valid is None else valid.astype(bool)
    scored = np.where(shown, voxels, np.iinfo(np.int16).min)
    ends = np.array(voxels.shape) - rule.size - rule.border_high
    expected = np.zeros(voxels.shape, bool)
    for start in np.ndindex(voxels.shape):
        if (start >= np.array(rule.border_low)).all() and (start <= ends).all():
            part = tuple(slice(a, a + n) for a, n in zip(start, rule.size, strict=True))
            within = rule.min_tissue < plain_score(scored, start, rule) <= rule.max_tissue
            expected[start] = within and shown[part].any()
    np.testing.assert_array_equal(accepted_starts(voxels, rule, valid=valid), expected)


@pytest.mark.parametrize('corner', [False, True], ids=['roomy', 'moved'])
@pytest.mark.parametrize('left_out', [False, True])
def test_they_are_all_that_trying_finds(corner, left_out, rng):
    """With masks, also where patches are moved into the scan."""
    voxels = rng.integers(-3, 4, (14, 13, 12)).astype(np.int16)
    rule = CubeRule((5, 4, 6), 9999, 9999, (1, 0, 2), (0, 2, 1), 1.0, 0.2, 0.49)
    inside = np.zeros(voxels.shape, bool)
    inside[(slice(2), slice(3), slice(10, 12)) if corner else (slice(4, 9),) * 3] = True
    valid = (rng.random(voxels.shape) < 0.9).astype(np.uint8) if left_out else None
    tried = sample_cubes(rng, voxels, rule, inside, valid).origins
    expected = np.zeros(voxels.shape, bool)
    expected[tuple(tried.T)] = True
    found = accepted_starts(voxels, rule, inside, valid)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < len(np.argwhere(inside)) or corner


def test_a_scan_too_small_is_refused_with_what_it_needs():
    with pytest.raises(ScanError, match='has 5 x 9 x 9 voxels where a patch needs at least 6 x 6'):
        rule = replace(CubeRule(), size=(6, 6, 6), border_low=(0, 0, 0), border_high=(0, 0, 0))
        accepted_starts(np.zeros((5, 9, 9), np.int16), rule)


def test_blocks_that_a_patch_reaches_into_are_kept_whole():
    shape, size, blocks = (11, 9, 10), (6, 5, 3), (4, 3, 8)
    for start in np.ndindex(*(np.array(shape) - size + 1)):
        starts, touched = np.zeros(shape, bool), np.zeros(shape, bool)
        starts[start] = True
        touched[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
        expected = np.zeros(shape, bool)
        for corner in np.unique(np.argwhere(touched) // blocks, axis=0) * blocks:
            expected[tuple(slice(a, a + n) for a, n in zip(corner, blocks, strict=True))] = True
        np.testing.assert_array_equal(reached_voxels(starts, size, blocks), expected)


def test_a_stored_scan_gives_its_parts_and_each_start_once(tmp_path, rng):
    voxels = rng.integers(-1024, 3000, (21, 13, 10, 2)).astype(np.int16)
    starts = rng.random((21, 13, 10)) < 0.05
    write_array(tmp_path, 'voxels', voxels, (8, 8, 4, 2))
    write_array(tmp_path, 'starts', starts, (21, 13, 1))
    scan = StoredScan(tmp_path, starts.sum(axis=(0, 1)))
    assert scan.count == starts.sum()
    found = [scan.start(number) for number in range(scan.count)]
    assert len(set(found)) == scan.count and all(starts[start] for start in found)
    part = scan.part('voxels', (3, 5, 2), (17, 8, 5))
    assert part.dtype == np.int16
    np.testing.assert_array_equal(part, voxels[3:20, 5:13, 2:7])


def test_blank_blocks_take_no_space(tmp_path, rng):
    voxels = rng.integers(0, 3000, (64, 64, 32)).astype(np.int16)
    blank = np.where(np.arange(64)[:, None, None] < 32, voxels, -5)
    sizes = []
    for name, array in (('all', voxels), ('half', blank)):
        write_array(tmp_path, name, array, (16, 16, 16))
        files = [file for file in (tmp_path / name).rglob('*') if file.is_file()]
        sizes.append(sum(file.stat().st_size for file in files))
    assert sizes[1] < 0.55 * sizes[0]
    scan = StoredScan(tmp_path, np.ones(32, int))
    np.testing.assert_array_equal(scan.part('half', (20, 0, 0), (30, 64, 32)), blank[20:50])
