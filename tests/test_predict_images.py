"""What a prediction on image files says of them."""

import jax
import numpy as np
import pytest
from PIL import Image

from genesis_jax.card import Card
from genesis_jax.inference.images import classify_images

CARD = {
    'network': 'classifier2d',
    'parts': ['encoder', 'hidden', 'head'],
    'in_channels': 1,
    'config': {'task': 'classification', 'model': {'width': 2}},
    'task': 'classification',
    'classes': ['healthy', 'ill'],
    'outputs': 1,
    'cube_shape': [8, 8, 1],
    'window': None,
    'full_range': True,
}


@pytest.fixture
def classify(tmp_path):
    """Classifies `tmp_path/in`, which holds images of these bits; returns the closing summary."""

    def run(bits, **fields):
        source = tmp_path / 'in'
        source.mkdir()
        for name, count in bits.items():
            pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * (2**count // 64)
            Image.fromarray(pixels).save(source / f'{name}.png')
        devices = jax.local_device_count()

        def predict(batch):
            return np.full((devices, len(batch) // devices, 1), 0.5)

        batch_size = 2 * devices
        card = Card.from_dict(CARD | fields)
        return classify_images(source, predict, card, tmp_path, batch_size=batch_size).text()

    return run


def test_nearly_black_images_are_told(classify):
    said = classify({'dark': 12, 'full': 16})
    assert 'Images predicted: 2, skipped: 0' in said
    (line,) = [line for line in said.splitlines() if line.startswith('Nearly black')]
    assert 'less than an eighth of the bit depth' in line and ': dark.png; ' in line
    assert 'rescale' in line and 'full.png' not in line and '--window' not in line


def test_of_many_nearly_black_images_some_are_named(classify):
    said = classify({f'dark_{n}': 12 for n in range(5)})
    assert said.count('Nearly black') == 1
    assert ': dark_0.png, dark_1.png, dark_2.png and 2 more; ' in said


def test_images_that_get_their_own_range_are_never_nearly_black(classify):
    assert 'Nearly black' not in classify({'dark': 12}, full_range=False)
