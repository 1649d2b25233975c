"""Folders for a model hub: exact both ways, strict, with a card that tells facts and only facts."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import yaml

from genesis_jax.card import Card
from genesis_jax.convert import hub, names
from genesis_jax.errors import UserError

ROOT = Path(__file__).parent.parent
PRETRAINED = {
    'network': 'unet3d',
    'parts': ['encoder', 'decoder', 'head'],
    'in_channels': 1,
    'outputs': 1,
    'cube_shape': [16, 16, 8, 1],
    'config': {
        'task': 'restoration',
        'seed': 3,
        'data': {'dir': 'secret/place', 'name': 'luna16', 'window': None},
        'transforms': {'flip_axes': [0, 1, 2], 'shuffle_probability': 0.5, 'fill': 'noise'},
        'model': {
            'width': 2,
            'upsample': 'transpose',
            'batch_statistics': 'synchronised',
            'epsilon': 1e-5,
            'batch_norm_momentum': 0.9,
        },
        'batch_size': 6,
        'optimizer': {'name': 'sgd', 'learning_rate': 1.0, 'momentum': 0.9},
    },
    'config_hash': '0123456789ab',
    'cubes': {'train': 14240, 'validation': 5696},
    'modality': 'ct',
    'spacing': None,
    'scans': {'train': 445, 'validation': 178},
    'folds': {'train': [0, 1, 2, 3, 4], 'validation': [5, 6]},
    'step': 4746,
    'epochs': 52,
    'validation_loss': 0.0123456,
    'baselines': {'unchanged': 0.26251, 'cube_mean': 0.04372},
    'examples_per_second': 812.3,
    'device': '4 x cpu',
}
ENCODER = PRETRAINED | {'parts': ['encoder']}
CLASSIFIER = {
    'network': 'classifier3d',
    'parts': ['encoder', 'hidden', 'head'],
    'task': 'classification',
    'classes': ['nothing', 'node|ule', 'vessel'],
    'outputs': 3,
    'in_channels': 2,
    'channels': ['t1', 'flair'],
    'cube_shape': [16, 16, 8, 2],
    'modality': 'mri',
    'spacing': [1.0, 1.0, 2.5],
    'full_range': True,
    'window': None,
    'fold': 0,
    'provenance': {'folder': 'runs/genesis_ct', 'loaded': ['encoder'], 'new': ['hidden', 'head']},
    'examples': {'train': 20, 'validation': 10, 'test': 9},
    'patients': {'train': 7, 'validation': 2, 'test': 2},
    'trained_on': ['aaaaaaaaaaaa'],
    'config': {
        'data': {'name': 'ecc'},
        'model': {'width': 2, 'hidden': 5, 'batch_statistics': 'official', 'epsilon': 1e-3},
        'augment': {'flip_probability': 0.5},
        'label_fraction': 0.5,
        'freeze': 'encoder',
    },
}
SEGMENTER = PRETRAINED | {'task': 'segmentation', 'classes': ['a', 'b', 'c'], 'outputs': 3}
FOREIGN = {  # what is known of a file that says nothing but names and shapes
    'network': 'unet3d',
    'parts': ['encoder', 'decoder', 'head'],
    'in_channels': 1,
    'outputs': 1,
    'config': {'model': {'width': 2, 'upsample': 'nearest', 'epsilon': 1e-3}},
    'source': {'file': 'Genesis_Chest_CT.h5', 'sha256': 'ab' * 32, 'format': 'keras'},
}
CARDS = {
    'pretrained': PRETRAINED,
    'encoder': ENCODER,
    'classifier': CLASSIFIER,
    'segmenter': SEGMENTER,
    'foreign': FOREIGN,
}


def variables_of(card):
    """Random variables of the network that a card describes."""
    rng = np.random.default_rng(0)
    rows = names.rows(card)
    state = {row.name: rng.normal(size=row.torch_shape).astype(np.float32) for row in rows}
    return names.to_flax(state, rows, 'drawn')


@pytest.fixture
def folder(tmp_path):
    """A folder of the pre-trained network."""
    hub.write(tmp_path / 'genesis', variables_of(PRETRAINED), PRETRAINED)
    return tmp_path / 'genesis'


def facts(folder):
    """The rows of the model card's tables."""
    lines = (folder / 'README.md').read_text('utf-8').splitlines()
    cells = [line.strip('| ').split(' | ') for line in lines if line.startswith('| ')]
    return {cell[0]: cell[1] for cell in cells if len(cell) == 2 and cell[0] != '---'}


