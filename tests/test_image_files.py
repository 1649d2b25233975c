"""2D image files of every kind are found and read as grey; damaged ones say what is wrong."""

import struct

import numpy as np
import pytest
from PIL import Image
from pixels import SIZE, damage, pixels_of, tiff

from genesis_jax.errors import ScanError
from genesis_jax.imaging.images import find_images, read_grey


def save(kind, path):
    """Writes an image of known grey values, which are returned as [X, Y]."""
    grey = pixels_of(0)
    image = Image.fromarray(grey)
    if kind == 'palette':
        image = image.convert('RGB').convert('P', palette=Image.Palette.ADAPTIVE)
    elif kind == 'transparent':
        image = image.convert('RGBA')
        alpha = np.where(np.arange(SIZE[0]) < 20, 0, 255) * np.ones(SIZE[::-1])
        image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
        grey = np.where(alpha == 0, 0, grey)
    elif kind == 'colour':
        colours = np.stack([grey, pixels_of(1), pixels_of(2)], axis=-1)
        image = Image.fromarray(colours)
        grey = colours @ (0.299, 0.587, 0.114)
    elif kind == 'bilevel':
        image = image.convert('1')
        grey = 255 * np.asarray(image)
    elif kind != 'grey':
        image = image.convert(kind)
    image.save(path)
    return grey.T


@pytest.mark.parametrize(
    'kind', ['grey', 'RGB', 'RGBA', 'LA', 'palette', 'transparent', 'colour', 'bilevel']
)
def test_every_kind_of_png_becomes_the_same_grey(kind, tmp_path):
    expected = save(kind, tmp_path / 'a.png')
    image = read_grey(tmp_path / 'a.png', SIZE)
    assert image.pixels.dtype == np.int16 and image.pixels.shape == SIZE
    assert image.window == (0, 255) and not image.remark
    np.testing.assert_allclose(image.pixels, expected, atol=1 if kind == 'colour' else 0)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_16_bits_are_kept_exactly(suffix, tmp_path):
    values = pixels_of(0, 65536, np.uint16)
    Image.fromarray(values).save(tmp_path / f'a.{suffix}')
    image = read_grey(tmp_path / f'a.{suffix}', SIZE)
    assert image.window == (-32768, 32767)
    np.testing.assert_array_equal(image.pixels.astype(int) + 32768, values.T)


@pytest.mark.parametrize('dtype', [np.int32, np.float32])
def test_32_bit_files_get_their_own_range(dtype, tmp_path):
    values = (pixels_of(0, 1000, np.int32) * 1000 - 300_000).astype(dtype)
    Image.fromarray(values).save(tmp_path / 'a.tif')
    image = read_grey(tmp_path / 'a.tif', SIZE)
    low, high = np.percentile(values[::4, ::4], (0.5, 99.5))
    expected = (np.clip(values.T, low, high) - low) / (high - low)
    assert image.window == (0, 32767)
    np.testing.assert_allclose(image.pixels / 32767, expected, atol=1e-4)


TIFFS = {
    'bit': (lambda: pixels_of(0, 2), 1, lambda v: 1 - v),
    '8 bits': (lambda: pixels_of(0), 8, lambda v: 255 - v),
    '16 bits': (lambda: pixels_of(0, 65536, np.uint16), 16, lambda v: 65535 - v),
    '16 bits signed': (lambda: pixels_of(0, 9000).astype(np.int16) - 4000, 16, lambda v: -1 - v),
    '8 bits signed': (lambda: pixels_of(0).view(np.int8), 8, lambda v: -1 - v),
    '32 bits': (lambda: pixels_of(0, 2**32, np.uint32), 32, lambda v: 2**32 - 1 - v),
    '32 bits signed': (lambda: pixels_of(0, 9000, np.int32) - 4000, 32, lambda v: -1 - v),
    'float': (lambda: pixels_of(0, 9000, np.float32) / 1000, 32, lambda v: -v),
}
FULL_RANGE = {'bit': (0, 1), '8 bits': (0, 255), '16 bits': (0, 65535)}
REFUSED_PACKED = ('16 bits signed', '32 bits signed', 'float')  # Pillow reads them wrong


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('kind', TIFFS)
def test_where_white_is_zero_the_same_is_bright(tmp_path, kind, order, packed):
    make, bits, invert = TIFFS[kind]
    values = make()
    inverted = invert(values.astype(np.float64)).astype(values.dtype)
    tiff(tmp_path / 'black.tif', values, order=order, bits=bits, packed=packed)
    white = {'white_is_zero': True, 'order': order, 'bits': bits, 'packed': packed}
    tiff(tmp_path / 'white.tif', inverted, **white)
    refused = order == '>' and (kind == '32 bits' or packed and kind in REFUSED_PACKED)
    for path in (tmp_path / 'black.tif', tmp_path / 'white.tif'):
        if refused:
            with pytest.raises(ScanError, match='TIFF of .* cannot be read; export it again'):
                read_grey(path, SIZE)
            continue
        image = read_grey(path, SIZE)
        low, high = image.window
        shown = ((image.pixels - low) / (high - low)).clip(0, 1)
        least, most = FULL_RANGE.get(kind) or np.percentile(values[::4, ::4], (0.5, 99.5))
        expected = ((values.T.astype(np.float64) - least) / (most - least)).clip(0, 1)
        np.testing.assert_allclose(shown, expected, atol=2e-2 if 'signed' in kind else 1e-3)


