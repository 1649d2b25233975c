"""Corruptions by name: their options, order and keys; and what each does to a volume."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import genesis_ct
from genesis_jax.config import config_hash, resolve, to_json
from genesis_jax.errors import OptionError, UserError
from genesis_jax.transforms import corrupt, corrupt_batch, registry
from genesis_jax.transforms.bias_field import bias_field
from genesis_jax.transforms.pipeline import corrupt_batch_and_tell
from genesis_jax.transforms.thick_slices import thick_slices

NONE = {f'{name}_probability': 0.0 for name in ('flip', *registry.PUBLISHED)}
FURTHER = [name for name in registry.CORRUPTIONS if name not in registry.PUBLISHED]
SHAPES = {'3D': (16, 16, 8, 2), '2D': (16, 24, 1)}


def volumes_of(shape, count=3, seed=0):
    return jax.random.uniform(jax.random.key(seed), (count, *shape), minval=0.1, maxval=0.9)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def alone(name, **options):
    """The options of one corruption that always happens."""
    return NONE | {f'{name}_probability': 1.0} | options


# --- names, options, order -------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A module of somebody's own, which brings a corruption."""
    (tmp_path / 'own_corruptions.py').write_text(
        'from genesis_jax.transforms import corruption\n\n'
        "@corruption('darken', factor=0.5)\n"
        'def random_darkening(key, volume, *, factor):\n'
        '    return volume * factor\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield ('own_corruptions',)
    registry.CORRUPTIONS.pop('darken', None)
    sys.modules.pop('own_corruptions', None)


def test_a_corruption_of_ones_own_is_a_function_and_a_line(lab):
    volume = volumes_of(SHAPES['3D'])[0]
    options = alone('darken', darken_factor=0.25, modules=lab)
    corrupted, target = jax.jit(partial(corrupt, **options))(jax.random.key(0), volume)
    np.testing.assert_allclose(corrupted, target * 0.25, rtol=1e-6)
    assert registry.describe(options) == 'darken 1'


def test_the_order_is_that_of_the_config(lab):
    volume = volumes_of(SHAPES['3D'])[0]
    both = {'darken_probability': 1.0, 'mask_probability': 1.0, 'mask_fill': 'mean'}
    options = NONE | both | {'modules': lab}
    assert [one.name for one in registry.chain(options)] == ['darken', 'mask']  # by name
    options['order'] = ('mask',)
    assert [one.name for one in registry.chain(options)] == ['mask', 'darken']
    options['order'] = 'mask,darken'  # as on the command line
    assert [one.name for one in registry.chain(options)] == ['mask', 'darken']
    first, _ = corrupt(jax.random.key(0), volume, **options)
    options['order'] = ()
    last, _ = corrupt(jax.random.key(0), volume, **options)
    np.testing.assert_allclose(first, last, rtol=1e-5)  # of a mean they commute, the keys are alike


def test_further_corruptions_leave_the_draws_of_the_published_alone():
    batch = volumes_of((20, 20, 16, 1))
    published = {'shuffle_windows': 300}
    alike, _ = corrupt_batch(keys(3), batch, **published)
    more, _ = corrupt_batch(keys(3), batch, **published, noise_probability=1.0, noise_sd=1e-6)
    np.testing.assert_allclose(more, alike, atol=1e-4)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'nois_probability': 0.3}, 'no option nois_probability; the nearest is noise_probability'),
        ({'order': ('maks',)}, 'order: there is no corruption maks; the nearest is mask'),
        ({'modules': ('no_such_module',)}, 'modules: cannot import no_such_module'),
        (alone('noise', noise_sd=0.0), 'noise_sd is 0.0; expected a number above 0'),
        (alone('mask', mask_ratio=1.5), 'mask_ratio is 1.5; expected a share'),
        (alone('mask', mask_block=0), 'mask_block is 0'),
        (alone('mask', mask_fill='grey'), "mask_fill is 'grey'; expected one of"),
        (alone('mask', mask_block=99), 'mask_block is 99; expected less than a side'),
        (alone('thick', thick_voxels=(3, 2)), 'thick_voxels is (3, 2)'),
        (alone('thick', thick_voxels=(2.5, 3.5)), 'expected two rising whole numbers from 2'),
        (alone('blur', blur_sigmas=(0, 0)), 'expected two rising numbers above 0'),
        (alone('blur', blur_sigmas=(1.0,)), 'blur_sigmas is (1.0,)'),
        (alone('blur', blur_sigmas='a'), 'blur_sigmas is a'),
        (alone('gamma', gamma_exponents=(2, 3)), 'gamma_exponents is (2, 3); expected 1 between'),
        (alone('gamma', gamma_exponents=(-2, 1.5)), 'expected two rising numbers above 0'),
        (alone('noise', noise_sd=float('nan')), 'noise_sd is nan'),
        (alone('bias', bias_strength=-1), 'bias_strength is -1'),
        (alone('drop', drop_ratio=1), 'drop_ratio is 1'),
        (alone('swap', swap_side=0), 'swap_side is 0'),
    ],
)
def test_what_cannot_be_is_one_sentence(options, words):
    with pytest.raises(OptionError) as error:
        corrupt(jax.random.key(0), volumes_of(SHAPES['3D'])[0], **options)
    assert words in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('def f(:', 'SyntaxError'),
        ('no_such_name', 'NameError'),
        ("@corruption('mine', sdd=1)\ndef f(key, volume, *, sd=1): ...", 'TypeError'),
        ("@corruption('noise')\ndef f(key, volume): ...", "name 'noise' is that of genesis_jax"),
        ("@corruption('shuffle')\ndef f(key, volume): ...", "name 'shuffle' is that of"),
    ],
)
def test_a_module_that_fails_is_one_sentence(code, words, tmp_path, monkeypatch):
    text = f'from genesis_jax.transforms import corruption\n\n{code}\n'
    (tmp_path / 'failing_module.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(registry.CORRUPTIONS)
    with pytest.raises(OptionError, match='modules: cannot import failing_module') as error:
        registry.load('failing_module')
    assert words in str(error.value) and before == registry.CORRUPTIONS


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        ('volume[:-1]', r'wrong returns a volume of \(11, 10, 8, 1\), float32; expected \(12, 10'),
        ('(volume, volume > 2, 0)[:2]', ''),
        ('(volume, volume)', r'a mask of \(12, 10, 8, 1\), float32; expected .*, bool'),
    ],
)
def test_what_a_corruption_returns_is_checked(answer, words):
    function = eval(f'lambda key, volume: {answer}')
    registry.corruption('wrong')(function)
    try:
        run = partial(corrupt, **alone('wrong'))
        example = jax.random.key(0), jnp.zeros((12, 10, 8, 1))
        if words:
            with pytest.raises(OptionError, match=words):
                jax.eval_shape(run, *example)
        else:
            assert jax.eval_shape(run, *example)[0].shape == (12, 10, 8, 1)
    finally:
        del registry.CORRUPTIONS['wrong']


