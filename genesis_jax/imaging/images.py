"""2D image files (PNG, JPEG, TIFF, BMP) to grey images of one size, through Pillow.

Whatever a file stores, it becomes grey: palettes are looked up, transparent pixels lie on black,
and of colours the luma (ITU-R 601: 0.299 R + 0.587 G + 0.114 B) is kept. Pillow reads the upper 8
bits of 16-bit colours; 16-bit grey values are kept whole.

Grey TIFFs of 1 to 16 bits, of 32 bits, signed ones and floating point are read, with 0 as black or
as white (PhotometricInterpretation 0, WhiteIsZero), in either byte order; what is white in the file
is the highest value here.
"""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from genesis_jax.errors import ScanError, in_full
from genesis_jax.imaging.integrity import check_finite
from genesis_jax.imaging.intensity import in_range
from genesis_jax.imaging.scans import Scan, named_scans, passed_over, walk

SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp')
Window = Literal['depth', 'robust']
_FORMATS = ('PNG', 'JPEG', 'TIFF', 'BMP')
_DARK = 1 / 8  # of the range; 12 bits of 16 are a sixteenth
_DARK_REMARK = (
    'use less than an eighth of their bit depth, so are nearly black (--window=robust takes the '
    'own range of each)'
)
_TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 259, 262, 339  # tags of TIFF
_SIGNED = 2  # as sample format
_OFFSET = 1 << 15  # of 16-bit values, which int16 holds only shifted

# Of TIFFs beyond 8 bits, Pillow opens few kinds whose 0 is white; `_as_meant` inverts them.
for _key, _modes in tuple(TiffImagePlugin.OPEN_INFO.items()):
    _order, _white, _format, _fill, _depth, _extra = _key
    if _white == 1 and (_modes[0] in ('I;16', 'I;16B', 'I', 'F') or _format == (_SIGNED,)):
        _key = (_order, 0, _format, _fill, _depth, _extra)
        TiffImagePlugin.OPEN_INFO.setdefault(_key, _modes)


@dataclass(frozen=True)
class GreyImage:
    """An image as a record holds it.

    Attributes:
      pixels: int16 [X, Y], columns and rows; 16-bit values are stored 32768 lower.
      window: the stored values that normalisation maps to 0 and 1.
      identity: the same for files of the same pixels.
      remark: on what is probably not meant; continues the name of several.
    """

    pixels: np.ndarray
    window: tuple[float, float]
    identity: bytes
    remark: str = ''


def find_images(
    source: Path,
    tell: Callable[[str], None] = lambda line: None,
    known: Collection[Path] = (),
) -> list[Scan]:
    """Every image file below a folder, sorted by id; hidden files and folders are skipped.

    Ids are paths relative to `source` without the suffix, which stays only where two files differ
    in nothing else.

    Args:
      tell: is given lines on files that are no images.
      known: files that are no images but of use, such as a table; no line is on them.
    """
    files = [path for _, paths in walk(source) for path in paths]
    paths = [path for path in files if path.name.lower().endswith(SUFFIXES)]
    expected = {path.resolve() for path in known}
    others = sorted(set(files).difference(paths))
    if line := passed_over(path for path in others if path.resolve() not in expected):
        tell(line)
    scans = named_scans(source, paths, lambda path: path.with_suffix(''))
    return sorted(scans, key=lambda scan: scan.scan_id)


def read_grey(path: Path, size: Sequence[int], window: Window = 'depth') -> GreyImage:
    """Reads an image, turns it upright as its EXIF says, makes it grey and resizes it.

    Args:
      size: pixels along x and y; the aspect ratio is not kept.
      window: 'depth' maps what the file's bits can hold to 0 ... 1 (0 ... 255, 0 ... 65535);
        'robust' the image's own range, from its 0.5th to its 99.5th percentile. 32-bit files always
        get the latter.

    Raises:
      ScanError: with one sentence on what is wrong with the file and what to do.
    """
    stored = _read(path)
    if stored.min() == stored.max():
        raise ScanError(f'is constant (every pixel is {in_full(stored.flat[0])}); remove it')
    identity = blake2b(repr((stored.shape, stored.dtype.str)).encode(), digest_size=16)
    identity.update(np.ascontiguousarray(stored).data)
    pixels = resized(stored.T, size)
    if stored.dtype.kind != 'f':
        pixels = np.rint(pixels)
    if window == 'depth' and stored.dtype in (np.uint8, np.uint16):
        offset = _OFFSET if stored.dtype == np.uint16 else 0
        bounds = (float(-offset), float(np.iinfo(stored.dtype).max - offset))
        dark = stored.max() < _DARK * np.iinfo(stored.dtype).max
        shifted = (pixels - offset).astype(np.int16)
        return GreyImage(shifted, bounds, identity.digest(), _DARK_REMARK if dark else '')
    return GreyImage(*in_range(pixels), identity.digest())


def resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Pixels [X, Y] at another size, float32, linearly interpolated and antialiased."""
    image = Image.fromarray(np.ascontiguousarray(pixels.T, np.float32))
    return np.asarray(image.resize((size[0], size[1]), Image.Resampling.BILINEAR)).T


def _read(path: Path) -> np.ndarray:
    """The grey values as stored [Y, X], more for brighter: 8, 16 or 32 bits or float32."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', module='PIL')  # of metadata, which is not used
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            _verify(path)
            with Image.open(path, formats=_FORMATS) as image:
                frames = getattr(image, 'n_frames', 1)
                if frames > 1 and image.format != 'MPO':  # whose others are previews
                    raise ScanError(
                        f'holds {frames} images where one is expected; split it into one file each'
                    )
                values = _grey(ImageOps.exif_transpose(image))
                if isinstance(image, TiffImagePlugin.TiffImageFile):
                    values = _as_meant(values, image.tag_v2)
                return values
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ScanError(
            f'has more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller or remove it'
        ) from None
    except Image.UnidentifiedImageError:
        if _is_tiff(path):
            raise ScanError(
                'is a TIFF of a kind that cannot be read; export it again, grey with 8 or 16 bits'
            ) from None
        raise ScanError(
            'is no PNG, JPEG, TIFF or BMP file, whatever its name says; export it again'
        ) from None
    except ScanError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise ScanError(f'cannot be read ({error.strerror}); check that it is there') from None
        words = ' '.join(str(error).split()).rstrip('.')
        raise ScanError(f'is damaged ({words}); copy or download it again') from None


def _as_meant(values: np.ndarray, tags: TiffImagePlugin.ImageFileDirectory_v2) -> np.ndarray:
    """Grey values of a TIFF with the sign, and with 0 as black or white, that its tags say."""
    bits = tags.get(_BITS, (1,))
    if len(bits) > 1:  # colours, or transparency
        return values
    swapped = tags.prefix == b'MM' and tags.get(_COMPRESSION, 1) != 1
    if swapped and values.dtype not in (np.uint8, np.uint16):  # Pillow swaps their bytes twice
        raise ScanError(
            'is a compressed big-endian TIFF of signed or 32-bit values, which cannot be read; '
            'export it again, not compressed or little-endian'
        )
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    if signed and values.dtype == np.uint8:
        values = values.view(np.int8).astype(np.int32)
    elif not signed and values.dtype == np.int32:
        values = values.view(np.uint32)
    if tags.get(_PHOTOMETRIC) != 0 or values.dtype == np.uint8:  # which Pillow has inverted
        return values
    if values.dtype.kind == 'f':
        return -values
    highest = -1 if signed else (1 << bits[0]) - 1
    return values.dtype.type(highest) - values


def _is_tiff(path: Path) -> bool:
    with path.open('rb') as file:
        return file.read(4) in _TIFF_STARTS


def _verify(path: Path) -> None:
    """Checks a PNG's checksums, which reading its pixels passes over."""
    with Image.open(path, formats=_FORMATS) as image:
        if image.format == 'PNG':
            image.verify()


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I;16'):
        return np.asarray(image).astype(np.uint16)
    if image.mode == 'I':
        return np.asarray(image)
    if image.mode == 'F':
        values = np.asarray(image)
        check_finite(values)
        return values
    if image.has_transparency_data:
        black = Image.new('RGBA', image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert('RGBA'))
    return np.asarray(image.convert('L'))
