"""A drawing without colours or pixels: shapes in the order they are painted, each knowing what it is part of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from .materials import Material

Point = tuple[float, float]

# The depth of shapes that lie on the ground: it changes from row to row.
ON_GROUND = 0.0


@dataclass
class Sketch:
    """Shapes in a picture whose central square has x from -0.5 to 0.5 and y from 0 (top) to 1.

    Shape 0 is the sky behind everything. Every list has one entry per shape.
    """

    outlines: list[list[Point]] = field(default_factory=lambda: [[]])
    oval: list[bool] = field(default_factory=lambda: [False])
    materials: list[int] = field(default_factory=lambda: [int(Material.SKY)])
    instances: list[int] = field(default_factory=lambda: [0])
    depths: list[float] = field(default_factory=lambda: [1e6])
    # brightness relative to the material, 1 as it is
    shades: list[float] = field(default_factory=lambda: [1.0])
    # -1, 0, 1: looks to the left, to the viewer or up, to the right
    facings: list[int] = field(default_factory=lambda: [0])
    # 0..1: which of many alike shapes (windows) the appearance may treat differently
    chances: list[float] = field(default_factory=lambda: [1.0])

    def polygon(
        self,
        points: Sequence[Point],
        material: Material,
        depth: float = ON_GROUND,
        *,
        instance: int = 0,
        shade: float = 1.0,
        facing: int = 0,
        chance: float = 1.0,
        oval: bool = False,
    ) -> None:
        """Paint a polygon over what is there.

        :param depth: metres from the viewer, or ON_GROUND.
        :param oval: the points are two corners of a box; paint the ellipse in it.
        """
        self.outlines.append(list(points))
        self.oval.append(oval)
        self.materials.append(int(material))
        self.instances.append(instance)
        self.depths.append(depth)
        self.shades.append(shade)
        self.facings.append(facing)
        self.chances.append(chance)

    def raster(self, size: tuple[int, int]) -> np.ndarray:
        """Paint the number of each shape.

        :param size: (H, W) in pixels.
        :return: [H, W] int32, the number of the shape that is seen at each pixel.
        """
        h, w = size
        canvas = Image.new("I", (w, h))
        draw = ImageDraw.Draw(canvas)
        scale, left, top = frame(size)
        for number, outline in enumerate(self.outlines):
            # Whole pixels: the last bit of a product may differ between processors.
            points = [(round(left + scale * x), round(top + scale * y)) for x, y in outline]
            if self.oval[number]:
                draw.ellipse(points, fill=number)
            elif points:
                draw.polygon(points, fill=number)
        return np.array(canvas, np.int32)


def frame(size: tuple[int, int]) -> tuple[int, float, float]:
    """Return where the central square lies in a picture of size (H, W): its side, its middle column, its top row."""
    h, w = size
    side = min(h, w)
    return side, w / 2, (h - side) / 2