def test_a_config_is_checked_before_anything_is_read():
    config = genesis_ct.get_config()
    config.batch_size = 4
    config.transforms.nois_sd = 0.3
    with pytest.raises(UserError, match=r'config\.transforms: there is no option nois_sd'):
        resolve(config, 4)


def test_a_corruption_that_never_happens_is_no_part_of_a_config():
    """So runs from before there was one resume, and have the same name."""
    config = genesis_ct.get_config()
    config.batch_size = 4
    plain = to_json(resolve(config, 4))['transforms']
    assert not [n for n in plain if n.partition('_')[0] in FURTHER] and 'order' not in plain
    before = config_hash(config)
    config.transforms.noise_sd = 0.4
    assert config_hash(config) == before
    config.transforms.noise_probability = 0.5
    assert config_hash(config) != before
    assert to_json(config)['transforms']['noise_sd'] == 0.4


def test_an_option_needs_a_default_and_a_name_of_its_own():
    with pytest.raises(TypeError, match="'mine' has the options sd and defaults for none"):
        registry.corruption('mine')(lambda key, volume, *, sd: volume)
    with pytest.raises(TypeError, match='flip_probability of .* is taken'):
        registry.corruption('flip')(lambda key, volume: volume)


# --- what each does --------------------------------------------------------------------------


@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize('name', FURTHER)
def test_it_is_the_same_plain_jitted_and_vmapped(name, shape):
    volumes, batch, options = volumes_of(shape), keys(3), alone(name)
    others = jnp.roll(volumes, -1, axis=0)
    plain = [
        corrupt(*pair, other=other, **options)[0]
        for *pair, other in zip(batch, volumes, others, strict=True)
    ]
    one = lambda key, volume, other: corrupt(key, volume, other=other, **options)[0]  # noqa: E731
    together, _ = jax.jit(partial(corrupt_batch, **options))(batch, volumes)
    mapped = jax.jit(jax.vmap(one))(batch, volumes, others)
    for found in (together, mapped):
        np.testing.assert_allclose(found, jnp.stack(plain), atol=2e-6)
    assert together.shape == volumes.shape and together.dtype == volumes.dtype
    assert bool(jnp.isfinite(together).all()) and not np.array_equal(together, volumes)


@pytest.mark.parametrize('name', FURTHER)
def test_it_tells_where_it_changed_something(name):
    batch = volumes_of(SHAPES['3D'])
    corrupted, target, changed = corrupt_batch_and_tell(keys(3), batch, **alone(name))
    differs = np.any(np.asarray(corrupted != target), axis=-1, keepdims=True)
    assert not np.any(differs & ~np.asarray(changed))
    assert changed.shape == (3, 16, 16, 8, 1) and changed.any()


