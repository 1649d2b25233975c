"""The published Keras files: both layouts are read, the outputs are Keras', others are refused."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genesis_jax.convert import keras
from genesis_jax.errors import UserError
from genesis_jax.models import from_card

ROOT = Path(__file__).parent.parent
WIDTH, CHANNELS, OUTPUTS = 4, 2, 3
ENCODER = (4, 8, 8, 16, 16, 32, 32, 64)  # features of depth_0 to depth_7
DECODER = (32, 32, 16, 16, 8, 8)
FEATURES = ENCODER + DECODER
SKIPS = {8: 5, 10: 3, 12: 1}  # the layers whose input is (upsampled, this layer's output)


@pytest.fixture
def weights(rng):
    """Arrays of a network of width 4 by Keras name, in the order in which Keras saves them."""
    found, before = {}, CHANNELS
    for n, features in enumerate(FEATURES):
        before += FEATURES[SKIPS[n]] if n in SKIPS else 0
        found[f'depth_{n}_conv/kernel'] = rng.normal(
            scale=(27 * before / 2) ** -0.5, size=(3, 3, 3, before, features)
        )
        found[f'depth_{n}_conv/bias'] = rng.normal(scale=0.1, size=features)
        for name in ('gamma', 'moving_variance'):
            found[f'depth_{n}_bn/{name}'] = rng.uniform(0.5, 1.5, size=features)
        for name in ('beta', 'moving_mean'):
            found[f'depth_{n}_bn/{name}'] = rng.normal(scale=0.1, size=features)
        before = features
    found['conv3d_1/kernel'] = rng.normal(size=(1, 1, 1, before, OUTPUTS))
    found['conv3d_1/bias'] = rng.normal(size=OUTPUTS)
    return {name: array.astype(np.float32) for name, array in found.items()}


def save(path, weights, layout='weights', place='{layer}/{layer}/{weight}:0', config=None):
    """Writes a file as Keras does; `place` of each array: its group, then its name in it."""
    with h5py.File(path, 'w') as file:
        group = file
        if layout == 'model':
            group = file.create_group('model_weights')
            file.create_group('optimizer_weights').attrs['weight_names'] = [b'SGD/iter:0']
            file['optimizer_weights/SGD/iter:0'] = 7
            file.attrs['model_config'] = json.dumps(config or model_config())
        listed = {'input_1': []} | {name.split('/')[0]: [] for name in weights}
        listed |= {'max_pooling3d_1': [], 'up_sampling3d_1': [], 'activation_1': []}
        for name, array in weights.items():
            layer, weight = name.split('/')
            where, _, inside = place.format(layer=layer, weight=weight).partition('/')
            listed.setdefault(where, []).append(inside)
            group[f'{where}/{inside}'] = array
        group.attrs['layer_names'] = [layer.encode() for layer in listed]
        for layer, inside in listed.items():
            group.require_group(layer).attrs['weight_names'] = [name.encode() for name in inside]
    return path


def model_config(epsilon=1e-3, momentum=0.99, sides=(64, 64, 32), kind='Model'):
    layers = [
        {'class_name': 'InputLayer', 'config': {'batch_input_shape': [None, CHANNELS, *sides]}},
        {'class_name': 'Conv3D', 'config': {'data_format': 'channels_first'}},
        {
            'class_name': 'BatchNormalization',
            'config': {
                'axis': 1,
                'epsilon': epsilon,
                'momentum': momentum,
                'beta_initializer': {'class_name': 'Zeros', 'config': {}},
            },
        },
    ]
    return {'class_name': kind, 'config': {'layers': layers}}


def evaluate(weights, x):
    """The published network in NumPy: logits `[C, X, Y, Z]` of `[C, X, Y, Z]`."""

    def convolve(x, layer):
        kernel, bias = weights[f'{layer}/kernel'], weights[f'{layer}/bias']
        side = kernel.shape[0]
        x = np.pad(x, [(0, 0)] + [(side // 2,) * 2] * 3)
        windows = np.lib.stride_tricks.sliding_window_view(x, (side,) * 3, axis=(1, 2, 3))
        return (
            np.moveaxis(np.tensordot(windows, kernel, ([0, 4, 5, 6], [3, 0, 1, 2])), -1, 0)
            + (bias[:, None, None, None])
        )

    def normalise(x, layer):
        names = ('gamma', 'beta', 'moving_mean', 'moving_variance')
        gamma, beta, mean, variance = (
            weights[f'{layer}/{name}'][:, None, None, None] for name in names
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    outputs = {}
    for n in range(len(FEATURES)):
        if n in SKIPS:
            upsampled = x.repeat(2, 1).repeat(2, 2).repeat(2, 3)
            x = np.concatenate([upsampled, outputs[SKIPS[n]]])
        elif n in (2, 4, 6):
            c, *sides = x.shape
            x = x.reshape(c, *(n for side in sides for n in (side // 2, 2))).max(axis=(2, 4, 6))
        x = np.maximum(normalise(convolve(x, f'depth_{n}_conv'), f'depth_{n}_bn'), 0)
        outputs[n] = x
    return convolve(x, 'conv3d_1')


PLACES = [
    '{layer}/{layer}/{weight}:0',  # Keras 2
    '{layer}/{layer}_1/{weight}:0',  # the second model of a session
    '{layer}/{layer}/{weight}',  # Keras 3
    '{layer}/{weight}',
    'model_1/{layer}/{weight}:0',  # a model in a model
]


@pytest.mark.parametrize('layout', ['weights', 'model'])
@pytest.mark.parametrize('place', PLACES)
def test_every_array_arrives_as_it_was(layout, place, weights, tmp_path):
    variables, card = keras.read(save(tmp_path / 'genesis.h5', weights, layout, place))
    params, statistics = variables['params'], variables['batch_stats']
    assert np.array_equal(
        params['encoder']['level_1']['block_0']['conv']['kernel'], weights['depth_2_conv/kernel']
    )
    assert np.array_equal(  # the decoder starts at the coarsest level
        params['decoder']['level_2']['block_1']['bn']['scale'], weights['depth_9_bn/gamma']
    )
    assert np.array_equal(
        statistics['decoder']['level_0']['block_1']['bn']['var'],
        weights['depth_13_bn/moving_variance'],
    )
    assert np.array_equal(params['head']['bias'], weights['conv3d_1/bias'])
    total = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert total == sum(array.size for array in weights.values())
    assert (card['in_channels'], card['outputs']) == (CHANNELS, OUTPUTS)


def test_outputs_are_those_of_the_keras_network(weights, rng, tmp_path):
    variables, card = keras.read(save(tmp_path / 'genesis.h5', weights))
    x = rng.uniform(size=(CHANNELS, 16, 24, 8)).astype(np.float32)
    network = from_card(card)
    found = jax.jit(network.predict)(variables, jnp.moveaxis(x, 0, -1)[None])
    expected = evaluate(weights, x)
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(np.moveaxis(found[0], -1, 0), expected, atol=1e-4)


def test_the_card_says_what_the_file_says_and_no_more(weights, tmp_path):
    _, card = keras.read(save(tmp_path / 'genesis.h5', weights))
    assert len(card.source.sha256) == 64
    found = card.to_dict()
    del found['source']['sha256']
    assert found == {
        'version': 2,
        'network': 'unet3d',
        'parts': ['encoder', 'decoder', 'head'],
        'in_channels': CHANNELS,
        'out_channels': OUTPUTS,
        'outputs': OUTPUTS,
        'config': {
            'model': {
                'width': WIDTH,
                'upsample': 'nearest',
                'batch_statistics': 'synchronised',
                'epsilon': 1e-3,
                'batch_norm_momentum': 0.99,
            }
        },
        'source': {'file': 'genesis.h5', 'format': 'keras'},
    }
    config = model_config(epsilon=1e-2, momentum=0.9)
    _, card = keras.read(save(tmp_path / 'model.h5', weights, 'model', config=config))
    assert card['cube_shape'] == [64, 64, 32, CHANNELS]
    assert card['config']['model']['epsilon'] == 1e-2
    assert card['config']['model']['batch_norm_momentum'] == 0.9
    inner = model_config(sides=(None, None, None))
    config = {'class_name': 'Model', 'config': {'layers': [inner]}}
    _, card = keras.read(save(tmp_path / 'any_size.h5', weights, 'model', config=config))
    assert 'cube_shape' not in card and card['config']['model']['epsilon'] == 1e-3


def test_reading_takes_neither_jax_nor_tensorflow(weights, tmp_path):
    path = save(tmp_path / 'genesis.h5', weights)
    code = (
        f'import sys; from genesis_jax.convert import keras; keras.read({str(path)!r})\n'
        'assert not {"jax", "tensorflow", "keras", "torch"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_half_precision_is_widened(weights, tmp_path):
    narrow = {name: array.astype(np.float16) for name, array in weights.items()}
    variables, _ = keras.read(save(tmp_path / 'narrow.h5', narrow))
    kernel = variables['params']['head']['kernel']
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel, narrow['conv3d_1/kernel'].astype(np.float32))


def without(*missing):
    return lambda weights: {n: a for n, a in weights.items() if not n.startswith(missing)}


def plus(**more):
    more = {name.replace('__', '/'): array for name, array in more.items()}
    return lambda weights: more | {name: more.get(name, a) for name, a in weights.items()}


@pytest.mark.parametrize(
    'change, said',
    [
        (without('depth_5_bn'), '4 missing (depth_5_bn/gamma, depth_5_bn/beta, '),
        (without('depth_0_conv'), '2 missing (depth_0_conv/kernel, depth_0_conv/bias); '),
        (without('conv3d_1'), '2 missing (conv3d_1/kernel, conv3d_1/bias); '),
        (plus(dense_1__kernel=np.zeros((4, 2))), '1 unexpected (dense_1/kernel); '),
        (plus(conv3d_0__kernel=np.zeros((1, 1, 1, 8, 1))), '1 unexpected (conv3d_0/kernel); '),
        (
            plus(depth_4_conv_1__bias=np.zeros(16)),
            '1 unexpected (depth_4_conv/depth_4_conv/bias:0); ',
        ),
        (
            plus(depth_3_conv__kernel=np.zeros((3, 3, 3, 16, 8))),
            '1 of another shape (depth_3_conv/kernel is (3, 3, 3, 16, 8), expected '
            '(3, 3, 3, 8, 16)); ',
        ),
        (
            lambda weights: {'conv2d_1/kernel': np.zeros((3, 3, 1, 8)), 'dense_1/bias': 0.0},
            '86 missing (depth_0_conv/kernel, ',
        ),
        (
            lambda weights: plus(x__y=np.zeros(1))(without('depth_1_')(weights)),
            '6 missing (depth_1_conv/kernel, depth_1_conv/bias, depth_1_bn/gamma, '
            'depth_1_bn/beta, '
            'depth_1_bn/moving_mean and 1 more); 1 unexpected (x/y); ',
        ),
        (plus(conv3d_1__bias=np.full(3, 0.1)), 'conv3d_1/bias of float64); round'),
        (plus(conv3d_1__bias=np.zeros(3, int)), 'conv3d_1/bias of int64); round'),
    ],
)
def test_another_network_is_refused_in_one_sentence(change, said, weights, tmp_path):
    path = save(tmp_path / 'other.h5', change(weights))
    with pytest.raises(UserError) as error:
        keras.read(path)
    assert said in str(error.value) and str(error.value).startswith(str(path))


def test_an_array_that_is_listed_and_not_there_is_missing(weights, tmp_path):
    path = save(tmp_path / 'listed.h5', weights)
    with h5py.File(path, 'a') as file:
        del file['depth_4_conv/depth_4_conv/bias:0']
    with pytest.raises(UserError, match=r'1 missing \(depth_4_conv/bias\)'):
        keras.read(path)


def test_layers_that_normalise_differently_are_refused(weights, tmp_path):
    config = model_config()
    config['config']['layers'] += model_config(epsilon=1e-5)['config']['layers']
    path = save(tmp_path / 'mixed.h5', weights, 'model', config=config)
    with pytest.raises(UserError, match='different epsilon and momentum'):
        keras.read(path)


def test_damaged_files_are_refused(weights, tmp_path):
    whole = save(tmp_path / 'whole.h5', weights, 'model').read_bytes()
    path = tmp_path / 'damaged.h5'
    for share in (0.01, 0.5, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match='is damaged or cut short'):
            keras.read(path)
    path.write_bytes(whole.replace(b'{"class_name"', b'["class_name"'))
    with pytest.raises(UserError, match='is damaged or cut short'):
        keras.read(path)
    path.write_bytes(b'not a network')
    with pytest.raises(UserError, match='is no HDF5 file'):
        keras.read(path)
    with pytest.raises(UserError, match='is no file'):
        keras.read(tmp_path / 'absent.h5')
    with h5py.File(path, 'w') as file:
        file['images'] = np.zeros(3)
    with pytest.raises(UserError, match='holds no Keras weights: found images'):
        keras.read(path)


def test_no_byte_that_is_wrong_ends_in_a_traceback(weights, rng, tmp_path):
    """Wherever a file is overwritten, it is read or refused."""
    whole = bytearray(save(tmp_path / 'whole.h5', weights, 'model').read_bytes())
    path = tmp_path / 'overwritten.h5'
    for start in rng.integers(0, len(whole), 40):
        damaged = whole.copy()
        damaged[start : start + 64] = rng.bytes(len(damaged[start : start + 64]))
        path.write_bytes(damaged)
        try:
            keras.read(path)
        except UserError as error:
            assert str(path) in str(error)
