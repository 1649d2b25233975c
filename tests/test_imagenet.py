"""ImageNet weights: a standard ResNet-18 becomes the encoder; every other ResNet is named."""

import dataclasses
import json

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the reference ResNet is made in PyTorch')

import resnets  # noqa: E402
import safetensors.torch  # noqa: E402

from configs import target  # noqa: E402
from genesis_jax import convert, transfer  # noqa: E402
from genesis_jax import torch as ours  # noqa: E402
from genesis_jax.compare import layouts  # noqa: E402
from genesis_jax.compare.runs import read_workdir  # noqa: E402
from genesis_jax.convert.__main__ import main  # noqa: E402
from genesis_jax.errors import UserError  # noqa: E402
from genesis_jax.models import Classifier2D, Classifier3D, UNet2D  # noqa: E402
from genesis_jax.models.resnet import ResNet18  # noqa: E402
from tests.compared import make_classifier, write_config  # noqa: E402

WIDTH = 4


@pytest.fixture
def file(tmp_path):
    """A narrow ResNet-18 with a classifier of 1,000 classes, as torchvision saves it."""
    path = tmp_path / 'resnet18.pth'
    torch.save(resnets.drawn(width=WIDTH).state_dict(), path)
    return path


def start(init, network=Classifier2D, channels=3, task='classification', **fields):
    """What a fine-tuning with these fields of the config starts with."""
    config = target.get_config(task)
    config.model.width = WIDTH
    config.dimensions = network().dimensions
    config.update_from_flattened_dict({'init': str(init), **fields})
    made = network(width=config.model.width)
    return transfer.open_start(config, transfer.shapes_of(made, channels))


def scales(variables, x, width=WIDTH):
    """Features of our encoder, as PyTorch orders the axes."""
    encoder = {name: tree['encoder'] for name, tree in variables.items()}
    module = ResNet18(width, UNet2D(width=width).make_norm(train=False))
    found = jax.jit(module.apply)(encoder, np.moveaxis(x, 1, -1))
    return [np.moveaxis(np.asarray(scale), -1, 1) for scale in found]


def test_features_of_all_scales_are_those_of_pytorch_at_full_width(tmp_path, rng):
    network = resnets.drawn()
    assert sum(p.numel() for p in network.parameters()) == 11_689_512  # as torchvision's
    torch.save(network.state_dict(), tmp_path / 'resnet18.pth')
    loaded = start(tmp_path / 'resnet18.pth', **{'model.width': 64})
    assert loaded.parts == ('encoder',)
    x = rng.uniform(size=(2, 3, 64, 96)).astype(np.float32)
    with torch.no_grad():
        expected = network.scales(torch.from_numpy(x))
    assert [tuple(e.shape[1:]) for e in expected] == [
        (64, 32, 48), (64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3),
    ]  # fmt: skip
    for found, reference in zip(scales(loaded.variables, x, 64), expected, strict=True):
        assert reference.abs().max() > 0.1
        np.testing.assert_allclose(found, reference, atol=1e-4)


@pytest.mark.parametrize('channels, line', [(1, 'summed'), (2, 'repeated and rescaled'), (3, '')])
def test_grey_images_give_the_features_of_their_rgb(file, rng, channels, line):
    loaded = start(file, channels=channels)
    kernel = f'first kernel: 3 input channels there, {channels} here: {line}'
    assert (kernel in loaded.lines) == (channels != 3)
    network = resnets.drawn(width=WIDTH)
    grey = rng.uniform(size=(1, 1, 32, 32)).astype(np.float32)
    with torch.no_grad():
        expected = network.scales(torch.from_numpy(np.repeat(grey, 3, 1)))
    for found, reference in zip(
        scales(loaded.variables, np.repeat(grey, channels, 1)), expected, strict=True
    ):
        np.testing.assert_allclose(found, reference, atol=1e-4)


def test_one_channel_serves_three(tmp_path):
    state = resnets.drawn(width=WIDTH, channels=1, classes=0).state_dict()
    torch.save(state, tmp_path / 'grey.pth')
    loaded = start(tmp_path / 'grey.pth')
    found = loaded.variables['params']['encoder']['stem']['conv']['kernel']
    expected = state['conv1.weight'].numpy().transpose(2, 3, 1, 0) / 3
    np.testing.assert_allclose(found, np.repeat(expected, 3, 2), rtol=1e-6)


