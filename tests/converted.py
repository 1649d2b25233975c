"""Networks of random numbers with their cards, as conversions read and write them."""

import jax
import jax.numpy as jnp
import numpy as np

from genesis_jax.card import Card
from genesis_jax.models import from_card

NETWORKS = {  # what differs from a fine-tuned segmentation of one class
    'restores': {'parts': ['encoder', 'decoder', 'head'], 'task': None},
    'segments': {'outputs': 3, 'classes': ['background', 'liver', 'tumour'], 'in_channels': 2},
    'nearest': {'model': {'upsample': 'nearest', 'epsilon': 1e-3}},
    'encoder': {'parts': ['encoder'], 'task': None},
    'classifies': {'parts': ['encoder', 'hidden', 'head'], 'model': {'hidden': 6}},
    'probes': {'parts': ['encoder', 'head'], 'model': {'hidden': 0}, 'outputs': 4},
}


def make(kind):
    """`(variables, card)` of a network of ours, of random numbers."""
    given = NETWORKS[kind]
    classifies = 'hidden' in given.get('model', {})
    model = {'width': 2, 'epsilon': 1e-5} | ({} if classifies else {'upsample': 'transpose'})
    card = {
        'network': 'classifier3d' if classifies else 'unet3d',
        'parts': given.get('parts', ['encoder', 'decoder', 'head']),
        'task': given.get('task', 'classification' if classifies else 'segmentation'),
        'classes': given.get('classes', ['background', 'nodule']),
        'outputs': given.get('outputs', 1),
        'in_channels': given.get('in_channels', 1),
        'cube_shape': [16, 16, 16, given.get('in_channels', 1)],
        'channels': ['CT'],
        'modality': 'ct',
        'spacing': [1.0, 1.0, 2.5],
        'window': None,
        'config': {'model': model | given.get('model', {})},
        'step': 7,
        'validation_loss': 0.1 + 0.2,
    }
    if card['task'] is None:
        del card['task']
    card = Card.from_dict(card)
    network = from_card(card)
    x = jax.ShapeDtypeStruct((1, *card['cube_shape']), jnp.float32)
    shapes = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
    rng = np.random.default_rng(1)
    leaves = jax.tree.map(lambda s: rng.uniform(0.5, 1.5, s.shape).astype('float32'), shapes)
    return {name: {p: tree[p] for p in card['parts'] if p in tree}
            for name, tree in leaves.items()}, card  # fmt: skip


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
