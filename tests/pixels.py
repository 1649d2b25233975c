"""Image files of noise, whole and damaged."""

import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (50, 40)  # x, y of the images as stored


def pixels_of(seed, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, SIZE[::-1]).astype(dtype)


def tiff(path, pixels, *, white_is_zero=False, order='<', bits=None, packed=False):
    """Writes a grey TIFF [Y, X] of any type, byte order and `bits`; `packed` compresses it."""
    bits = bits or pixels.itemsize * 8
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if bits == 1:
        data = np.packbits(pixels, axis=1).tobytes()
    data = zlib.compress(data) if packed else data
    rows, columns = pixels.shape
    kind = {'u': 1, 'i': 2, 'f': 3}[pixels.dtype.kind]
    tags = {
        256: columns,
        257: rows,
        258: bits,
        259: 8 if packed else 1,
        262: int(not white_is_zero),
    }
    tags |= {273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: rows, 279: len(data), 339: kind}
    entries = b''
    for tag, value in tags.items():
        wide = tag in (273, 279)
        value = struct.pack(f'{order}I', value) if wide else struct.pack(f'{order}HH', value, 0)
        entries += struct.pack(f'{order}HHI', tag, 4 if wide else 3, 1) + value
    head = {'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(f'{order}IH', 8, len(tags))
    path.write_bytes(head + entries + b'\0' * 4 + data)


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