def test_what_was_loaded_is_told(file):
    lines = start(file, channels=1).lines
    encoder = resnets.ResNet(width=WIDTH, channels=1, classes=0)
    count = sum(p.numel() for p in encoder.parameters())
    assert lines[0] == f'from {file}: encoder ({count:,} parameters)'
    assert lines[1].startswith('converted from pytorch, sha256 ')
    assert lines[2] == 'skipped: fc.weight, fc.bias'
    assert lines[3] == (
        'assumed, as resnet18.pth has no card: epsilon=1e-05, batch_statistics=synchronised'
    )
    assert lines[-1] == 'randomly initialised: hidden, head'


def test_every_form_of_a_file_is_read_alike(file, tmp_path):
    network = resnets.drawn(width=WIDTH)
    state = network.state_dict()
    expected, _ = convert.read(file)
    bare = {name: tensor for name, tensor in state.items() if 'fc' not in name}
    without = {name: tensor for name, tensor in state.items() if 'tracked' not in name}
    other = state | {'fc.weight': torch.zeros(14, 32), 'fc.bias': torch.zeros(14)}
    forms = {
        'bare.pth': bare,
        'of_2016.pth': {n: torch.nn.Parameter(t) for n, t in without.items()},
        'parallel.pth.tar': {'state_dict': {f'module.{n}': t for n, t in state.items()}},
        'classes.pth': other,
    }
    for name, form in forms.items():
        torch.save(form, tmp_path / name)
    torch.save(forms['of_2016.pth'], tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, tmp_path / 'resnet18.safetensors')

    folder = tmp_path / 'timm'  # as timm's files lie on its hub
    folder.mkdir()
    safetensors.torch.save_file(state, folder / 'model.safetensors')
    safetensors.torch.save_file(state, tmp_path / 'model.safetensors')  # taken out of its folder
    config = {'architecture': 'resnet18', 'num_classes': 1000, 'num_features': 512}
    (folder / 'config.json').write_text(json.dumps(config))

    alone = ('old.pth', 'resnet18.safetensors', 'model.safetensors', 'timm')
    for name in (*forms, *alone, 'timm/model.safetensors'):
        found, card = convert.read(tmp_path / name)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        assert card['parts'] == ['encoder'] and card['in_channels'] == 3, name
        left_out = [] if name == 'bare.pth' else ['fc.bias', 'fc.weight']
        assert sorted(card['source'].get('left_out', [])) == left_out


def test_narrow_numbers_of_safetensors(file, tmp_path):
    state = resnets.drawn(width=WIDTH).state_dict()
    narrow = {n: t.bfloat16() if t.is_floating_point() else t for n, t in state.items()}
    safetensors.torch.save_file(narrow, tmp_path / 'a.safetensors')
    kernel = convert.read(tmp_path / 'a.safetensors')[0]['params']['encoder']['stem']['conv']
    expected = narrow['conv1.weight'].float().numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel['kernel'], expected)

    wide = {n: t.double() for n, t in state.items()}
    wide['conv1.weight'] += 1e-12
    safetensors.torch.save_file(wide, tmp_path / 'b.safetensors')
    with pytest.raises(
        UserError, match=r'1 arrays that float32 does not .*\(conv1.weight of float64'
    ):
        convert.read(tmp_path / 'b.safetensors')