@pytest.mark.parametrize('name', CARDS)
def test_a_network_and_its_card_return_bit_for_bit(name, tmp_path):
    variables = variables_of(CARDS[name])
    hub.write(tmp_path / 'out', variables, CARDS[name])
    found, card = hub.read(tmp_path / 'out')
    assert card == hub.public(Card.from_dict(CARDS[name]))
    assert jax.tree.structure(found) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}


@pytest.mark.parametrize('dtype, kind', [('bfloat16', ml_dtypes.bfloat16), ('float16', np.float16)])
def test_narrow_arrays_are_the_rounded_ones(dtype, kind, tmp_path):
    variables = variables_of(CLASSIFIER)
    hub.write(tmp_path / 'once', variables, CLASSIFIER, dtype)
    found, card = hub.read(tmp_path / 'once')
    rounded = jax.tree.map(lambda a: a.astype(kind).astype(np.float32), variables)
    jax.tree.map(np.testing.assert_array_equal, found, rounded)
    hub.write(tmp_path / 'twice', found, card, dtype)
    files = [tmp_path / name / 'model.safetensors' for name in ('once', 'twice')]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert f'The arrays are rounded to {dtype}.' in (tmp_path / 'once' / 'README.md').read_text()


def test_nothing_of_the_machine_or_the_patients_is_published(tmp_path):
    place = '/home/someone/runs'
    card = CLASSIFIER | {
        'provenance': {
            'init': f'{place}/genesis_ct',
            'folder': f'{place}/genesis_ct/export/encoder',
            'loaded': ['encoder'],
            'parameters': 1000,
        },
        'config': CLASSIFIER['config'] | {'init': place, 'data': {'dir': place, 'name': 'ecc'}},
    }
    hub.write(tmp_path / 'out', variables_of(card), card)
    for file in ('config.json', 'README.md'):
        text = (tmp_path / 'out' / file).read_text('utf-8')
        assert 'someone' not in text and 'aaaaaaaaaaaa' not in text
        assert 'from genesis_ct: encoder (1,000 parameters)' in text
    assert card['trained_on'] and card['config']['data']['dir'] == place  # the caller's is whole


def test_a_folder_is_recognised_by_either_file_and_by_its_arrays(folder, tmp_path):
    from genesis_jax import convert

    same = convert.read(folder / 'model.safetensors')[1]
    assert same == convert.read(folder)[1]
    for file, said in (
        ('config.json', 'has no config.json'),
        ('model.safetensors', 'is not there'),
    ):
        copy = shutil.copytree(folder, tmp_path / file)
        (copy / file).unlink()
        with pytest.raises(UserError, match=said):
            convert.read(copy)
    with pytest.raises(UserError, match=r'alone describes no network; .* and add --to=hub'):
        convert.convert(folder, tmp_path / 'a.safetensors')


def test_the_arrays_have_the_published_names(folder, golden):
    published = json.loads((golden / 'official_unet3d_keys.json').read_text())
    arrays = safetensors.numpy.load_file(folder / 'model.safetensors')
    expected = {name.removeprefix('module.') for name in published}
    assert set(arrays) == {name for name in expected if not name.endswith(names.COUNTER)}
    assert arrays['down_tr64.ops.0.conv1.weight'].shape == (2, 1, 3, 3, 3)


def test_numbers_too_large_for_the_dtype_are_refused(tmp_path):
    variables = variables_of(PRETRAINED)
    variables['batch_stats']['encoder']['level_0']['block_0']['bn']['var'][0] = 1e6
    with pytest.raises(UserError, match='running_var has numbers too large for float16'):
        hub.write(tmp_path / 'out', variables, PRETRAINED, 'float16')
    assert not list(tmp_path.iterdir())


def test_variables_of_another_network_are_refused(tmp_path):
    card = PRETRAINED | {'outputs': 2}
    with pytest.raises(UserError, match='2 of another shape'):
        hub.write(tmp_path / 'out', variables_of(PRETRAINED), card)
    assert not list(tmp_path.iterdir())


