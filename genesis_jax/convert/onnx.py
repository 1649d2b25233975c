"""ONNX files: `cubes` `[batch, C, X, Y(, Z)]` in, `logits` out, for any batch and sides.

Every side divides by 8, in 2D by 32. Both kinds of batch statistics are written: 'synchronised' as
the running averages, 'official' as the mean and variance of the batch at hand. With float16 the
convolutions are narrow; batch normalisation, input and output are float32. The file holds the card,
as JSON, in its metadata under `genesis_jax`.
"""

import contextlib
import json
import logging
import warnings

import onnxscript  # noqa: F401 PyTorch's exporter needs it, and says so late
import torch
from torch.export import Dim

from genesis_jax.convert.card_checks import check_whole
from genesis_jax.errors import UserError
from genesis_jax.torch.networks import BatchNorm
from genesis_jax.torch.pretrained import from_variables

_TOLERANCE = 0.05  # of narrow logits, as a share of the largest; rounding makes less than 0.01


def write(path, variables, card, dtype='float32'):
    """Writes one file, its weights inside.

    Raises:
      UserError: parts of the network are missing, or it cannot be written in this dtype.
    """
    if dtype == 'bfloat16':
        raise UserError(
            'onnxruntime computes no convolution in bfloat16; write ONNX in float32 or float16'
        )
    check_whole(card, 'an ONNX file')
    network = from_variables(variables, card)
    divisor, names = network.divisor, 'xyz'[: network.rank]
    smallest = [divisor * n for n, _ in enumerate(names, 2)]
    example = torch.zeros(2, card['in_channels'], *smallest)
    if dtype != 'float32':
        network = _narrowed(network, getattr(torch, dtype), example.shape)
    sides = {2 + axis: divisor * Dim(name, min=1) for axis, name in enumerate(names)}
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=['cubes'],
            output_names=['logits'],
            dynamic_shapes=({0: Dim('batch', min=1)} | sides,),
            dynamo=True,
            verbose=False,
        )
        program.model.metadata_props['genesis_jax'] = json.dumps(card)
        program.save(path, external_data=False)


def _narrowed(network, dtype, shape):
    """The network in `dtype`; UserError if that computes something else."""
    cubes = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(cubes)
        narrow = _Narrow(network, dtype).eval()
        error = (narrow(cubes) - expected).abs().max()
    # Not `>`: numbers that overflow become nan.
    if not error <= _TOLERANCE * expected.abs().max():
        raise UserError(
            f'in {str(dtype).removeprefix("torch.")} the logits of this network are off by '
            f'{error:.2g} of {expected.abs().max():.2g}, because its numbers are too large or too '
            'small for that; write ONNX in float32'
        )
    return narrow


class _Narrow(torch.nn.Module):
    """A network that convolves in `dtype`, and takes and returns float32."""

    def __init__(self, network, dtype):
        super().__init__()
        self.network = network
        self.dtype = dtype
        for module in network.modules():
            if isinstance(module, BatchNorm):  # whose variances easily exceed float16
                module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
                module.register_forward_hook(lambda _, inputs, output: output.to(dtype))
            elif not any(module.children()):
                module.to(dtype)

    def forward(self, x):
        return self.network(x.to(self.dtype)).float()


@contextlib.contextmanager
def _quiet():
    """Without what the exporter says of packages that it does not need here."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action='ignore'):
            yield
    finally:
        logger.setLevel(level)
