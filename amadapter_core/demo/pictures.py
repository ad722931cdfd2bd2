"""Contact sheets of held-out triples: exemplar, target, ground truth, and what each way of looking makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..matching import Mode
from .measuring import Bench
from .rows import CATEGORICAL, IMPLICIT, NONE, ROWS, SPATIAL
from .seeds import HELD_OUT

SCALE = 2
GAP, TITLE = 6, 26
INK, PAPER = (30, 30, 30), (250, 250, 250)

SHOWN = {
    NONE: "no exemplar",
    IMPLICIT: "implicit",
    CATEGORICAL: "categorical",
    SPATIAL: "learned",
}
"""Rows of a sheet, and their titles."""


def grid(bench: Bench, numbers: Sequence[int]) -> Image.Image:
    """A line per triple.

    :param numbers: of held-out triples.
    """
    rows = [
        row
        for row in ROWS
        if row.name in SHOWN and (row.mode is not Mode.LEARNED or row.variant.value in bench.matchers)
    ]
    batch = bench.draw(HELD_OUT, numbers)
    sampled = bench.sampler.sample(batch, rows)
    columns = {
        "exemplar": batch.exemplar,
        "target map": batch.target_labels.colours().permute(0, 3, 1, 2),
        "ground truth": batch.truth,
    } | {SHOWN[row.name]: sampled[row.name].images for row in rows}
    return sheet(columns, batch.captions)


def sheet(columns: dict[str, Tensor], captions: Sequence[str] = ()) -> Image.Image:
    """Pictures in columns under their titles, twice as large, each line under its caption.

    :param columns: [B, 3, H, W] in 0..1 by title.
    """
    count, _, height, width = next(iter(columns.values())).shape
    height, width = SCALE * height, SCALE * width
    line = height + GAP + (TITLE if any(captions) else 0)
    size = (GAP + len(columns) * (width + GAP), TITLE + GAP + count * line)
    page, font = Image.new("RGB", size, PAPER), ImageFont.load_default(15)
    pen = ImageDraw.Draw(page)
    for i, (title, pictures) in enumerate(columns.items()):
        left = GAP + i * (width + GAP)
        pen.text((left + width // 2, TITLE // 2 + GAP // 2), title, INK, font, anchor="mm")
        for j, picture in enumerate(pictures):
            page.paste(_picture(picture, (width, height)), (left, TITLE + GAP + j * line))
    for j, caption in enumerate(captions if any(captions) else ()):
        pen.text((GAP + 2, TITLE + GAP + j * line + height + TITLE // 2), caption, INK, font, anchor="lm")
    return page


def _picture(picture: Tensor, size: tuple[int, int]) -> Image.Image:
    pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
