"""Legends: a swatch, a name and a share for each class."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont


def draw_legend(
    entries: Sequence[tuple[tuple[int, int, int], str, float]],
    font_size: int,
    columns: int,
    font: ImageFont.FreeTypeFont | None = None,
) -> Image.Image:
    """Draw a legend.

    :param entries: colour (0..255), name and share (0..1) of each line, in order; one or more.
    :param font_size: height of the letters in pixels.
    :param columns: how many columns the lines are spread over.
    :param font: for names outside the Latin alphabet, which the default font does not have.
    :return: an RGB picture.
    """
    rows = [(colour, name, _percent(share)) for colour, name, share in entries]

    font = font or ImageFont.load_default(size=font_size)
    gap, swatch = max(2, font_size // 2), font_size + 4
    line = swatch + gap
    name_width = int(max(font.getlength(name) for _, name, _ in rows)) + 1
    share_width = int(max(font.getlength(share) for _, _, share in rows)) + 1
    column = swatch + name_width + share_width + 4 * gap
    lines = -(-len(rows) // columns)
    picture = Image.new("RGB", (column * -(-len(rows) // lines), lines * line + gap), "white")
    draw = ImageDraw.Draw(picture)
    for place, (colour, name, share) in enumerate(rows):
        x, y = column * (place // lines) + gap, line * (place % lines) + gap
        draw.rectangle((x, y, x + swatch, y + swatch - 1), fill=colour, outline=(128, 128, 128))
        middle = y + swatch // 2
        draw.text((x + swatch + gap, middle), name, fill="black", font=font, anchor="lm")
        draw.text((x + column - 2 * gap, middle), share, fill=(80, 80, 80), font=font, anchor="rm")
    return picture


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"
