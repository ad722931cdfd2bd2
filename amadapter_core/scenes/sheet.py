"""A contact sheet: every appearance in every layout, and the layouts' colour maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from ..label_maps import LabelMap
from ..palettes import Palette
from . import PALETTE, scene

GAP = 2


def contact_sheet(
    layouts: Sequence[int], appearances: Sequence[int], size: tuple[int, int], maps: int = 2
) -> Image.Image:
    """Draw scenes in a grid: a row for each appearance, a column for each layout, then columns of colour maps.

    :param size: (H, W) of each scene.
    :param maps: how many columns of colour maps; read row by row they show the layouts in their order, over and over.
    :raises ValueError: nothing to show.
    """
    if not layouts or not appearances:
        raise ValueError(
            f"contact_sheet: expected at least one layout and one appearance, got {len(layouts)} and {len(appearances)}"
        )
    (h, w), palette = size, Palette.load(PALETTE)
    columns = len(layouts) + maps
    sheet = Image.new("RGB", (columns * (w + GAP) - GAP, len(appearances) * (h + GAP) - GAP), "white")
    for row, appearance in enumerate(appearances):
        scenes = [scene(layout, appearance, size) for layout in layouts]
        panels = [Image.fromarray(drawn.image) for drawn in scenes]
        for place in range(row * maps, (row + 1) * maps):
            labels = LabelMap.from_ids(torch.from_numpy(scenes[place % len(scenes)].ids), palette)
            panels.append(Image.fromarray((labels.colours()[0] * 255).round().byte().numpy()))
        for column, panel in enumerate(panels):
            sheet.paste(panel, (column * (w + GAP), row * (h + GAP)))
    return sheet
