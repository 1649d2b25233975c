"""The transforms against the published numbers, and what must hold for any volume."""

import inspect
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis_jax import transforms
from genesis_jax.transforms import (
    bezier_map,
    corrupt,
    corrupt_batch,
    flip,
    paint,
    random_bezier_map,
    random_flip,
    random_in_painting,
    random_local_shuffle,
    random_out_painting,
    rearrange,
    registry,
)

SHAPE = (64, 64, 32)
WINDOWS = 300  # as dense in small volumes as the published ones; more compile long
RANDOM_OPS = [
    random_flip,
    partial(random_local_shuffle, windows=WINDOWS),
    random_bezier_map,
    random_in_painting,
    random_out_painting,
    partial(random_in_painting, fill='constant'),
    partial(random_out_painting, fill='constant'),
    lambda key, volume: corrupt(key, volume, shuffle_windows=WINDOWS)[0],
]
NAMES = ['flip', 'shuffle', 'bezier', 'in', 'out', 'in constant', 'out constant', 'corrupt']


def indexed(shape=SHAPE):
    """A volume whose values are the voxels' own indices."""
    return jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(*shape, 1)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@pytest.fixture(scope='module')
def shuffled():
    """Sources [60, X, Y, Z] of sixty shuffled volumes."""
    shuffle = jax.jit(jax.vmap(random_local_shuffle, (0, None)))
    batches = [shuffle(k, indexed()) for k in keys(60).reshape(6, 10)]
    return np.concatenate(batches)[..., 0].astype(int)


# --- The published numbers


def test_bezier_map_gives_the_published_curve(golden):
    numbers = np.load(golden / 'bezier.npz')
    values = jnp.asarray(numbers['values'], jnp.float32)[:, None]
    points = jnp.asarray(numbers['control_points'], jnp.float32)
    for name, decreasing in (('increasing', False), ('decreasing', True)):
        mapped = jax.vmap(lambda p, d=decreasing: bezier_map(values, p, d))(points)[..., 0]
        np.testing.assert_allclose(mapped, numbers[name], atol=1e-4)


def test_shuffling_changes_as_much_as_published(shuffled, statistics):
    here = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    expected = statistics['shuffle']
    changed = (shuffled != here).mean(axis=(1, 2, 3))
    assert abs(changed.mean() - expected['changed']['mean']) < 0.003
    assert abs(changed.std() - expected['changed']['sd']) < 0.0015
    kept = np.mean([len(np.unique(source)) / source.size for source in shuffled])
    assert abs(kept - expected['distinct_values_kept']['mean']) < 0.003
    moved = np.abs(np.subtract(np.unravel_index(shuffled, SHAPE), np.indices(SHAPE)[:, None]))
    np.testing.assert_allclose(
        moved.mean(axis=(1, 2, 3, 4)), expected['mean_abs_displacement_xyz'], rtol=0.01
    )


def test_shuffled_voxels_come_from_within_a_window(shuffled, statistics):
    moved = np.abs(np.subtract(np.unravel_index(shuffled, SHAPE), np.indices(SHAPE)[:, None]))
    expected = statistics['shuffle']['max_abs_displacement_xyz']
    assert moved.max(axis=(1, 2, 3, 4)).tolist() == expected == [5, 5, 2]


@pytest.mark.parametrize(
    'op, name', [(random_in_painting, 'in_painting'), (random_out_painting, 'out_painting')]
)
def test_painting_covers_as_much_as_published(op, name, statistics):
    blank = jnp.full((*SHAPE, 1), 2.0)  # noise stays below 1
    paint_all = jax.jit(jax.vmap(op, (0, None)))
    painted = np.concatenate([paint_all(k, blank) for k in keys(1000).reshape(20, 50)])[..., 0] < 2
    share = painted.mean(axis=(1, 2, 3))
    expected = statistics[name]
    assert abs(share.mean() - expected['painted']['mean']) < 0.008
    assert abs(share.std() - expected['painted']['sd']) < 0.006
    if name == 'in_painting':
        assert abs((share == 0).mean() - 0.05) < 0.025
    else:
        profile = painted.mean(axis=(0, 2, 3))
        np.testing.assert_allclose(profile, expected['painted_profile_along_first_axis'], atol=0.03)
        shell = np.ones(SHAPE, bool)
        shell[3:-3, 3:-3, 3:-3] = False
        assert painted[:, shell].all()


