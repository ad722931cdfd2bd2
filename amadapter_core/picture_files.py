"""Opening picture files that may be damaged, far too large, or no pictures at all."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from .limits import PIXELS, TooLarge, check_limit
from .whole_files import write_whole

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "TGA")
"""Pillow knows more, some of which it hands to other programs."""
# Colours at full resolution: thin things are a pixel or two wide.
_JPEG = {"quality": 95, "subsampling": 0}


def open_picture(path: str | Path | BinaryIO) -> Image.Image:
    """Read a picture file whole, or one that is in memory; of several pictures in a file the first.

    :raises FileNotFoundError: no such file.
    :raises ValueError: no picture, a damaged one, or one of more than PIXELS; the message names the file.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            # Before a decoder makes room: a few bytes can promise gigabytes.
            check_limit(str(path), picture.width * picture.height, PIXELS, "pixels", "resize it")
            picture.load()
    except (FileNotFoundError, TooLarge, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no picture that can be read; save it as PNG, or take it out") from error
    except Image.DecompressionBombError as error:
        raise TooLarge(f"{path} is too large ({error}); resize it") from error
    # What Pillow raises on files that break off or lie about themselves differs from format to format.
    except Exception as error:
        raise ValueError(f"{path} is damaged or not complete ({error}); copy it again, or take it out") from error
    return picture


def write_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a picture in the format of its name's ending, whole or not at all; missing folders are made.

    :raises ValueError: the name has no picture's ending.
    """
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind is None:
        raise ValueError(f"write_picture: {path}: expected the ending of a picture, .png for instance")
    content = BytesIO()
    picture.save(content, kind, **(_JPEG if kind == "JPEG" else {}))
    write_whole(path, content.getvalue())


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a picture file as [H, W, 3] uint8, as its pixels lie: label maps are drawn on these.

    :raises ValueError: see `open_picture`.
    """
    return np.array(open_picture(path).convert("RGB"))
