"""ONNX files, computed by onnxruntime."""

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='ONNX files are made by PyTorch')
reason = 'ONNX files need its packages'
onnxruntime = pytest.importorskip('onnxruntime', reason=reason)
pytest.importorskip('onnxscript', reason=reason)

from converted import make  # noqa: E402
from test_torch import made  # noqa: E402

from genesis_jax import convert  # noqa: E402
from genesis_jax.errors import UserError  # noqa: E402
from genesis_jax.torch import (  # noqa: E402
    UNet3D,
    from_card,
    onnx,  # noqa: E402
)
from genesis_jax.torch.pretrained import from_variables  # noqa: E402


def check(file, network):
    """That a file computes what the network does, whatever the batch and the sides."""
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape == ['batch', 1, '8*x', '8*y', '8*z']
    for shape in ((1, 1, 16, 8, 16), (3, 1, 8, 24, 32)):
        x = torch.rand(shape)
        with torch.no_grad():
            expected = network(x)
        (found,) = session.run(['logits'], {'cubes': x.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)
    return session


@pytest.mark.parametrize(
    'model',
    [{}, {'batch_statistics': 'official'}, {'upsample': 'nearest', 'epsilon': 1e-3}],
    ids=['transpose', 'official', 'nearest'],
)
def test_any_batch_and_sides(tmp_path, model):
    _, variables, card = made(**model)
    convert.write(tmp_path / 'net.onnx', variables, card)
    session = check(tmp_path / 'net.onnx', from_variables(variables, card))
    assert '"cube_shape"' in session.get_modelmeta().custom_metadata_map['genesis_jax']
    assert session.get_outputs()[0].shape == ['batch', 2, '8*x', '8*y', '8*z']


@pytest.mark.parametrize('known', [True, False])
def test_operations_that_may_tell_a_shape_are_exported_for_any(known, tmp_path, monkeypatch):
    _, variables, card = made('classifier3d', hidden=0)
    traced, trace = [], onnx._traced
    monkeypatch.setattr(onnx, '_traced', lambda *a: traced.append(a) or trace(*a))
    if not known:
        monkeypatch.setattr(onnx, '_OF_ANY_SHAPE', {'Conv'})
    convert.write(tmp_path / 'net.onnx', variables, card)
    session = check(tmp_path / 'net.onnx', from_variables(variables, card))
    assert session.get_outputs()[0].shape == ['batch', 2]
    assert len(traced) == (1 if known else 2)


def test_the_check_of_float16_adds_up_in_float32():
    """As onnxruntime does; PyTorch takes minutes for float16 on a CPU."""
    dtypes = set()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: dtypes.add(getattr(module, 'weight', torch.ones(1)).dtype)
    )
    try:
        onnx._narrowed(UNet3D(width=2).eval(), torch.float16, torch.rand(2, 1, 8, 16, 8))
    finally:
        hook.remove()
    assert dtypes == {torch.float32}


def test_float16_and_not_in_bfloat16(tmp_path):
    _, variables, card = made('classifier3d', hidden=0)
    convert.write(tmp_path / 'net.onnx', variables, card, dtype='float16')
    x = torch.rand(1, 1, 16, 8, 16)
    (found,) = onnxruntime.InferenceSession(tmp_path / 'net.onnx').run(None, {'cubes': x.numpy()})
    np.testing.assert_allclose(found, from_variables(variables, card)(x).detach(), atol=1e-2)
    with pytest.raises(UserError, match='no convolution in bfloat16'):
        convert.write(tmp_path / 'other.onnx', variables, card, dtype='bfloat16')
    assert not (tmp_path / 'other.onnx').exists()


def test_float16_keeps_large_variances_or_is_refused(tmp_path):
    variables, card = make('probes')
    card['config']['model']['batch_statistics'] = 'synchronised'
    network = from_card(card)  # as it is drawn: of sensible size
    block = network.down_tr64.ops[1]
    block.conv1.weight.data *= 500
    block.bn1.running_var.fill_(3e5)
    torch.save(network.state_dict(), tmp_path / 'a.pt')
    variables, _ = convert.read(tmp_path / 'a.pt')
    convert.write(tmp_path / 'a.onnx', variables, card, dtype='float16')
    x = torch.rand(1, 1, 8, 16, 8)
    (found,) = onnxruntime.InferenceSession(tmp_path / 'a.onnx').run(None, {'cubes': x.numpy()})
    np.testing.assert_allclose(found, network(x).detach(), atol=1e-2)

    variables['params']['head']['bias'][0] = 1e6
    with pytest.raises(UserError, match='in float16 the logits .* write ONNX in float32'):
        convert.write(tmp_path / 'b.onnx', variables, card, dtype='float16')
    assert not (tmp_path / 'b.onnx').exists()
