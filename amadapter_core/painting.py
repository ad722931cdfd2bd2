"""
Paintings: what a user painted on a label map, as the text that a workflow keeps.

The text is a PNG as a data URL, one grey channel of 16 bits. A pixel's value is the id of a class, `NOT_PAINTED` where
what lies underneath shows, or `UNLABELLED`, which stands for no class in every table: ids stay when the table changes.
The frontend writes and reads the same form (web/js/painter/png.js).
"""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .label_maps import LabelMap
from .label_regions import merge
from .label_resizing import resize_ids
from .limits import PAINTING_CHARACTERS as MAX_CHARACTERS
from .limits import PAINTING_SIDE as MAX_SIDE
from .palettes import Palette
from .picture_files import open_picture

NOT_PAINTED = 0xFFFF
UNLABELLED = 0xFFFE
PREFIX = "data:image/png;base64,"

# How Pillow calls it, in newer and older versions.
_GREY_16 = ("I;16", "I")
_REMEDY = "press Clear in the node and paint it anew, or load the workflow again"


def read_painting(text: str) -> Tensor | None:
    """Read a painting.

    :param text: from anywhere; it is checked before anything large is made of it.
    :return: [H, W] int64 codes, None for the empty text: nothing is painted.
    :raises ValueError: no painting, a damaged one, or one that is too large.
    """
    text = text.strip()
    if not text:
        return None
    if not text.startswith(PREFIX):
        raise ValueError(f"the painting starts with {text[:30]!r}, expected {PREFIX!r}: {_REMEDY}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the painting has {len(text)} characters, expected at most {MAX_CHARACTERS}: {_REMEDY}")
    try:
        data = base64.b64decode(text[len(PREFIX) :], validate=True)
    except ValueError as error:
        raise ValueError(f"the painting is no base64 text ({error}): {_REMEDY}") from error
    _check_header(data)
    try:
        picture = open_picture(BytesIO(data))
    except ValueError as error:
        raise ValueError(f"the painting's PNG is damaged or not complete: {_REMEDY}") from error
    if picture.mode not in _GREY_16:
        raise ValueError(f"the painting is a {picture.mode} picture, expected 16-bit grey: {_REMEDY}")
    return torch.from_numpy(np.array(picture).astype(np.int64))


def write_painting(codes: Tensor) -> str:
    """Write a painting.

    :param codes: [H, W] integers 0..65535.
    :raises ValueError: codes or a size that a painting cannot hold.
    """
    low, high = (int(value) for value in codes.aminmax())
    if low < 0 or high > NOT_PAINTED:
        raise ValueError(f"a painting holds codes 0..{NOT_PAINTED}, got {low}..{high}")
    _check_size(codes.shape[1], codes.shape[0])
    file = BytesIO()
    Image.fromarray(codes.cpu().numpy().astype(np.uint16)).save(file, "PNG", optimize=True)
    return PREFIX + base64.b64encode(file.getvalue()).decode("ascii")


def codes_of(labels: LabelMap) -> Tensor:
    """The codes of a label map's first picture, as the painter shows it; [H, W] int64.

    :raises ValueError: ids or a size that a painting cannot hold.
    """
    _check_size(labels.size[1], labels.size[0])
    ids = labels.ids[0]
    ignored = torch.zeros_like(ids, dtype=torch.bool) if labels.ignore is None else ids == labels.ignore
    foreign = ((ids < 0) | (ids >= UNLABELLED)) & ~ignored
    if bool(foreign.any()):
        raise ValueError(
            f"the label map has ids {ids[foreign].unique().tolist()[:5]}, and a painting holds 0..{UNLABELLED - 1}; "
            "bring it to another table with Remap Classes"
        )
    return ids.masked_fill(ignored, UNLABELLED)


def painted(codes: Tensor | None, palette: Palette, size: tuple[int, int]) -> LabelMap:
    """Make a label map of a painting alone.

    :param codes: [H, W] codes, brought to the label map's size by the nearest pixel; None paints nothing.
    :param size: (H, W) of the label map.
    :raises ValueError: classes that the table does not have, or pixels of no class where it knows none.
    """
    return LabelMap(_ids(codes, palette, size, palette.ignore, empty=UNLABELLED), palette)


def painted_over(start: LabelMap, codes: Tensor | None) -> LabelMap:
    """Lay a painting over a label map; every picture of a batch is painted alike, and what is painted shows no part.

    :param codes: [H, W] codes, brought to the label map's size by the nearest pixel; None paints nothing.
    :raises ValueError: as `painted`.
    """
    if codes is None:
        return start
    ids = _ids(codes, start.palette, start.size, start.ignore, empty=NOT_PAINTED)
    return merge(start, LabelMap(ids, start.palette, ignore=NOT_PAINTED))


def _ids(codes: Tensor | None, palette: Palette, size: tuple[int, int], ignore: int | None, empty: int) -> Tensor:
    """[1, H, W] ids of codes; `empty` is what pixels become that are not painted."""
    codes = torch.full((1, *size), NOT_PAINTED) if codes is None else resize_ids(codes[None], size)
    codes = codes.masked_fill(codes == NOT_PAINTED, empty)
    unlabelled = codes == UNLABELLED
    if ignore is None and bool(unlabelled.any()):
        raise ValueError(
            f"{int(unlabelled.sum())} of {codes.numel()} pixels are not painted or unlabelled, and palette "
            f"{palette.name!r} has no id for pixels of no class; fill them with a class"
        )
    foreign = ~torch.isin(codes, torch.tensor([*palette.ids, NOT_PAINTED])) & ~unlabelled
    if bool(foreign.any()):
        ids, counts = codes[foreign].unique(return_counts=True)
        told = ", ".join(f"{i} ({count} pixels)" for i, count in zip(ids[:5].tolist(), counts.tolist(), strict=False))
        raise ValueError(
            f"{int(counts.sum())} of {codes.numel()} pixels are painted in {len(ids)} classes that palette "
            f"{palette.name!r} does not have: {told}; choose the palette they were painted in, or paint over them"
        )
    return codes if ignore is None else codes.masked_fill(unlabelled, ignore)


def _check_header(data: bytes) -> None:
    """Read type and size before any decoder does: a few bytes can promise gigabytes."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        raise ValueError(f"the painting is no PNG picture: {_REMEDY}")
    _check_size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ValueError(
            f"{width} x {height} pixels (width x height) cannot be painted on, expected 1 to {MAX_SIDE} a side; "
            "resize the label map"
        )