OTHERS = {  # a state dict, and what it is called
    'resnet34': (lambda: resnet((3, 4, 6, 3)), 'is a ResNet-34, and the encoder here is'),
    'resnet50': (lambda: resnet((3, 4, 6, 3), expansion=4), 'is a ResNet-50, '),
    'resnet101': (lambda: resnet((3, 4, 23, 3), expansion=4), 'is a ResNet-101, '),
    'resnet26': (lambda: resnet((2, 2, 2, 2), expansion=4), 'is a ResNet-26, '),
    'resnet14': (lambda: resnet((1, 2, 2, 1)), 'is a ResNet of 1, 2, 2, 1 basic blocks, '),
    'resnext': (
        lambda: changed('layer1.0.conv2.weight', (4, 1, 3, 3), (3, 4, 6, 3), 4),
        'is a ResNeXt with the blocks of a ResNet-50, ',
    ),
    'wide': (
        lambda: changed('layer1.0.conv1.weight', (128, 4, 1, 1), (3, 4, 6, 3), 4)
        | {'layer1.0.conv2.weight': torch.zeros(128, 128, 3, 3)},
        'is a Wide ResNet-50, ',
    ),
    'uneven': (
        lambda: changed('layer3.0.conv1.weight', (12, 8, 3, 3)),
        'is a ResNet-18 of the widths 4, 4, 8, 12, 32, ',
    ),
    'deep_stem': (
        lambda: {n.replace('conv1.w', 'conv1.0.w', n == 'conv1.weight'): t
                 for n, t in resnet().items()},
        'is a ResNet-18 without a single first convolution, conv1.weight, ',
    ),
    'medicalnet': (
        lambda: {n: t[..., None] if t.ndim == 4 else t for n, t in resnet().items()},
        'is a 3D ResNet-18, ',
    ),
    'stem_of_side_3': (
        lambda: changed('conv1.weight', (4, 3, 3, 3)),
        r'1 of another shape \(conv1.weight is \(4, 3, 3, 3\), expected \(4, 3, 7, 7\)\)',
    ),
    'se': (
        lambda: resnet() | {'layer1.0.se.fc1.weight': torch.zeros(2, 4)},
        r'1 unexpected \(layer1.0.se.fc1.weight\)',
    ),
    'transformers': (
        lambda: {'resnet.embedder.embedder.convolution.weight': torch.zeros(4, 3, 7, 7)},
        r'in 2D those of a ResNet-18 \(conv1.weight, .* found resnet.embedder',
    ),
}  # fmt: skip


def resnet(blocks=(2, 2, 2, 2), expansion=1):
    return resnets.drawn(blocks=blocks, expansion=expansion, width=WIDTH).state_dict()


def changed(name, shape, *network):
    return resnet(*network) | {name: torch.zeros(shape)}


@pytest.mark.parametrize('name', OTHERS)
def test_another_network_is_named(name, tmp_path, capsys):
    make, words = OTHERS[name]
    torch.save(make(), tmp_path / 'other.pth')
    with pytest.raises(UserError, match=words) as raised:
        convert.read(tmp_path / 'other.pth')
    assert str(raised.value).count('. ') == 0 and '\n' not in str(raised.value)
    with pytest.raises(SystemExit):
        main([str(tmp_path / 'other.pth'), str(tmp_path / 'ours')])
    assert capsys.readouterr().err.count('\n') == 1 and not (tmp_path / 'ours').exists()


def test_another_width_is_told_as_a_setting(file):
    with pytest.raises(UserError, match='with config.model.width=4, this run has 8; add --config'):
        start(file, **{'model.width': 8})


def test_a_start_of_other_dimensions_or_parts_is_refused(file):
    with pytest.raises(UserError, match='holds a 2D network, and this run has config.dimensions=3'):
        start(file, Classifier3D, channels=1)
    variables, card = convert.read(file)
    card = dataclasses.replace(
        card, source=None
    )  # as that of a pre-training, of which the decoder may have been forgotten
    convert.write(file.parent / 'ours', variables, card, 'orbax')
    with pytest.raises(UserError, match='encoder and no decoder; .* --config.transfer=encoder'):
        start(file.parent / 'ours', UNet2D, task='segmentation')


def test_it_starts_a_segmentation_whose_decoder_is_new(file, tmp_path):
    default = start(file, UNet2D, task='segmentation')
    asked = start(file, UNet2D, task='segmentation', transfer='encoder')
    assert default.parts == asked.parts == ('encoder',)
    new = 'randomly initialised: decoder, head'
    assert default.lines[-2:] == ('a ResNet-18 has no decoder, which starts anew', new)
    assert asked.lines == (*default.lines[:-2], new)
    jax.tree.map(np.testing.assert_array_equal, default.variables, asked.variables)
    network = ours.UNet2D(width=WIDTH, in_channels=3)
    torch.save(network.state_dict(), tmp_path / 'unet.pth')  # its decoder is loaded
    assert start(tmp_path / 'unet.pth', UNet2D, task='segmentation').parts == ('encoder', 'decoder')


