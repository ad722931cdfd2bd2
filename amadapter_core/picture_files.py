"""Opening picture files that may be damaged, or no pictures at all."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

# What Pillow raises on files that break off or lie about themselves differs from format to format.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def open_picture(path: str | Path | BinaryIO) -> Image.Image:
    """Read a picture file whole, or one that is in memory.

    :raises FileNotFoundError: no such file.
    :raises ValueError: no picture, or a damaged one; the message names the file.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
    except FileNotFoundError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no picture that can be read; save it as PNG, or take it out") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(f"{path} is damaged or not complete ({error}); copy it again, or take it out") from error
    return picture


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a picture file as [H, W, 3] uint8, as its pixels lie: label maps are drawn on these.

    :raises ValueError: see `open_picture`.
    """
    return np.array(open_picture(path).convert("RGB"))
