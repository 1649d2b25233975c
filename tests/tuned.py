"""Steps of a fine-tuning without its run: its state, its batches, what a step changed."""

import jax
import numpy as np

from genesis_jax import finetune, parallel
from genesis_jax.data import labelled
from genesis_jax.tasks import TASKS
from genesis_jax.training.layer_rates import make_scales
from genesis_jax.training.steps import make_network
from genesis_jax.transfer import open_start, shapes_of


def begin(config):
    """The steps of a config, what it starts with, and its state."""
    config = config.copy_and_resolve_references()
    dataset = labelled.open_labelled(config)
    network = make_network(config, TASKS[config.task].out_channels(dataset.about['classes']))
    expected = shapes_of(network, dataset.shape[-1])
    start = open_start(config, expected)
    scales = make_scales(config, expected['params'], start.parts, 2)
    steps = finetune.make_steps(config, network, dataset.shape[-1], 2, scales)
    return steps, start, parallel.create(steps.init, np.int32(config.seed), start.variables)


def batch_of(config, split='train', count=4):
    source = getattr(labelled.open_labelled(config), split)
    records = [source[i] for i in range(count)]
    names = [n for n in ('cube', 'window', 'label', 'mask') if n in records[0]]
    batch = {name: np.stack([record[name] for record in records]) for name in names}
    batch |= {'position': np.arange(count, dtype=np.int32), 'weight': np.ones(count, np.float32)}
    return parallel.shard(batch)


def changed(before, after):
    """Names of the parts in which every array changed; fails if only some of a part did."""
    names = set()
    for part in before:
        pairs = zip(*(jax.tree.leaves(tree[part]) for tree in (before, after)), strict=True)
        flags = [not np.array_equal(a, b) for a, b in pairs]
        assert all(flags) or not any(flags), f'{sum(flags)} of {len(flags)} arrays of {part}'
        names |= {part} if all(flags) else set()
    return names
