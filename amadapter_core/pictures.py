"""Pictures for people: exemplar, target and result side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .label_maps import LabelMap

BACKGROUND = (255, 255, 255)
INK = (45, 45, 45)
FRAME = (200, 200, 200)


def triplet(
    exemplar: Tensor,
    target: LabelMap,
    result: Tensor,
    *,
    exemplar_labels: LabelMap | None = None,
    captions: bool = True,
    height: int = 512,
) -> Tensor:
    """Draw a row of panels for every result: exemplar, its labels if given, target labels, result.

    :param exemplar: [1 or B, He, We, 3] float 0..1.
    :param target: label map of batch 1 or B, drawn in its palette's colours.
    :param result: [B, H, W, 3] float 0..1.
    :param exemplar_labels: label map of batch 1 or B.
    :param captions: name the panels above them.
    :param height: of the panels, in pixels; their widths follow. Label maps are resized without mixing colours.
    :return: [B, height and margins, W', 3] float32 0..1.
    :raises ValueError: pictures of another form, or batches that do not fit the results'.
    """
    if height < 1:
        raise ValueError(f"triplet: height must be 1 or more, got {height}")
    panels = {"Exemplar": _photographs(exemplar, height, "exemplar")}
    if exemplar_labels is not None:
        panels["Exemplar labels"] = _drawings(exemplar_labels, height)
    panels["Target labels"] = _drawings(target, height)
    panels["Result"] = _photographs(result, height, "result")
    batch = len(panels["Result"])
    for caption, pictures in panels.items():
        if len(pictures) not in (1, batch):
            raise ValueError(
                f"triplet: {caption.lower()} of batch {len(pictures)} cannot stand beside {batch} results; "
                f"give 1 or {batch}"
            )
    rows = []
    for item in range(batch):
        chosen = {caption: pictures[item if len(pictures) > 1 else 0] for caption, pictures in panels.items()}
        rows.append(torch.from_numpy(np.array(_row(chosen, height, captions))))
    return torch.stack(rows).float() / 255


def _row(panels: Mapping[str, Image.Image], height: int, captions: bool) -> Image.Image:
    margin = max(4, height // 32)
    widths = [panel.width for panel in panels.values()]
    font = _font(panels, height) if captions else None
    # Captions sit in a band of their own, a little nearer to the panel than to the edge.
    band = round(1.2 * font.size) if captions else 0
    top = margin + band
    size = (sum(widths) + margin * (len(widths) + 1), top + height + margin)
    row = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(row)
    left = margin
    for caption, panel in panels.items():
        row.paste(panel, (left, top))
        # Label maps and skies may be white too.
        draw.rectangle((left - 1, top - 1, left + panel.width, top + height), outline=FRAME)
        if captions:
            baseline = top - round(0.4 * font.size)
            draw.text((left + panel.width / 2, baseline), caption, fill=INK, font=font, anchor="ms")
        left += panel.width + margin
    return row


def _font(panels: Mapping[str, Image.Image], height: int) -> ImageFont.FreeTypeFont:
    """The same size for all captions: one that every panel is wide enough for, if it stays legible."""
    size = max(12, height // 20)
    fits = min(panel.width / ImageFont.load_default(size=size).getlength(caption) for caption, panel in panels.items())
    return ImageFont.load_default(size=max(8, int(size * min(1, fits))))


def _photographs(images: Tensor, height: int, name: str) -> list[Image.Image]:
    if images.ndim != 4 or images.shape[3] not in (3, 4) or 0 in images.shape or not images.is_floating_point():
        raise ValueError(
            f"triplet: {name} must be float [B, H, W, 3] and not empty, got {list(images.shape)} of {images.dtype}"
        )
    size = (_width(images.shape[1:3], height), height)
    return [_picture(image).resize(size, Image.Resampling.LANCZOS) for image in images]


def _drawings(labels: LabelMap, height: int) -> list[Image.Image]:
    return [_picture(image) for image in labels.resize(height, _width(labels.size, height)).colours()]


def _picture(image: Tensor) -> Image.Image:
    """[H, W, 3 or 4] float 0..1; a fourth channel is left out."""
    values = (image[..., :3].float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.cpu().numpy())


def _width(size: Sequence[int], height: int) -> int:
    return max(1, round(size[1] * height / size[0]))