@pytest.mark.parametrize('fill', ['zero', 'mean', 'noise'])
def test_blocks_of_a_grid_are_hidden(fill):
    volume = volumes_of((18, 16, 8, 1))[:1]
    options = alone('mask', mask_block=4, mask_ratio=0.5, mask_fill=fill)
    corrupted, target, hidden = corrupt_batch_and_tell(keys(1), volume, **options)
    blocks = np.asarray(hidden[0, :16, :, :, 0]).reshape(4, 4, 4, 4, 2, 4).swapaxes(1, 2)
    blocks = blocks.swapaxes(3, 4).swapaxes(2, 3).reshape(4, 4, 2, -1)
    assert np.all(blocks.all(-1) | ~blocks.any(-1))  # whole blocks
    grid = np.asarray(hidden[0, ::4, ::4, ::4, 0])
    assert grid.sum() == round(0.5 * 5 * 4 * 2)
    values = np.asarray(corrupted)[np.asarray(hidden)]
    expected = {'zero': 0, 'mean': float(target.mean())}
    if fill in expected:
        np.testing.assert_allclose(values, expected[fill], rtol=1e-5)
    else:
        assert len(np.unique(values)) > 0.9 * values.size
    np.testing.assert_array_equal(corrupted[~hidden], target[~hidden])


def test_noise_has_the_spread_that_was_drawn():
    volume = jnp.full((1, 16, 16, 16, 1), 0.5)
    run = jax.jit(partial(corrupt_batch, **alone('noise', noise_sd=0.1)))
    spreads = [float((run(key[None], volume)[0] - 0.5).std()) for key in keys(40)]
    assert 0.03 < np.mean(spreads) < 0.07 and max(spreads) < 0.105 and min(spreads) < 0.02


def test_thick_slices_are_means_along_one_axis():
    volume = jnp.arange(24.0).reshape(4, 6, 1)
    expected = np.asarray(volume).reshape(4, 2, 3, 1).mean(2, keepdims=True).repeat(3, 2)
    np.testing.assert_allclose(thick_slices(volume, 1, 3), expected.reshape(4, 6, 1), rtol=1e-6)
    np.testing.assert_allclose(thick_slices(volume, 0, 9)[..., 0], [np.arange(9, 15)] * 4)


def test_a_bias_field_is_smooth_and_as_strong_as_asked():
    field = np.log(bias_field((12, 10), jnp.zeros((3, 3)).at[1, 0].set(2.0)))
    expected = 2 * np.cos(np.pi * (np.arange(12) + 0.5) / 12)
    np.testing.assert_allclose(field, np.tile(expected[:, None], 10), atol=1e-5)
    volume = jnp.full((1, 12, 12, 12, 1), 0.4)
    run = jax.jit(partial(corrupt_batch, **alone('bias', bias_strength=0.2)))
    logs = [np.log(np.asarray(run(key[None], volume)[0]) / 0.4) for key in keys(60)]
    assert np.std(logs) == pytest.approx(0.2, rel=0.2)


def test_whole_slices_are_dropped_along_one_axis():
    volume = volumes_of((12, 12, 12, 1))[:1]
    run = jax.jit(partial(corrupt_batch_and_tell, **alone('drop', drop_ratio=0.5)))
    axes = set()
    for key in keys(20):
        corrupted, _, dropped = run(key[None], volume)
        dropped = np.asarray(dropped[0, ..., 0])
        np.testing.assert_array_equal(np.asarray(corrupted)[0, ..., 0] == 0, dropped)
        along = [a for a in range(3) if np.all(dropped == dropped.all(
            tuple(o for o in range(3) if o != a), keepdims=True))]  # fmt: skip
        assert along
        axes |= set(along) if len(along) == 1 else set()
    assert axes == {0, 1, 2}


def test_the_next_example_is_the_same_however_processes_share_the_batch():
    """Two processes of two devices, as one program of four: process p has every second example."""
    from genesis_jax.parallel import AXIS, _next_examples

    batch = jnp.arange(12)
    held = jnp.concatenate([batch[0::2], batch[1::2]]).reshape(4, 3)
    following = jax.pmap(partial(_next_examples, devices=4, local=2), AXIS)(held)
    np.testing.assert_array_equal(following, (held + 1) % 12)
    one = jax.pmap(partial(_next_examples, devices=4, local=4), AXIS)(batch.reshape(4, 3))
    np.testing.assert_array_equal(one.ravel(), (batch + 1) % 12)


def test_swapped_blocks_show_the_next_of_the_batch_on_any_number_of_devices():
    from genesis_jax.parallel import AXIS, next_examples

    volumes = jnp.stack([jnp.full((12, 12, 12, 1), value) for value in (0.1, 0.2, 0.3, 0.4)])

    def program(key, own):
        others = next_examples(own)
        return corrupt_batch(key, own, others, **alone('swap'))[0]

    four = jax.pmap(program, AXIS)(keys(4)[:, None], volumes[:, None])[:, 0]
    plain = corrupt_batch(keys(4), volumes, **alone('swap'))[0]
    np.testing.assert_array_equal(four, plain)
    for one, own, following in zip(plain, (0.1, 0.2, 0.3, 0.4), (0.2, 0.3, 0.4, 0.1), strict=True):
        assert set(np.unique(one)) == {np.float32(own), np.float32(following)}
