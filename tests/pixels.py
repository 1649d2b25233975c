"""Image files of noise, whole and damaged."""

import numpy as np
from PIL import Image

SIZE = (50, 40)  # x, y of the images as stored


def pixels_of(seed, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, SIZE[::-1]).astype(dtype)


def damage(kind, path):
    """Writes a file that is damaged in this way."""
    values = pixels_of(0)
    save_as = {'cut.jpg': 'JPEG', 'cut.tif': 'TIFF', 'cut.bmp': 'BMP'}.get(path.name, 'PNG')
    if kind == 'frames':
        more = [Image.fromarray(values)]
        Image.fromarray(values).save(path, 'TIFF', save_all=True, append_images=more)
    elif kind == 'nan':
        Image.fromarray(np.where(values > 250, np.nan, values).astype(np.float32)).save(path)
    else:
        Image.fromarray(values if kind != 'constant' else values * 0).save(path, save_as)
    whole = path.read_bytes()
    if kind == 'flipped':
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        path.write_bytes(changed)
    elif kind == 'cut':
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == 'text':
        path.write_bytes(b'<html>not found</html>')
    elif kind == 'empty':
        path.write_bytes(b'')
