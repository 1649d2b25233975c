"""ONNX files: `cubes` `[batch, C, X, Y(, Z)]` in, `logits` out, for any batch and sides.

Every side divides by 8, in 2D by 32. Both kinds of batch statistics are written: 'synchronised' as
the running averages, 'official' as the mean and variance of the batch at hand. With float16 the
convolutions are narrow; batch normalisation, input and output are float32. The file holds the card,
as JSON, in its metadata under `genesis_jax`.
"""
# Not onnxconverter-common: of the same size and accuracy, but it clips large weights in silence.

import contextlib
import copy
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from onnxscript import ir
from torch.export import Dim

from genesis_jax.card import Card
from genesis_jax.errors import UserError
from genesis_jax.torch.networks import BatchNorm
from genesis_jax.torch.pretrained import from_variables

_TOLERANCE = 0.05  # of narrow logits, as a share of the largest; rounding makes less than 0.01
# Operations that compute alike for any batch and sides: nothing in them tells a shape.
_OF_ANY_SHAPE = frozenset(
    ('Add', 'BatchNormalization', 'Cast', 'Concat', 'Conv', 'ConvTranspose', 'Gemm')
    + ('GlobalAveragePool', 'MaxPool', 'Mul', 'ReduceMean', 'Relu', 'Resize', 'Sub')
)

_GRAPH, _WEIGHT = bytes([7 << 3 | 2]), bytes([5 << 3 | 2])  # tags in onnx.proto: of bytes


def write(path: str | Path, variables: dict[str, Any], card: Card, dtype: str = 'float32') -> None:
    """Writes one file, its weights inside.

    Raises:
      UserError: parts of the network are missing, or it cannot be written in this dtype.
    """
    if dtype == 'bfloat16':
        raise UserError(
            'onnxruntime computes no convolution in bfloat16; write ONNX in float32 or float16'
        )
    card.check_whole('an ONNX file')
    network = from_variables(variables, card)
    divisor = network.divisor
    smallest = [divisor * n for n in (2, 3, 4)[: network.rank]]
    batch = torch.rand((2, card.in_channels, *smallest), generator=torch.Generator().manual_seed(0))
    if dtype != 'float32':
        network = _narrowed(network, getattr(torch, dtype), batch)
    model = _exported(network, batch, divisor)
    model.metadata_props['genesis_jax'] = json.dumps(card.to_dict())
    proto = ir.to_proto(model)
    del model
    for parameter in network.parameters():  # all in `proto`, and kept alive by the exporter
        parameter.data = torch.empty(0)
    with Path(path).open('wb') as file:
        file.writelines(_serialised(proto))


def _serialised(proto):
    """The bytes of a model, piece by piece: protobuf would hold all weights three times.

    A message is its fields in any order: a tag, and of what is no number its length and bytes.
    """
    weights = list(proto.graph.initializer)
    lengths = [weight.ByteSize() for weight in weights]
    heads = [_WEIGHT + _varint(length) for length in lengths]
    del proto.graph.initializer[:]
    graph = proto.graph.SerializeToString()
    proto.ClearField('graph')
    yield proto.SerializeToString()
    yield _GRAPH + _varint(len(graph) + sum(map(len, heads)) + sum(lengths))
    yield graph
    for head, weight in zip(heads, weights, strict=True):
        yield head
        yield weight.SerializeToString()


def _varint(number):
    """A whole number, seven bits a byte, the lowest first; all but the last have the eighth bit."""
    seven = []
    while number > 127:
        seven.append(number & 127 | 128)
        number >>= 7
    return bytes([*seven, number])


def _exported(network, batch, divisor):
    """The network in ONNX, for any batch and any sides that divide by `divisor`."""
    sides = dict(enumerate('xyz'[: batch.ndim - 2], start=2))
    # With dimensions that it knows as numbers, PyTorch takes less than half of the time.
    model = _traced(network, batch)
    if not {node.op_type for node in model.graph} <= _OF_ANY_SHAPE:
        shapes = {0: Dim('batch', min=1)}
        return _traced(network, batch, shapes | {i: divisor * Dim(sides[i], min=1) for i in sides})
    (inputs,), (logits,) = model.graph.inputs, model.graph.outputs
    shape = ['batch', batch.shape[1], *(f'{divisor}*{sides[i]}' for i in sides)]
    _, outputs, *spatial = logits.shape
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    inputs.shape = ir.Shape(shape)
    logits.shape = ir.Shape(['batch', outputs, *(shape[2:] if spatial else ())])
    return model


def _traced(network, batch, dynamic=None):
    """What PyTorch exports; `dynamic`: the axes that are not as in `batch`."""
    with _quiet():
        return torch.onnx.export(
            network,
            (batch,),
            input_names=['cubes'],
            output_names=['logits'],
            dynamic_shapes=dynamic and (dynamic,),
            dynamo=True,
            verbose=False,
        ).model


def _narrowed(network, dtype, batch):
    """The network in `dtype`; UserError if that computes something else."""
    with torch.no_grad():
        expected = network(batch)
        # Sums in float32 are those of onnxruntime; in float16 PyTorch takes minutes on a CPU.
        outputs = _Narrow(copy.deepcopy(network), dtype, torch.float32)(batch)
        error = (outputs - expected).abs().max()
    # Not `>`: numbers that overflow become nan.
    if not error <= _TOLERANCE * expected.abs().max():
        raise UserError(
            f'in {str(dtype).removeprefix("torch.")} the logits of this network are off by '
            f'{error:.2g} of {expected.abs().max():.2g}, because its numbers are too large or too '
            'small for that; write ONNX in float32'
        )
    return _Narrow(network, dtype, dtype)


class _Narrow(torch.nn.Module):
    """A network that convolves in `dtype`, adding up in `sums`, and takes and returns float32."""

    def __init__(self, network: torch.nn.Module, dtype: torch.dtype, sums: torch.dtype) -> None:
        super().__init__()
        self.network = network.eval()
        for module in network.modules():
            if any(module.children()):
                continue
            if not isinstance(module, BatchNorm):  # whose variances easily exceed float16
                module.to(dtype).to(sums)
            inside = torch.float32 if isinstance(module, BatchNorm) else sums
            module.register_forward_pre_hook(lambda _, inputs, to=inside: (inputs[0].to(to),))
            module.register_forward_hook(lambda _, inputs, output: output.to(dtype))
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
