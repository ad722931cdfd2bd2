"""Draw the pack's icon and banner into `art/`: procedural street scenes, as label maps and as pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
ART = ROOT / "art"
# What the registry shows: an icon of at most 400 x 400, a banner of 21:9.
ICON_SIDE = 400
BANNER_SIZE = (1260, 540)
# Drawn larger and averaged, for smooth edges.
OVERSAMPLING = 2

APPEARANCE = 22
ICON_LAYOUT, EXEMPLAR_LAYOUT, TARGET_LAYOUT = 23, 24, 26
# Pixels: how far the seams between the parts lean from top to bottom, and how wide they are.
LEAN, SEAM = 60, 8
STRIP_HEIGHT, MARGIN = 124, 40
STRIP, SMALL_PRINT = (16, 20, 34), (190, 200, 222)


def draw_scene(layout: int, side: int) -> tuple[Image.Image, Image.Image]:
    """Return a scene's label map in the colours of its classes, and its picture; squares of `side` pixels."""
    sys.path.append(str(ROOT))  # scripts are no package; this one asks the library
    from amadapter_core.palettes import Palette
    from amadapter_core.scenes import PALETTE, scene

    drawn = scene(layout, APPEARANCE, (side * OVERSAMPLING, side * OVERSAMPLING))
    palette = Palette.load(PALETTE)
    colours = np.zeros((256, 3), np.uint8)
    colours[list(palette.ids)] = palette.colours
    label_map, picture = Image.fromarray(colours[drawn.ids]), Image.fromarray(drawn.image)
    return label_map.reduce(OVERSAMPLING), picture.reduce(OVERSAMPLING)


def right_of(x: float, size: tuple[int, int]) -> Image.Image:
    """Return a mask of what lies right of a leaning line that crosses the middle row at `x`."""
    width, height = (side * OVERSAMPLING for side in size)
    top, bottom = ((x + lean) * OVERSAMPLING for lean in (LEAN / 2, -LEAN / 2))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([(top, 0), (width, 0), (width, height), (bottom, height)], fill=255)
    return mask.reduce(OVERSAMPLING)


def put_right_of(x: float, part: Image.Image, onto: Image.Image) -> None:
    """Put a picture of the same size right of a leaning white seam."""
    onto.paste("white", mask=right_of(x - SEAM / 2, onto.size))
    onto.paste(part, mask=right_of(x + SEAM / 2, onto.size))


def icon() -> Image.Image:
    """A street that is a label map on its left and a picture on its right."""
    label_map, picture = draw_scene(ICON_LAYOUT, ICON_SIDE)
    put_right_of(ICON_SIDE / 2, picture, label_map)
    return label_map


def banner() -> Image.Image:
    """Exemplar, target label map, and the target in the exemplar's appearance, above the name."""
    width, height = BANNER_SIZE
    exemplar = draw_scene(EXEMPLAR_LAYOUT, height)[1]
    banner, share = Image.new("RGB", BANNER_SIZE), width / 3
    for number, part in enumerate((exemplar, *draw_scene(TARGET_LAYOUT, height))):
        centred = Image.new("RGB", BANNER_SIZE)
        centred.paste(part, (round(share * (number + 0.5) - part.width / 2), 0))
        if number == 0:
            banner.paste(centred)
        else:
            put_right_of(share * number, centred, banner)
    draw, middle = ImageDraw.Draw(banner), height - STRIP_HEIGHT / 2
    draw.rectangle((0, height - STRIP_HEIGHT, width, height), fill=STRIP)
    # Without a file's name this is the font that comes with Pillow, the same on every system.
    name, subtitle = ImageFont.load_default(76), ImageFont.load_default(34)
    draw.text((MARGIN, middle), "AM-Adapter", "white", name, anchor="lm", stroke_width=1)
    draw.text((width - MARGIN, middle), "exemplar-based semantic image synthesis", SMALL_PRINT, subtitle, anchor="rm")
    return banner


def main() -> None:
    ART.mkdir(exist_ok=True)
    icon().save(ART / "icon.png", optimize=True)
    banner().save(ART / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