# --- What must hold for any volume


@pytest.mark.parametrize('shape', [(20, 30, 10, 1), (30, 21, 3)], ids=['3D', '2D'])
@pytest.mark.parametrize('op', RANDOM_OPS, ids=NAMES)
def test_same_key_gives_the_same_plain_jitted_and_vmapped(shape, op, seed=7):
    volume = jax.random.uniform(jax.random.key(1), shape)
    with jax.disable_jit():
        plain = op(jax.random.key(seed), volume)
    assert plain.shape == volume.shape and plain.dtype == volume.dtype
    assert plain.min() >= 0 and plain.max() <= 1
    np.testing.assert_allclose(jax.jit(op)(jax.random.key(seed), volume), plain, atol=1e-5)
    both = jax.jit(jax.vmap(op))(
        jnp.stack([jax.random.key(seed + 1), jax.random.key(seed)]), jnp.stack([1 - volume, volume])
    )
    np.testing.assert_allclose(both[1], plain, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(shape=st.sampled_from([(32, 24, 16), (40, 30)]), seed=st.integers(0, 2**31))
def test_shuffling_moves_all_channels_of_a_voxel_together(shape, seed):
    volume = jnp.concatenate([indexed(shape), -indexed(shape)], axis=-1)
    shuffled = jax.jit(partial(random_local_shuffle, windows=200))(jax.random.key(seed), volume)
    np.testing.assert_array_equal(shuffled[..., 0], -shuffled[..., 1])
    reach = [max(1, n // 10) - 1 for n in shape]
    source = np.unravel_index(np.asarray(shuffled[..., 0], int), shape)
    for axis, most in enumerate(reach):
        assert np.abs(source[axis] - np.indices(shape)[axis]).max() <= most


def test_a_single_window_is_a_permutation_of_its_voxels():
    shuffle = jax.jit(jax.vmap(partial(random_local_shuffle, windows=1), (0, None)))
    sources = np.asarray(shuffle(keys(200), indexed((40, 30, 30)))[..., 0], int)
    sizes = set()
    for source in sources.reshape(200, -1):
        assert len(np.unique(source)) == source.size  # what one voxel loses another one gets
        moved = np.argwhere((source != np.arange(source.size)).reshape(40, 30, 30))
        if len(moved):
            extent = moved.max(0) - moved.min(0) + 1
            assert (extent <= [4, 3, 3]).all()
            sizes.add(tuple(extent))
    assert len(sizes) > 15  # of 4 x 3 x 3


def test_permutations_of_a_window_are_all_equally_likely():
    from genesis_jax.transforms.shuffle import _permute

    windows, cells = 60_000, 3
    window = jnp.arange(windows, dtype=jnp.int32)
    images = [
        _permute(jax.random.key(0), jnp.full(windows, c), jnp.full(windows, cells), window)
        for c in range(cells)
    ]
    seen, counts = np.unique(np.stack(images, 1), axis=0, return_counts=True)
    assert sorted(map(tuple, seen.tolist())) == [
        (0, 1, 2),
        (0, 2, 1),
        (1, 0, 2),
        (1, 2, 0),
        (2, 0, 1),
        (2, 1, 0),
    ]
    np.testing.assert_allclose(counts / windows, 1 / 6, atol=0.01)


def test_the_number_of_windows_is_the_one_asked_for():
    from genesis_jax.transforms.shuffle import _random_arrivals, _time_of

    for windows in (1, 50, 1_000, 10_000):

        def count(key, windows=windows):
            times, _, awaited = _random_arrivals(key, SHAPE, (6, 6, 3), windows)
            return jnp.sum(times < _time_of(times, awaited)), awaited

        counts, awaited = jax.jit(jax.vmap(count))(keys(40, seed=windows))
        assert np.abs(counts - awaited).max() <= 1 + windows / 1000
        assert 0.98 * windows < awaited[0] <= windows  # less those from one and the same corner


@pytest.mark.parametrize('fill', ['noise', 'constant'])
@pytest.mark.parametrize('op', [random_in_painting, random_out_painting])
def test_unpainted_voxels_stay_untouched(op, fill):
    volume = indexed((32, 32, 16)) + 2  # no fill reaches 2
    paint_some = jax.jit(partial(op, fill=fill))
    for key in keys(5):
        painted = np.asarray(paint_some(key, volume))
        untouched = painted >= 2
        assert 0 < untouched.mean() < 1
        np.testing.assert_array_equal(painted[untouched], volume[untouched])
        distinct = len(np.unique(painted[~untouched]))
        most = {'noise': int((~untouched).sum()), 'constant': 5 if op is random_in_painting else 1}
        assert distinct <= most[fill]
        assert fill == 'constant' or distinct > 0.99 * most['noise']


def test_an_unknown_fill_is_refused():
    for op in (random_in_painting, random_out_painting):
        with pytest.raises(ValueError, match="fill is 'snow'"):
            op(jax.random.key(0), indexed((8, 8)), fill='snow')


def test_large_images_have_large_windows():
    """Sides of a window above 127, as in radiographs, still cover all of their cells."""
    shuffle = jax.jit(partial(random_local_shuffle, windows=300))
    source = shuffle(jax.random.key(0), indexed((2000, 10)))[..., 0]
    moved = np.abs(
        np.unravel_index(np.asarray(source, int), (2000, 10))[0] - np.arange(2000)[:, None]
    )
    assert 150 < moved.max() < 200
    with pytest.raises(ValueError, match='expects them below 5120'):
        jax.eval_shape(random_local_shuffle, jax.random.key(0), jnp.zeros((5200, 8, 1)))


def test_noise_differs_between_channels():
    painted = jax.jit(random_out_painting)(jax.random.key(0), jnp.full((16, 16, 16, 2), 2.0))
    outside = painted[..., 0] < 2
    assert (painted[..., 0] != painted[..., 1])[outside].all()


def test_flips_mirror_and_keep_to_their_axes():
    volume = indexed((8, 16, 24))
    np.testing.assert_array_equal(flip(volume, [True, False, True]), volume[::-1, :, ::-1])
    flipped = jax.jit(jax.vmap(partial(random_flip, axes=(0, 1)), (0, None)))(keys(400), volume)
    kinds = {v.tobytes() for v in np.asarray(flipped)}
    mirrored = [volume[::x, ::y] for x in (1, -1) for y in (1, -1)]
    assert kinds == {np.asarray(v).tobytes() for v in mirrored}
    unflipped = np.mean([v.tobytes() == np.asarray(volume).tobytes() for v in np.asarray(flipped)])
    # 0.6 + two or more flips that cancel: 0.4 * 0.4 * 0.6 / 2, and three never do.
    assert abs(unflipped - 0.648) < 0.08


def test_published_flips_draw_an_axis_that_mirrors_nothing():
    """Of 0 to 3 rounds, each along the first, the second or the channels' axis."""
    rounds = {0: 0.6, 1: 0.24, 2: 0.096, 3: 0.064}
    expected = sum(
        share * np.mean([any(draw.count(axis) % 2 for axis in (0, 1)) for draw in draws])
        for count, share in rounds.items()
        for draws in [list(itertools.product((0, 1, -1), repeat=count))]
    )
    assert abs(expected - 0.2714) < 1e-4
    volume = indexed((4, 6, 8))
    flips = jax.jit(jax.vmap(partial(random_flip, axes=(0, 1, -1)), (0, None)))(keys(4000), volume)
    changed = np.any(np.asarray(flips) != np.asarray(volume), axis=(1, 2, 3, 4))
    assert abs(changed.mean() - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5
    assert np.all(np.diff(np.asarray(flips), axis=3) == 1)  # depth keeps its order


def test_rearrange_and_paint_do_what_their_parameters_say():
    volume = indexed((2, 3))
    np.testing.assert_array_equal(
        rearrange(volume, jnp.array([[5, 4, 3], [2, 1, 0]]))[..., 0], [[5, 4, 3], [2, 1, 0]]
    )
    mask = jnp.array([[True, False, False], [False, False, True]])
    np.testing.assert_array_equal(paint(volume, mask, 9.0)[..., 0], [[9, 1, 2], [3, 4, 9]])


# --- The composition


def test_composition_applies_each_transform_as_often_as_configured():
    """Over 10,000 draws; what happened is read off the voxels of a small probe."""
    shape = (20, 10, 10)
    volume = (indexed(shape) + 1) / (np.prod(shape) + 1)  # all values distinct, none is 0 or 1

    def shares(keys, **only):
        probabilities = dict.fromkeys(
            (
                'flip_probability',
                'shuffle_probability',
                'nonlinear_probability',
                'paint_probability',
            ),
            0.0,
        )
        volumes = jnp.broadcast_to(volume, (len(keys), *volume.shape))
        options = probabilities | only
        corrupted, target = corrupt_batch(keys, volumes, shuffle_windows=WINDOWS, **options)
        voxels = (1, 2, 3, 4)
        return jnp.any(corrupted != target, voxels), jnp.mean(corrupted == target, voxels)

    def happened(**only):
        run = jax.jit(partial(shares, **only))
        changed, same = (
            np.concatenate(x) for x in zip(*map(run, keys(10_000).reshape(20, 500)), strict=True)
        )
        return changed, same

    for name, probability in (('shuffle', 0.5), ('nonlinear', 0.9), ('paint', 0.9)):
        assert registry.CORRUPTIONS[name].probability == probability
        changed, same = happened(**{f'{name}_probability': probability})
        # In-painting of no box at all happens too: 5 % of the fifth that is in-painted.
        expected = probability * (1 - 0.2 * 0.05) if name == 'paint' else probability
        assert abs(changed.mean() - expected) < 0.015, name
        if name == 'paint':
            outside = changed & (same < 0.75)
            assert abs(outside.sum() / changed.sum() - 0.8 / 0.99) < 0.02


def test_target_is_the_flipped_but_uncorrupted_cube():
    volume = jax.random.uniform(jax.random.key(3), (16, 16, 16, 1))
    corrupted, target = jax.jit(corrupt_batch)(keys(30), jnp.stack([volume] * 30))
    for one in np.asarray(target):
        assert any(
            np.array_equal(one, np.flip(volume, [a for a in range(3) if axes >> a & 1]))
            for axes in range(8)
        )
    assert np.mean([np.array_equal(*pair) for pair in zip(corrupted, target, strict=True)]) < 0.2


def test_corruption_of_an_example_does_not_depend_on_the_device_count():
    volumes = jax.random.uniform(jax.random.key(5), (8, 20, 20, 16, 1))
    batch, together = keys(8), partial(corrupt_batch, shuffle_windows=WINDOWS)
    one = jax.pmap(together, devices=jax.devices()[:1])(batch[None], volumes[None])
    four = jax.pmap(together)(batch.reshape(4, 2), volumes.reshape(4, 2, *volumes.shape[1:]))
    for a, b in zip(one, four, strict=True):
        np.testing.assert_array_equal(a.reshape(volumes.shape), b.reshape(volumes.shape))


def test_a_batch_is_corrupted_like_its_volumes():
    volumes, batch = jax.random.uniform(jax.random.key(5), (4, 20, 20, 16, 1)), keys(4)
    options = {'fill': 'constant', 'shuffle_windows': WINDOWS}
    together = jax.jit(partial(corrupt_batch, **options))(batch, volumes)
    one = jax.jit(partial(corrupt, **options))
    for i in range(4):
        for ours, theirs in zip(together, one(batch[i], volumes[i]), strict=True):
            np.testing.assert_allclose(ours[i], theirs, atol=1e-6)


def test_public_signatures_keep_the_contract():
    for name in set(transforms.__all__) - {'corrupt_batch', 'corruption'}:
        parameters = list(inspect.signature(getattr(transforms, name)).parameters.values())
        takes_key = name.startswith('random_') or name == 'corrupt'
        assert [p.name for p in parameters][: 2 if takes_key else 1] == (
            ['key', 'volume'] if takes_key else ['volume']
        )
        if takes_key:
            assert all(
                (p.kind is p.KEYWORD_ONLY and p.default is not p.empty) or p.name == 'other'
                for p in parameters[2:]
                if p.kind is not p.VAR_KEYWORD
            )