def test_neither_side_takes_jax_or_pytorch(folder, tmp_path):
    code = (
        'import sys; from genesis_jax.convert import hub\n'
        f'hub.write({str(tmp_path / "copy")!r}, *hub.read({str(folder)!r}))\n'
        'assert not {"jax", "torch"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_the_model_card_tells_what_is_known(folder):
    text = (folder / 'README.md').read_text('utf-8')
    _, front, _ = text.split('---\n', 2)
    about = yaml.safe_load(front)
    assert about['library_name'] == 'genesis_jax' and about['license'] == 'other'
    assert about['pipeline_tag'] == 'image-feature-extraction' and about['datasets'] == ['luna16']
    told = facts(folder)
    parameters = jax.tree.leaves(variables_of(PRETRAINED)['params'])
    assert told['parameters'] == f'{sum(leaf.size for leaf in parameters):,}'
    assert told['scans'] == 'train 445, validation 178'
    assert told['folds'] == 'train 0, 1, 2, 3, 4; validation 5, 6'
    assert told['cubes'] == 'train 14240, validation 5696'
    assert told['voxels of a cube'] == '16 × 16 × 8' and told['spacing'] == "each scan's own"
    assert told['intensities'] == '-1000 … 1000 become 0 … 1, clipped'
    assert told['corruption'] == 'flip axes 0 1 2, shuffle probability 0.5, fill noise'
    assert told['optimiser'] == 'sgd, learning rate 1.0, momentum 0.9'
    assert told['hash of the config'] == '0123456789ab'
    assert told['steps of these weights, the best'] == '4746'
    assert told['on the validation examples'] == '0.012346'
    assert told['of the corrupted cube left unchanged'] == '0.26251'
    assert told['cubes a second'] == '812' and told['device'] == '4 x cpu'
    assert 'secret' not in text
    for part in ('Intended use', 'Limits', 'How to load it', 'Licence', 'Citation'):
        assert f'\n## {part}\n' in text
    assert "from_pretrained('genesis')" in text and "convert.read('genesis')" in text
    assert '--config.init=genesis' in text and '--config.model.width=2' in text


def test_the_model_card_of_a_fine_tuned_network(tmp_path):
    hub.write(tmp_path / 'out', variables_of(CLASSIFIER), CLASSIFIER)
    text = (tmp_path / 'out' / 'README.md').read_text('utf-8')
    about, told = yaml.safe_load(text.split('---\n')[1]), facts(tmp_path / 'out')
    assert about['pipeline_tag'] == 'image-classification' and 'mri' in about['tags']
    assert told['input channels'] == 't1, flair' and told['classes'].startswith('nothing, ')
    assert told['patients'] == 'train 7, validation 2, test 2'
    assert told['intensities'] == "each scan's own minimum and maximum become 0 … 1, clipped"
    assert told['spacing'] == '1 × 1 × 2.5 mm' and told['tested on fold'] == '0'
    assert 'randomly initialised: hidden, head' in told['start'] and told['frozen'] == 'encoder'
    assert 'node\\|ule' in text and 'aaaaaaaaaaaa' not in text
    assert 'a prediction depends on its neighbours' in text


def test_what_a_card_lacks_is_left_out(tmp_path):
    hub.write(tmp_path / 'out', variables_of(FOREIGN), FOREIGN)
    text = (tmp_path / 'out' / 'README.md').read_text('utf-8')
    about = yaml.safe_load(text.split('---\n')[1])
    assert set(about) == {'library_name', 'license', 'license_name', 'tags'}
    assert set(facts(tmp_path / 'out')) == {
        'network',
        'parts',
        'parameters',
        'channels of the first convolution',
        'input channels',
        'outputs',
        'upsampling',
        'epsilon of batch normalisation',
        'numbers',
        'file',
        'SHA-256',
        'format',
    }
    assert 'Which scans it has seen is not recorded here' in text
    assert '## Losses' not in text and '## How it was trained' not in text
    for words in ('None', 'nan', 'restore', 'luna16'):
        assert words not in text


@pytest.mark.parametrize('name', ['pretrained', 'encoder', 'classifier'])
def test_the_code_of_the_model_card_runs(name, tmp_path, monkeypatch):
    from genesis_jax import convert

    convert.write(tmp_path / 'out', variables_of(CARDS[name]), CARDS[name], 'hub')
    monkeypatch.chdir(tmp_path)
    text = (tmp_path / 'out' / 'README.md').read_text('utf-8')
    pytorch, ours = (part.split('```')[0] for part in text.split('```python\n')[1:])
    found = {}
    exec(ours, found)
    outputs = CARDS[name]['outputs']
    if 'logits' in found:
        assert found['logits'].shape[-1] == outputs
    pytest.importorskip('torch', reason='the lines for PyTorch users need PyTorch')
    exec(pytorch, found)
    if 'logits' in found:
        assert found['logits'].shape[1] == outputs


def test_broken_folders_are_refused_in_one_sentence(folder, tmp_path):
    def refused(said, change):
        copy = tmp_path / 'copy'
        shutil.copytree(folder, copy)
        change(copy)
        with pytest.raises(UserError) as error:
            hub.read(copy)
        assert said in str(error.value) and str(copy) in str(error.value)
        shutil.rmtree(copy)

    def configure(**changes):
        def change(copy):
            config = json.loads((copy / 'config.json').read_text())
            config |= {k: v(config[k]) if callable(v) else v for k, v in changes.items()}
            (copy / 'config.json').write_text(json.dumps(config))

        return change

    def arrange(change):
        def changed(copy):
            file = copy / 'model.safetensors'
            file.write_bytes(safetensors.numpy.save(change(safetensors.numpy.load_file(file))))
            configure(sha256=hashlib.sha256(file.read_bytes()).hexdigest())(copy)

        return changed

    def overwrite(copy):
        data = bytearray((copy / 'model.safetensors').read_bytes())
        data[len(data) // 2] ^= 1
        (copy / 'model.safetensors').write_bytes(data)

    def cut(share):
        def change(copy):
            file = copy / 'model.safetensors'
            file.write_bytes(file.read_bytes()[: math.floor(share * file.stat().st_size)])

        return change

    refused('has no config.json', lambda copy: (copy / 'config.json').unlink())
    refused('model.safetensors is not there', lambda copy: (copy / 'model.safetensors').unlink())
    refused('cannot be read', lambda copy: (copy / 'config.json').write_text('{"card": '))
    refused('describes no network', lambda copy: (copy / 'config.json').write_text('{"a": 1}'))
    refused('describes no network', lambda copy: (copy / 'config.json').write_text('[]'))
    for share in (0, 0.0001, 0.01, 0.5, 0.9999):
        refused('is damaged or cut short', cut(share))

    refused('its SHA-256 is not the', overwrite)

    for field, value in (
        ('epsilon', 'small'),
        ('epsilon', math.nan),
        ('batch_statistics', 'own'),
        ('batch_norm_momentum', 2),
        ('width', '2'),
        ('spacing', 5),
        ('cube_shape', [16, 16, 8]),
        ('in_channels', 1.5),
    ):

        def edit(card, field=field, value=value):
            (card if field in card else card['config']['model'])[field] = value
            return card

        refused(f'{field} is {value!r}, expected', configure(card=edit))

    wide = {'config': {'model': PRETRAINED['config']['model'] | {'width': 4}}}
    tilted = {'view': 'tilted'}
    refused("view is 'tilted', expected one of", configure(card=lambda card: card | tilted))
    refused('width is 2 and 4', configure(card=lambda card: card | wide))
    refused(
        'of another shape (down_tr64.ops.0.conv1.weight is (2, 1, 3, 3, 3), expected (4, ',
        configure(card=lambda card: card | wide, architecture=lambda a: a | {'width': 4}),
    )
    refused('92 arrays of another type', configure(dtype='float16'))
    refused('is damaged', configure(dtype='int8'))
    refused('contradict each other', configure(architecture=lambda a: a | {'width': 'wide'}))
    refused('contradict each other', configure(architecture=lambda a: a | {'depth': 4}))
    refused('contradict each other', configure(architecture=[]))
    refused('is damaged', configure(card={}))
    refused('is damaged', configure(card=None))

    refused(
        '1 missing (out_tr.final_conv.bias)',
        arrange(lambda a: {n: v for n, v in a.items() if n != 'out_tr.final_conv.bias'}),
    )
    refused(
        'nan or infinite numbers in 1 arrays (out_tr.final_conv.bias)',
        arrange(lambda a: a | {'out_tr.final_conv.bias': np.full(1, np.nan, 'f')}),
    )
    refused('1 unexpected (dense_1.bias)', arrange(lambda a: a | {'dense_1.bias': np.ones(1, 'f')}))
