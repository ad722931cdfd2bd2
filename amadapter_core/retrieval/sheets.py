"""Contact sheets: a target's label map, and the exemplars that were found for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..label_maps import LabelMap
from ..pictures import BACKGROUND, INK

GAP, CAPTION = 6, 13


def contact_sheet(
    target: LabelMap, exemplars: Sequence[tuple[str, float, np.ndarray, LabelMap]], height: int = 160
) -> Image.Image:
    """
    Draw the target's colours, and beside them each exemplar above its own colours, with score and name.

    :param target: label map of batch 1.
    :param exemplars: name, score, picture [H, W, 3] uint8 and label map of batch 1 of each.
    :param height: of a picture, in pixels.
    """
    columns = [("target", "", None, _colours(target, height))]
    for name, score, picture, labels in exemplars:
        columns.append((f"{score:.2f} ", name, _fitted(Image.fromarray(picture), height), _colours(labels, height)))
    widths = [max(drawn.width, 0 if picture is None else picture.width) for _, _, picture, drawn in columns]
    size = (sum(widths) + GAP * (len(columns) + 1), 2 * height + 3 * GAP + CAPTION)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=CAPTION - 2)
    left = GAP
    for width, (score, name, picture, drawn) in zip(widths, columns, strict=True):
        if picture is not None:
            sheet.paste(picture, (left, GAP))
        sheet.paste(drawn, (left, height + 2 * GAP))
        caption = score + _end(name, width - font.getlength(score), font)
        draw.text((left, size[1] - GAP), caption, fill=INK, font=font, anchor="ls")
        left += width + GAP
    return sheet


def _colours(labels: LabelMap, height: int) -> Image.Image:
    (h, w) = labels.size
    drawn = labels.resize(height, max(1, round(w * height / h))).colours()[0]
    return Image.fromarray((drawn * 255).round().byte().cpu().numpy())


def _fitted(picture: Image.Image, height: int) -> Image.Image:
    return picture.resize((max(1, round(picture.width * height / picture.height)), height), Image.Resampling.LANCZOS)


def _end(name: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """A name, cut at its beginning where it is too long: the end of a file's place tells most."""
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(f"...{name}") > width:
        name = name[1:]
    return f"...{name}"
