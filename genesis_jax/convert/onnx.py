"""ONNX files: `cubes` `[batch, C, X, Y, Z]` in, `logits` out, for any batch and sides.

Every side divides by 8. Both kinds of batch statistics are written: 'synchronised' as the running
averages, 'official' as the mean and variance of the batch at hand. With float16 the weights and the
computation are narrow, input and output are float32. The file holds the card, as JSON, in its
metadata under `genesis_jax`.
"""

import contextlib
import json
import logging
import warnings

import onnxscript  # noqa: F401 PyTorch's exporter needs it, and says so late
import torch
from torch.export import Dim

from genesis_jax.errors import UserError
from genesis_jax.torch.networks import DIVISOR
from genesis_jax.torch.pretrained import from_variables


def write(path, variables, card, dtype='float32'):
    """Writes one file, its weights inside.

    Raises:
      UserError: parts of the network are missing, or it cannot be written in this dtype.
    """
    if dtype == 'bfloat16':
        raise UserError(
            'onnxruntime computes no convolution in bfloat16; write ONNX in float32 or float16'
        )
    network = _Narrow(from_variables(variables, card), getattr(torch, dtype))
    example = torch.zeros(2, card['in_channels'], *(DIVISOR * n for n in (2, 3, 4)))
    sides = {2 + axis: DIVISOR * Dim(name, min=1) for axis, name in enumerate('xyz')}
    with _quiet():
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=['cubes'],
            output_names=['logits'],
            dynamic_shapes=({0: Dim('batch', min=1)} | sides,),
            dynamo=True,
            verbose=False,
        )
        program.model.metadata_props['genesis_jax'] = json.dumps(card)
        program.save(path, external_data=False)


class _Narrow(torch.nn.Module):
    """A network that computes in `dtype`, and takes and returns float32."""

    def __init__(self, network, dtype):
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

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
