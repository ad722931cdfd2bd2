"""What is painted in the workflow that has a painter."""

from __future__ import annotations

from PIL import Image, ImageDraw

from .classes import class_ids
from .drawing import SIZE

# Strokes of a round brush, as a user would paint a street: class, diameter, corners of the line.
STROKES = (
    ("building", 130, ((30, 120), (40, 250), (110, 230), (60, 150))),
    ("building", 100, ((480, 90), (470, 260), (400, 250), (440, 160))),
    ("sidewalk", 80, ((40, 490), (212, 334))),
    ("sidewalk", 80, ((472, 490), (300, 334))),
    ("road", 150, ((160, 490), (256, 390), (352, 490), (220, 490))),
    ("road", 70, ((256, 420), (256, 328))),
    ("pole", 8, ((138, 360), (138, 190))),
    ("vegetation", 26, ((395, 350), (395, 250))),
    ("vegetation", 90, ((370, 215), (420, 190), (400, 240))),
    ("car", 46, ((168, 420), (226, 420))),
    ("car", 34, ((180, 398), (214, 398))),
    ("car", 26, ((290, 345), (318, 345))),
    ("car", 18, ((296, 332), (312, 332))),
    ("person", 16, ((440, 400), (440, 430))),
    ("person", 14, ((440, 386), (440, 386))),
)


def draw_painting(palette: str) -> Image.Image:
    """Paint a street in class ids, as the Semantic Painter keeps it: grey, 16 bits."""
    numbers = class_ids(palette)
    picture = Image.new("L", (SIZE, SIZE), numbers["sky"])
    brush = ImageDraw.Draw(picture)
    brush.rectangle((0, 290, SIZE, SIZE), fill=numbers["terrain"])
    for name, size, corners in STROKES:
        brush.line(corners, fill=numbers[name], width=size)
        for x, y in corners:
            brush.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=numbers[name])
    return picture.convert("I;16")