def test_12_bits_are_inverted_within_12_bits(tmp_path):
    values = pixels_of(0, 4096, np.uint16)
    pairs = values.reshape(SIZE[1], -1, 2).astype(np.uint32)
    first, second = pairs[..., 0], pairs[..., 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    path = tmp_path / 'a.tif'
    tiff(path, packed.astype(np.uint8).reshape(SIZE[1], -1), white_is_zero=True, bits=12)
    three, two = (struct.pack('<HHIHH', 256, 3, 1, n, 0) for n in (SIZE[0] * 3 // 2, SIZE[0]))
    path.write_bytes(path.read_bytes().replace(three, two, 1))  # pixels, not bytes
    image = read_grey(path, SIZE)
    np.testing.assert_array_equal(image.pixels.astype(int) + 32768, 4095 - values.T)


def test_resizing_averages_and_keeps_orientation(tmp_path):
    values = np.zeros((64, 128), np.uint8)
    values[:32, :32] = 200  # upper left
    values[::2, 64:] = 100  # fine lines, which become their mean
    Image.fromarray(values).save(tmp_path / 'a.png')
    pixels = read_grey(tmp_path / 'a.png', (32, 32)).pixels
    assert (pixels[1:7, 1:14] == 200).all() and (pixels[1:7, 18:] == 0).all()
    np.testing.assert_allclose(pixels[18:, 2:-2], 50, atol=7)


def test_a_photograph_is_turned_upright(tmp_path):
    values = pixels_of(0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(values).save(tmp_path / 'a.png', exif=exif)
    image = read_grey(tmp_path / 'a.png', SIZE[::-1])
    np.testing.assert_array_equal(image.pixels, np.rot90(values, -1).T)


@pytest.mark.parametrize(
    'kind, name, reason',
    [
        ('flipped', 'a.png', 'is damaged (broken PNG file'),
        ('cut', 'cut.png', 'is damaged (Truncated File Read); copy or download it again'),
        ('cut', 'cut.jpg', 'is damaged (image file is truncated'),
        ('cut', 'cut.tif', 'is damaged (image file is truncated'),
        ('cut', 'cut.bmp', 'is damaged (image file is truncated'),
        ('text', 'a.png', 'is no PNG, JPEG, TIFF or BMP file, whatever its name says'),
        ('empty', 'a.png', 'is no PNG, JPEG, TIFF or BMP file'),
        ('frames', 'a.tif', 'holds 2 images where one is expected; split it'),
        ('nan', 'a.tif', 'holds NaN or infinite'),
        ('constant', 'a.png', 'is constant (every pixel is 0); remove it'),
        ('absent', 'a.png', 'cannot be read (No such file or directory)'),
    ],
)
def test_a_bad_file_says_why(kind, name, reason, tmp_path):
    if kind != 'absent':
        damage(kind, tmp_path / name)
    with pytest.raises(ScanError) as error:
        read_grey(tmp_path / name, (32, 32))
    assert str(error.value).startswith(reason)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    Image.fromarray(pixels_of(0)).save(tmp_path / 'a.png')
    for limit in (1500, 900):  # Pillow warns, then refuses at twice the limit
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        with pytest.raises(ScanError, match=f'has more than {limit} pixels'):
            read_grey(tmp_path / 'a.png', (32, 32))


def test_images_are_found_at_any_depth_under_unique_names(frames):
    source, rows = frames
    (source / '.hidden.png').write_bytes(b'')
    (source / 'notes.txt').write_text('no image')
    Image.fromarray(pixels_of(20)).save(source / 'p0' / 'f0.bmp')
    names = {image.scan_id: image.shown for image in find_images(source)}
    assert len(names) == len(rows) + 1
    assert names['p0/f1'] == 'p0/f1.jpg'
    assert names['p0/f0.png'] == 'p0/f0.png' and names['p0/f0.bmp'] == 'p0/f0.bmp'
