"""Contact sheets: rows of pictures of one kind, columns of one sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..pictures import BACKGROUND, INK

GAP = 4
CAPTION = 14


def sheet(rows: Mapping[str, Tensor], scale: int = 1) -> Image.Image:
    """Draw rows of pictures under each other, each with its name above.

    :param rows: [B, 3, H, W] in -1..1 each, all of one size.
    :param scale: whole factor by which small pictures are enlarged.
    """
    pictures = {name: _images(tensor, scale) for name, tensor in rows.items()}
    count = max(len(images) for images in pictures.values())
    width, height = next(iter(pictures.values()))[0].size
    line = height + CAPTION + GAP
    canvas = Image.new("RGB", (count * (width + GAP) + GAP, len(pictures) * line + GAP), BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=CAPTION - 3)
    for row, (name, images) in enumerate(pictures.items()):
        draw.text((GAP, row * line + CAPTION), name, fill=INK, font=font, anchor="ls")
        for column, image in enumerate(images):
            canvas.paste(image, (GAP + column * (width + GAP), row * line + CAPTION + GAP))
    return canvas


def _images(tensor: Tensor, scale: int) -> list[Image.Image]:
    array = ((tensor.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    images = [Image.fromarray(np.ascontiguousarray(item)) for item in array]
    return [image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST) for image in images]
