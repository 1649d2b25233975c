"""Whether records fit the network that a config names."""

from ml_collections import ConfigDict

from genesis_jax.data import views
from genesis_jax.errors import OptionError, UserError
from genesis_jax.models import make, name_of
from genesis_jax.topology import check_sides


def check_shape(
    config: ConfigDict, shape: tuple[int, ...], other: str | None = None
) -> tuple[int, ...]:
    """The shape of an example: of records `[X, Y(, Z), C]`, seen as `config.data.view` says.

    Args:
      other: the option that chooses another dataset, where the config is not to be changed.

    Raises:
      UserError: the network has other dimensions, or cannot halve such sides.
    """
    rank, view, dimensions = len(shape) - 1, config.data.view, config.dimensions
    size = 'x'.join(map(str, shape))
    holds = f'the dataset {config.data.name!r} has {rank}D records ({size})'
    if view is not None and rank != 3:
        way_out = f'choose another {other}' if other else 'leave it out'
        raise UserError(f'config.data.view={view} is of 3D records and {holds}; {way_out}')
    if view is None and rank != dimensions:
        in_2d = ', or read it in 2D with --config.data.view=slices' if rank == 3 else ''
        way_out = f'a --config or a --config.data.name of as many dimensions{in_2d}'
        raise UserError(
            f'config.dimensions={dimensions} and {holds}; choose '
            + (f'another {other}' if other else way_out)
        )
    try:
        _check_sides(config, shape[:dimensions])
    except OptionError as error:
        option = '--cube_size' if rank == 3 else '--size'
        raise UserError(f'{error} (prepare the dataset with {option})') from None
    return views.shape_of(shape, view)


def _check_sides(config, sides):
    """Raises OptionError unless the network can halve them, to more than one element."""
    network = make(name_of(config.task, config.dimensions), config.model.to_dict(), out_channels=1)
    check_sides(sides, network.divisor)
    if network.norm == 'instance' and max(sides) == network.divisor > 1:
        raise OptionError(
            f'the sides {sides} leave one element of the deepest features, which instance '
            f'normalisation makes 0; expected a side of {2 * network.divisor} or more'
        )
