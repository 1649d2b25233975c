"""Cards: earlier ones are read, damaged ones refused, sentences made from fields."""

import pytest

from genesis_jax.card import VERSION, Card
from genesis_jax.config_json import complete
from genesis_jax.errors import UserError
from genesis_jax.provenance import Provenance

EARLIER = {
    'network': 'unet3d',
    'parts': ['encoder', 'decoder', 'head'],
    'in_channels': 1,
    'outputs': 3,
    'config': {'model': {'width': 2, 'statistics_momentum': 0.99}, 'task': 'segmentation'},
    'init': 'runs/genesis',
    'start': ['from runs/genesis: encoder and decoder (10 parameters)'],
}


def test_the_card_of_an_earlier_version_has_the_names_of_today():
    card = Card.from_dict(EARLIER)
    assert card.out_channels == 3 and card.model == {'width': 2, 'batch_norm_momentum': 0.99}
    assert card.provenance.init == 'runs/genesis'
    assert card.provenance.lines == tuple(EARLIER['start'])
    assert card.objective == 'segmentation' and card.kind == 'unet' and card.dimensions == 3


def test_a_card_comes_back_from_its_json_and_serves_earlier_readers():
    card = Card.from_dict(EARLIER)
    written = card.to_dict()
    assert written['version'] == VERSION and written['outputs'] == written['out_channels'] == 3
    assert Card.from_dict(written).to_dict() == written
    assert card['config']['model'] == card.model  # as the README shows it


@pytest.mark.parametrize(
    'change, named',
    [
        ({'in_channels': 0}, 'in_channels is 0'),
        ({'window': [1.0, 0.0]}, 'window is'),
        ({'config': {'model': {}}}, 'with model.width'),
        ({'version': VERSION + 1}, f'of version {VERSION + 1}'),
        ({'network': 'unet4d'}, 'network is'),
    ],
)
def test_a_damaged_card_is_one_sentence_that_names_the_value(change, named):
    with pytest.raises(UserError, match=named):
        Card.from_dict(EARLIER | change)
    with pytest.raises(UserError, match='it has no parts'):
        Card.from_dict({name: value for name, value in EARLIER.items() if name != 'parts'})


def test_what_weights_began_with_travels_with_them():
    first = {'init': 'scratch', 'new': ['encoder']}
    one = {'folder': '/home/me/runs/ct', 'task': 'restoration', 'dataset': 'luna16'}
    two = {'folder': '/home/me/runs/mri', 'loaded': ['encoder', 'decoder', 'head']}
    chain = {**two, 'before': {**one, 'loaded': ['encoder'], 'before': {'told': ['from a.pt: x']}}}
    began = Provenance.from_dict({'provenance': chain})
    assert began.to_dict() == chain
    assert began.lines == (
        'from /home/me/runs/mri: encoder, decoder and head',
        'which began from /home/me/runs/ct: encoder, pre-trained to restore luna16',
        'which began from a.pt: x',
    )
    assert began.public().lines == (
        'from mri: encoder, decoder and head',
        'which began from ct: encoder, pre-trained to restore luna16',
    )
    assert Provenance.from_dict({'provenance': first}).before is None


def test_an_earlier_config_resumes():
    network = dict.fromkeys(('name', 'module', 'norm', 'blocks'))
    assert complete({'model': {'statistics_momentum': 0.9}, 'dimensions': 2}) == {
        'model': {'batch_norm_momentum': 0.9, 'init': 'he'} | network,
        'dimensions': 2,
        'init': 'scratch',
    }
