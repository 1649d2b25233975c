"""The step as other platforms get it, checked without the hardware."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from configs import genesis_ct
from genesis_jax import parallel
from genesis_jax.config import resolve
from genesis_jax.pretrain import make_steps

PATCH = (64, 64, 32, 1)


@pytest.fixture(scope='module')
def lower():
    """Lowers the training step of the published recipe (at width 4) for a platform."""
    config = genesis_ct.get_config()
    config.model.width = 4
    steps = make_steps(resolve(config, devices=1), PATCH, steps_per_epoch=100)
    mesh = Mesh(np.array(jax.devices()[:1]), (parallel.AXIS,))
    step = jax.shard_map(
        steps._train,
        mesh=mesh,
        in_specs=(P(), P(parallel.AXIS)),
        out_specs=P(),
        check_vma=False,
    )
    batch = {
        'cube': jax.ShapeDtypeStruct((6, *PATCH), jnp.int16),
        'window': jax.ShapeDtypeStruct((6, 2), jnp.float32),
        'position': jax.ShapeDtypeStruct((6,), jnp.int32),
    }
    state = jax.eval_shape(steps.init)

    def lower(platform):
        return jax.export.export(jax.jit(step), platforms=[platform])(state, batch).mlir_module()

    return lower


def spatial_axes(module):
    """The numbers of spatial axes of all convolutions."""
    layouts = re.findall(r'stablehlo\.convolution.*?dim_numbers = \[([^\]]*)\]', module)
    assert layouts
    return [len(re.findall(r'\d', layout)) for layout in layouts]


def kernels_of_27_taps(module):
    """How many convolutions slide a kernel of 3x3x3, or are the gradient of one."""
    types = re.findall(r'stablehlo\.convolution\(.*?: \((.*?)\) -> (\S+)', module)
    return sum('3x3x3x' in f'{arguments} {result}' for arguments, result in types)


@pytest.mark.parametrize('platform', ['tpu', 'cuda'])
def test_accelerators_get_native_3d_convolutions_and_nothing_that_scatters(lower, platform):
    module = lower(platform)
    assert set(spatial_axes(module)) == {3}
    # Forwards, towards the input (but of the first) and towards the kernel.
    assert kernels_of_27_taps(module) == 3 * 14 - 1
    assert not re.findall(r'stablehlo\.(scatter|select_and_scatter|sort)\b', module)


def test_the_cpu_gets_matrix_products(lower):
    module = lower('cpu')
    assert module.count('stablehlo.convolution') <= 3  # the final one, forwards and backwards
    assert module.count('stablehlo.dot_general') > 3 * 14  # 14 others of side 3
