"""A canvas in perspective that draws a scene as a picture or as a label map."""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .looks import Colour, mix
from .things import Point, Scene

SIZE = 512
# Pictures are drawn larger and averaged, for smooth edges; label maps must not mix colours.
OVERSAMPLING = 3
CAMERA_HEIGHT = 2.2
FOCAL = 0.85
FAR = 90.0
NEAR = 2.4


class Drawing:
    """One canvas in all meanings: `shape` draws a thing, `detail` what only the picture shows.

    :param classes: the colour of each class, for a label map; None draws the picture.
    :param windows: their colour in a map that tells them apart; None makes them a detail.
    """

    def __init__(self, scene: Scene, classes: dict[str, Colour] | None, windows: Colour | None = None) -> None:
        self.scene, self.classes, self.look, self.windows = scene, classes, scene.look, windows
        self.scale = OVERSAMPLING if classes is None else 1
        self.image = Image.new("RGB", (SIZE * self.scale,) * 2)
        self.pen = ImageDraw.Draw(self.image)
        self.random = random.Random(scene.seed)

    def project(self, x: float, y: float, z: float) -> Point:
        side = SIZE * self.scale
        vx, vy = self.scene.vanishing
        return (vx + FOCAL * x / z) * side, (vy - FOCAL * (y - CAMERA_HEIGHT) / z) * side

    def shape(self, name: str, colour: Colour, points: Sequence[Point]) -> None:
        self.pen.polygon(points, fill=self.fill(name, colour))

    def fill(self, name: str, colour: Colour) -> Colour:
        return colour if self.classes is None else self.classes[name]

    def detail(self, colour: Colour, points: Sequence[Point]) -> None:
        if self.classes is None:
            self.pen.polygon(points, fill=colour)

    def window(self, colour: Colour, points: Sequence[Point]) -> None:
        colour = colour if self.classes is None else self.windows
        if colour is not None:
            self.pen.polygon(points, fill=colour)

    def disc(self, name: str | None, colour: Colour, centre: Point, radius: float) -> None:
        """A disc of a class, or of none: then only the picture shows it."""
        if self.classes is not None and name is None:
            return
        x, y = centre
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=self.fill(name, colour))

    def hazy(self, colour: Colour, z: float, most: float = 0.75) -> Colour:
        return mix(colour, self.look.haze, most * min(1.0, z / FAR) ** 0.8)

    def finished(self) -> Image.Image:
        if self.classes is not None:
            return self.image
        return self.image.resize((SIZE, SIZE), Image.Resampling.BOX)