@pytest.mark.parametrize('form', ['resnet18.pth', 'resnet18.pth.tar', 'timm', 'timm_bin',
                                  'export', 'hub', 'bare.bin'])  # fmt: skip
def test_a_comparison_calls_it_imagenet_in_whatever_form(form, file, tmp_path):
    place, state = tmp_path / form, torch.load(file, weights_only=True)
    if form.startswith('timm'):
        place.mkdir()
        (place / 'config.json').write_text(json.dumps({'architecture': 'resnet18'}))
        if form == 'timm':
            safetensors.torch.save_file(state, place / 'model.safetensors')
        else:
            torch.save(state, place / 'pytorch_model.bin')
    elif form in ('export', 'hub'):
        convert.convert(file, tmp_path / 'ours')
        convert.convert(tmp_path / 'ours', place, target_format={'export': 'orbax'}.get(form, form))
    else:
        torch.save({n: t for n, t in state.items() if form[0] != 'b' or 'fc' not in n}, place)
    began = start(place).provenance.to_dict()
    run = make_classifier(tmp_path / 'run', init=str(place), start=began)
    write_config(run, dimensions=2)
    report = layouts.lay_out('table4', [read_workdir(run)])
    assert report.tables[0].head == ('task', '2D ImageNet', 'p', 'p (Holm)')


def test_a_folder_of_timm_without_weights_says_what_to_name(tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps({'architecture': 'resnet18'}))
    with pytest.raises(UserError, match='no model.safetensors; expected that or pytorch_model.bin'):
        start(tmp_path)


def test_it_becomes_an_export_and_a_file_that_torchvision_loads(file, tmp_path, capsys):
    assert main([str(file), str(tmp_path / 'ours')]) == 0
    said = capsys.readouterr().out.splitlines()
    assert '2D U-Net (encoder), width 4, input channels 3' in said[0]
    assert said[1] == 'skipped: fc.weight, fc.bias'
    assert '--config.dimensions=2 ' in said[-1] and ' --config.model.width=4' in said[-1]
    assert main([str(tmp_path / 'ours'), str(tmp_path / 'back.pth')]) == 0
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['state_dict']
    network = resnets.ResNet(width=WIDTH, classes=0)
    network.load_state_dict(back, strict=True)
    for name, tensor in resnets.drawn(width=WIDTH).state_dict().items():
        if not name.startswith('fc.'):
            assert torch.equal(network.state_dict()[name], tensor), name


def test_in_pytorch(file, capsys, rng):
    network = ours.Classifier2D.from_pretrained(file, out_channels=8, hidden=5, in_channels=1)
    said = capsys.readouterr().out.splitlines()
    assert said[1] == 'skipped: fc.weight, fc.bias'
    assert said[3:5] == [
        'first kernel: 3 input channels there, 1 here: summed',
        'randomly initialised: hidden, head',
    ]
    grey = torch.from_numpy(rng.uniform(size=(2, 1, 32, 64)).astype(np.float32))
    with torch.no_grad():
        expected = resnets.drawn(width=WIDTH).scales(grey.expand(-1, 3, -1, -1))
        for found, reference in zip(network.encode(grey), expected, strict=True):
            torch.testing.assert_close(found, reference, atol=1e-5, rtol=1e-5)
        assert network(grey).shape == (2, 8)
    with pytest.raises(UserError, match='holds a unet2d, whose encoder fits no classifier3d'):
        ours.Classifier3D.from_pretrained(file, out_channels=8, hidden=5)
    with pytest.raises(UserError, match='no decoder and no head for this unet2d'):
        ours.UNet2D.from_pretrained(file)
    unet = ours.UNet2D.from_pretrained(file, new_decoder=True, out_channels=2)
    assert unet(torch.rand(1, 3, 32, 64)).shape == (1, 2, 32, 64)
