"""The published Keras network in HDF5 (`.h5`): read only, with h5py, without TensorFlow.

Keras writes two layouts: the weights alone, or the whole model, which keeps the same weights under
`model_weights` and describes its layers in `model_config`. Layers are called `depth_0_conv`,
`depth_0_bn`, … `depth_13_bn` in the order of computation; the last convolution has an automatic
name, `conv3d_1` or the like. Kernels are stored as ours are, `[X, Y, Z, in, out]`.
"""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from genesis_jax.card import Card
from genesis_jax.convert import external_weights, names
from genesis_jax.errors import UserError

_LAYER = re.compile(r'(depth_\d+_(?:conv|bn))(?:_\d+)?')  # a second model of a session adds _1
_HEAD = re.compile(r'conv3d(?:_\d+){0,2}')
_WEIGHTS = {  # what Keras calls our array, by its layer
    'conv': {'kernel': 'kernel', 'bias': 'bias'},
    'bn': {'scale': 'gamma', 'bias': 'beta', 'mean': 'moving_mean', 'var': 'moving_variance'},
}
_BLOCK = slice(1, 4)  # of a path: part, level and block
_NORMALISATION = (1e-3, 0.99)  # epsilon and momentum, unless the file says otherwise
_PUBLISHED_WIDTH = 32

# What h5py and JSON raise about files that are cut short or overwritten.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)


def read(path: str | Path) -> tuple[dict[str, Any], Card]:
    """`(variables, card)` of a published Keras file, or of a network of those names.

    Raises:
      UserError: it is none, it is damaged, or it does not fit.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f'{path} is no file; expected the weights of a Keras network (.h5)')
    if not h5py.is_hdf5(path):
        raise UserError(f'{path} is no HDF5 file; expected the weights of a Keras network (.h5)')
    try:
        with h5py.File(path, 'r') as file:
            arrays = {name: np.asarray(array) for name, array in _datasets(file, path).items()}
            described = list(_described(json.loads(file.attrs.get('model_config', 'null'))))
            normalisation, known = _normalisation(described), _cube_shape(described)
    except _DAMAGE as error:
        raise UserError(
            f'{path} is damaged or cut short ({_line(error)}); copy or download it again'
        ) from None
    layers = (name.rpartition('/')[0] for name in reversed(arrays))
    head = next((layer for layer in layers if _HEAD.fullmatch(layer)), 'conv3d_1')
    described = _describe(arrays, head)
    rows = names.rows(described)
    table = dict(zip(_keras_names(rows, head), rows, strict=True))
    names.check(
        {name: array.shape for name, array in arrays.items()},
        {name: row.shape for name, row in table.items()},  # Keras orders the axes as we do
        path,
    )
    arrays = names.as_float32(arrays, path)
    state = {row.name: row.to_torch(arrays[name]) for name, row in table.items()}
    if len(normalisation) > 1:
        raise UserError(
            f'the layers of {path} normalise with different epsilon and momentum '
            f'({names.listing(map(str, sorted(normalisation)))}); expected the same in all, as in '
            'the published network'
        )
    ((epsilon, momentum),) = normalisation
    conventions = {
        'epsilon': epsilon,
        'batch_norm_momentum': momentum,
        'batch_statistics': 'synchronised',
    }
    card = external_weights.card_of(described, path, 'keras', conventions, **known)
    return names.to_flax(state, rows, path), card


def _datasets(file, path):
    """The arrays that Keras lists, by layer and weight, such as `depth_0_conv/kernel`."""
    group, datasets = file.get('model_weights', file), {}
    if 'layer_names' not in group.attrs:
        raise UserError(
            f'{path} holds no Keras weights: found {names.listing(group) or "nothing"}, expected '
            'the attribute layer_names; save them with save_weights or save of a Keras model, as '
            '.h5 and not as .weights.h5 of Keras 3'
        )
    for layer in _texts(group.attrs['layer_names']):
        for weight in _texts(group[layer].attrs['weight_names']):
            place = f'{layer}/{weight}'
            if hasattr(dataset := group.get(place), 'shape'):  # else it will be missing
                name = _plain(place)
                datasets[place if name in datasets else name] = dataset
    return datasets


def _plain(place):
    """`depth_0_conv/kernel` of the place of a dataset.

    Around the layer may be its group, a model in the model, a name scope; a weight may end with
    its output, `:0`.
    """
    *around, weight = place.split('/')
    known = [match[1] for name in around if (match := _LAYER.fullmatch(name))]
    return f'{known[0] if known else around[-1]}/{weight.partition(":")[0]}'


def _describe(arrays, head):
    """As `names.describe`, from the shapes of the first and the last layer."""

    def size(name, axis):
        shape = arrays[name].shape if name in arrays else ()
        return int(shape[axis]) if len(shape) >= -axis else 0

    first = 'depth_0_conv/kernel'
    width = size(first, -1) or size('depth_0_bn/gamma', -1) or _PUBLISHED_WIDTH
    return {
        'network': 'unet3d',
        'parts': ['encoder', 'decoder', 'head'],
        'in_channels': size(first, -2) or 1,
        'out_channels': size(f'{head}/kernel', -1) or size(f'{head}/bias', -1) or 1,
        'config': {'model': {'width': width, 'upsample': 'nearest'}},
    }


def _keras_names(rows, head):
    """What Keras calls the array of each row."""
    blocks = list(dict.fromkeys(row.path[_BLOCK] for row in rows if row.path[1] != 'head'))
    for row in rows:
        *_, layer, ours = row.path
        if row.path[1] == 'head':
            yield f'{head}/{ours}'
        else:
            yield f'depth_{blocks.index(row.path[_BLOCK])}_{layer}/{_WEIGHTS[layer][ours]}'


def _normalisation(layers):
    """All pairs of epsilon and momentum of these layers; those of Keras if they do not tell."""
    return {
        (float(config['epsilon']), float(config['momentum']))
        for kind, config in layers
        if kind == 'BatchNormalization'
    } or {_NORMALISATION}


def _described(node):
    """`(class, config)` of all that a `model_config` describes, models in the model included."""
    if isinstance(node, dict):
        if 'class_name' in node and isinstance(node.get('config'), dict):
            yield node['class_name'], node['config']
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _described(child)


def _cube_shape(layers):
    """`{'cube_shape': [X, Y, Z, C]}` of the input layer, if it says."""
    shapes = [
        config.get('batch_input_shape') or config.get('batch_shape')
        for kind, config in layers
        if kind == 'InputLayer'
    ]
    formats = {config.get('data_format') for kind, config in layers if kind == 'Conv3D'}
    if not shapes or not shapes[0] or None in shapes[0][1:]:
        return {}
    channels_last = formats == {'channels_last'}
    _, *shape = shapes[0]
    return {'cube_shape': shape if channels_last else [*shape[1:], shape[0]]}


def _texts(values):
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
