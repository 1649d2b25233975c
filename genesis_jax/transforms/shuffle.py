"""Local pixel shuffling: small overlapping windows, the voxels inside each permuted.

As published, 10,000 windows are written one after the other, each with a random permutation of the
*original* voxels it covers, so a voxel shows what the last window over it put there. Nothing
sequential is needed for that. A voxel needs to know only its last window, and where in this
window the permutation sends it:

1. Windows are placed independently and uniformly, so in time they arrive at every cell of the
   grid (a window's first corner) as a Poisson process; stopped when the wanted number of windows
   has arrived, it is that number of independent draws. Each cell draws its own arrivals, counted
   backwards from the end: the last window is the one that counts. Only the latest windows per cell
   are kept; the total is corrected for the few that are dropped.
2. A voxel's window is the first of these, over all cells within reach, that covers the voxel.
3. Inside the window a keyed permutation (swap-or-not) tells which voxel comes here.

All steps are dense and elementwise, but for two gathers: no scatter, no sort, no loop over windows.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from genesis_jax.errors import OptionError
from genesis_jax.transforms.bits import fraction, mix, random_bits
from genesis_jax.transforms.registry import corruption

_LARGEST_PART = 10  # a window's side is at most this fraction (1/10) of the volume's
_ROUNDS = 12  # of swap-or-not
_TRUNCATED = 1e-2  # share of cells that may see more arrivals than are drawn for one
_HIDDEN = 1 / 3  # share of a window that later ones from the same cell hide
_TOLERATED = 1e-3  # share of the windows that may be missing or too many
_STEPS = 24  # at most, towards the time at which the last window arrives
_MOST_PER_VOXEL = 100  # windows
_MOST_SPELLED = 32  # offsets: more compile slowly
_BITS = 10  # for a number packed into an int32, of which the top one stays free
_TOPS = sum(2 ** (_BITS * axis + _BITS - 1) for axis in range(3))
_NEVER = np.int32(np.iinfo(np.int32).max)


def rearrange(volume: jax.Array, source: jax.Array) -> jax.Array:
    """Each voxel takes the value of voxel `source` (int, spatial shape; index in C order)."""
    voxels = volume.reshape(-1, volume.shape[-1])
    return voxels[source.reshape(-1)].reshape(volume.shape)


@corruption('shuffle', probability=0.5, kinds='shuffling')
def random_local_shuffle(key: jax.Array, volume: jax.Array, *, windows: int = 10_000) -> jax.Array:
    """Permutes the voxels of `windows` random windows (MedIA 2021, section 3.2).

    Sides are uniform in 1…n//10 along each axis, places uniform among those inside the volume.

    Raises:
      OptionError: more windows than 100 per voxel, or a side of 5,120 voxels or more.
    """
    return rearrange(volume, _random_source(key, volume.shape[:-1], windows))


def _random_source(key, shape, windows):
    """For every voxel the index of the voxel that comes in its place, int32 `[*shape]`."""
    voxels = math.prod(shape)
    largest = tuple(max(1, n // _LARGEST_PART) for n in shape)
    if not 0 < windows <= _MOST_PER_VOXEL * voxels:
        raise OptionError(
            f'{windows} windows; expected 1 to {_MOST_PER_VOXEL} times {voxels} voxels'
        )
    if max(largest) >= 2 ** (_BITS - 1):
        raise OptionError(
            f'sides {shape}; shuffling expects them below {2 ** (_BITS - 1) * _LARGEST_PART}'
        )
    if math.prod(largest) == 1:  # too small a volume for any window of two voxels
        return jnp.arange(voxels, dtype=jnp.int32).reshape(shape)
    key_arrivals, key_permutations = jax.random.split(key)
    times, sides, awaited = _random_arrivals(key_arrivals, shape, largest, windows)
    window, offset = _last_window(times, sides, shape, largest, awaited)
    # Fused with what follows, XLA's CPU backend of JAX 0.12 takes a minute to compile this.
    window, offset = jax.lax.optimization_barrier((window, offset))

    covered = window != _NEVER
    window = jnp.where(covered, window, 0)
    sides = _unpack(sides.reshape(-1)[window], len(shape))
    cell = _ravel(_unpack(offset, len(shape)), sides)
    cell = _permute(key_permutations, cell, math.prod(sides), window)
    source = window % voxels + _ravel(_unravel(cell, sides), shape)
    return jnp.where(covered, source, jnp.arange(voxels)).reshape(shape)


def _random_arrivals(key, shape, largest, windows):
    """Arrival times of windows at every cell, the last window first, and the windows' sides.

    Windows of one side share their total among n - side + 1 places, so shorter ones are rarer at
    each. Those that would reach over the border arrive like the others and are then left out.

    Returns:
      times, float32 `[layers, voxels]`, in units in which one window arrives per unit of time in
      the whole volume; sides, int32 `[layers, voxels]`, packed; how many windows to wait for.
    """
    voxels = math.prod(shape)
    densities = [1 / (n - np.arange(most)) / most for n, most in zip(shape, largest, strict=True)]
    rate = math.prod(density.sum() for density in densities)
    layers, left_out = _layers(windows * rate)
    bits_of_times, bits = random_bits(key, 2, layers * voxels)
    waits = -jnp.log(1 - fraction(bits_of_times, 24)).reshape(layers, voxels)
    times = jnp.cumsum(waits, axis=0) * np.float32(1 / rate)

    fits, sides = True, []
    bits_per_axis = 32 // len(shape)
    for axis, (n, density) in enumerate(zip(shape, densities, strict=True)):
        drawn = fraction(bits << (32 - (axis + 1) * bits_per_axis), bits_per_axis)
        limits = np.float32(np.cumsum(density)[:-1] / density.sum())
        side = jnp.ones_like(drawn, jnp.int32)
        for limit in limits:
            side += (drawn >= limit).astype(jnp.int32)
        sides.append(side.reshape(layers, voxels))
        start = jax.lax.broadcasted_iota(jnp.int32, shape, axis).reshape(1, -1)
        fits &= start + sides[-1] <= n
    awaited = windows - _HIDDEN * voxels * left_out
    return jnp.where(fits, times, jnp.inf), _pack(sides), awaited


def _layers(mean):
    """How many arrivals to draw for a cell that expects `mean`, so that few see more.

    Returns:
      `(layers, left out)`, the second the arrivals that a cell is expected to see beyond these.
    """
    term, cumulative, left_out, layers = math.exp(-mean), math.exp(-mean), mean, 0
    while layers == 0 or 1 - cumulative > _TRUNCATED:
        left_out -= 1 - cumulative
        layers += 1
        term *= mean / layers
        cumulative += term
    return layers, left_out


def _last_window(times, sides, shape, largest, windows):
    """The window that each voxel shows: the first to arrive of those that cover it.

    A window lies inside the volume, so the voxel at some offset from its corner is that many
    places further on in memory: a window reaches its voxels by shifts of the flattened grid.

    Returns:
      the window's number (its place in `times`; `_NEVER` if there is none) and the voxel's
      offset in it (packed), both int32 `[voxels]`.
    """
    layers, voxels = times.shape
    offsets = np.array(list(itertools.product(*map(range, largest))), np.int32)
    shifts = np.ravel_multi_index(tuple(offsets.T), shape).astype(np.int32)
    reach = int(shifts[-1])

    # A window's rank is its time, with what it is seen as (layer and offset) in the low bits, so
    # that one minimum finds both.
    code_bits = (layers * len(offsets) - 1).bit_length()
    elapsed = times / _time_of(times.reshape(layers * shape[0], -1), windows)
    rank = jnp.where(
        elapsed < 1, (elapsed * 2 ** (31 - code_bits)).astype(jnp.int32) << code_bits, _NEVER
    )
    # Offsets along the last axes are spelled out, so that they share one pass over the memory.
    spelled = _spelled(largest)
    nearest = shifts[:spelled]
    least_sides = _pack(list((offsets + 1).T))
    rank = jnp.pad(rank, ((0, 0), (reach, 0)), constant_values=_NEVER)
    sides = jnp.pad(sides | _TOPS, ((0, 0), (reach, 0)))

    def look(first, place):
        shift, least, code = place
        part = (reach - nearest[-1] - shift, voxels + nearest[-1])
        near_rank, near_sides = (
            jax.lax.dynamic_slice_in_dim(grid, *part, axis=1) for grid in (rank, sides)
        )
        for layer, i in itertools.product(range(layers), range(spelled)):
            seen_from = slice(nearest[-1] - nearest[i], nearest[-1] - nearest[i] + voxels)
            least_here = least + (least_sides[i] - least_sides[0])
            covers = _at_least(near_sides[layer, seen_from], least_here)
            seen = near_rank[layer, seen_from] | (code + layer * len(offsets) + i)
            first = jnp.minimum(first, jnp.where(covers, seen, _NEVER))
        return first, None

    codes = np.arange(len(offsets), dtype=np.int32)
    places = [array[::spelled] for array in (shifts, least_sides, codes)]
    first, _ = jax.lax.scan(look, jnp.full(voxels, _NEVER), tuple(places))
    layer, code = _unravel(first & (2**code_bits - 1), (layers, len(offsets)))
    corner = jnp.arange(voxels) - jnp.asarray(shifts)[code]
    window = jnp.where(first == _NEVER, _NEVER, layer * voxels + corner)
    return window, jnp.asarray(_pack(list(offsets.T)))[code]


def _time_of(times, windows):
    """The time at which `windows` windows have arrived; `times` is `[rows, columns]`.

    They arrive at about one per unit of time, so a step by the number still missing comes close;
    one that would leave the bracket found so far is replaced by halving it.
    """

    def missing_at(time):
        # As floats, and first over rows: that way XLA's CPU backend vectorises the sum.
        return windows - jnp.sum(jnp.sum((times < time).astype(jnp.float32), axis=0))

    def step(searched):
        steps, time, missing, low, high = searched
        low, high = jnp.where(missing > 0, time, low), jnp.where(missing < 0, time, high)
        guess = time + missing
        time = jnp.where((guess > low) & (guess < high), guess, (low + high) / 2)
        return steps + 1, time, missing_at(time), low, high

    def unfinished(searched):
        steps, _, missing, *_ = searched
        return (jnp.abs(missing) > _TOLERATED * windows) & (steps < _STEPS)

    start = jnp.float32(windows)
    bracket = jnp.float32(0), jnp.float32(2 * windows + 40)
    return jax.lax.while_loop(unfinished, step, (0, start, missing_at(start), *bracket))[1]


def _permute(key, cell, cells, window):
    """A random permutation of 0…cells-1 for every window, evaluated at `cell`.

    Swap-or-not (Hoang, Morris and Rogaway, CRYPTO 2012): each round pairs every cell with its
    mirror image about a random centre and swaps the pair or does not. It permutes any number of
    cells, and each voxel computes its own image without seeing the others.
    """
    seeds = jax.random.bits(key, (1 + _ROUNDS,))
    stream = mix(window.astype(jnp.uint32) + seeds[0])
    count = cells.astype(jnp.uint32)
    for seed in seeds[1:]:
        bits = mix(stream ^ seed)
        centre = (((bits >> 16) * count) >> 16).astype(jnp.int32)
        mirrored = centre - cell
        mirrored = jnp.where(mirrored < 0, mirrored + cells, mirrored)
        pair = jnp.maximum(cell, mirrored).astype(jnp.uint32)
        # The top bit of a product depends on all bits of its factors.
        swap = ((bits ^ (pair * np.uint32(0x9E3779B9))) * np.uint32(0x85EBCA6B)) >> 31
        cell = jnp.where(swap == 1, mirrored, cell)
    return cell


def _spelled(largest):
    """How many offsets to spell out: those along the last axes, as far as they stay few."""
    count = 1
    for n in largest[::-1]:
        if count * n > _MOST_SPELLED:
            break
        count *= n
    return count


def _pack(parts):
    """Small numbers, one per axis (at most three), in one int32."""
    return sum(part << (_BITS * axis) for axis, part in enumerate(parts))


def _unpack(packed, rank):
    return [(packed >> (_BITS * axis)) & (2**_BITS - 1) for axis in range(rank)]


def _at_least(packed, least):
    """Whether every part is at least the other's: then none borrows from its free top bit."""
    return ((packed - least) & _TOPS) == _TOPS


def _ravel(index, shape):
    """C-order index of a multi-index, for shapes that may differ from voxel to voxel."""
    flat = index[0]
    for i, n in zip(index[1:], shape[1:], strict=True):
        flat = flat * n + i
    return flat


def _unravel(flat, shape):
    """The inverse of `_ravel`. Float division: exact for such small numbers, and vectorised."""
    index = []
    for n in shape[:0:-1]:
        quotient = jnp.floor((flat + 0.5) / n).astype(jnp.int32)
        index.append(flat - quotient * n)
        flat = quotient
    return [flat, *index[::-1]]
