"""Rows of the tables of names: what an array is called in PyTorch, and where it is in ours."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Row:
    """One array.

    Attributes:
      name: in PyTorch's state dict.
      path: in our variables, such as `('params', 'head', 'kernel')`.
      shape: in our order of axes.
      kind: 'conv', 'head' (a convolution of side 1), 'up' (transposed convolution), 'dense' or
        'vector'.
      turned: PyTorch's spatial axes are Z, Y, X.
    """

    name: str
    path: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str = 'vector'
    turned: bool = False

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The shape in PyTorch's order of axes."""
        return self.to_torch(np.broadcast_to(np.float32(0), self.shape)).shape

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Our array in PyTorch's order of axes."""
        return array if self.kind == 'vector' else array.transpose(self._axes)

    def to_flax(self, array: np.ndarray) -> np.ndarray:
        """PyTorch's array in our order of axes."""
        return array if self.kind == 'vector' else array.transpose(np.argsort(self._axes))

    @property
    def _axes(self):
        """Which of our axes is each of PyTorch's: [X, Y(, Z), in, out] to [out, in, X, Y(, Z)]."""
        rank = len(self.shape) - 2
        first = (rank, rank + 1) if self.kind == 'up' else (rank + 1, rank)  # 'up': [in, out, …]
        spatial = range(rank)
        return (*first, *(reversed(spatial) if self.turned else spatial))


_SIDES = {'conv': 3, 'head': 1, 'up': 2}


def level(
    part: str,
    number: int | str,
    name: str,
    channels: tuple[int, ...],
    dimensions: int = 3,
    statistics: bool = True,
) -> list[Row]:
    """Two blocks of convolution and normalisation; `channels` before, between and after."""
    rows: list[Row] = []
    for i in range(2):
        path, sizes = (part, f'level_{number}', f'block_{i}'), channels[i : i + 2]
        rows += layer(f'{name}.ops.{i}.conv1', (*path, 'conv'), 'conv', sizes, dimensions)
        rows += norm(f'{name}.ops.{i}.bn1', (*path, 'bn'), sizes[1], statistics)
    return rows


def layer(
    name: str,
    path: tuple[str, ...],
    kind: str,
    channels: tuple[int, ...],
    dimensions: int = 3,
    turned: bool = False,
) -> list[Row]:
    """A layer's kernel and bias; `channels` in and out."""
    sides = () if kind == 'dense' else (_SIDES[kind],) * dimensions
    return [
        Row(f'{name}.weight', ('params', *path, 'kernel'), (*sides, *channels), kind, turned),
        Row(f'{name}.bias', ('params', *path, 'bias'), (channels[1],)),
    ]


def norm(name: str, path: tuple[str, ...], channels: int, statistics: bool = True) -> list[Row]:
    """The arrays of a normalisation; `statistics`: of the batch, so that it has averages."""
    return [
        Row(f'{name}.{theirs}', (collection, *path, ours), (channels,))
        for collection, ours, theirs in (
            ('params', 'scale', 'weight'),
            ('params', 'bias', 'bias'),
            ('batch_stats', 'mean', 'running_mean'),
            ('batch_stats', 'var', 'running_var'),
        )
        if statistics or collection == 'params'
    ]
