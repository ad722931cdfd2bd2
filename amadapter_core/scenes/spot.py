"""A place in the street to paint a thing at, in metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .camera import Camera
from .materials import Material
from .sketch import Point, Sketch

# Two pixels of a picture of 128: nothing thinner would be kept.
THIN = 2 / 128


@dataclass(frozen=True)
class Spot:
    """A place to paint a thing at: x, y and z in metres are relative to it.

    :param mirror: -1 paints the thing the other way round.
    """

    sketch: Sketch
    camera: Camera
    x: float
    z: float
    instance: int
    mirror: int = 1

    @property
    def metre(self) -> float:
        """A metre's length in the picture."""
        return self.camera.focal / self.z

    def point(self, x: float, y: float, z: float = 0.0) -> Point:
        """Where a point (in metres, from the spot) lies in the picture."""
        # The thing is small: the street does not bend over its length.
        bent = self.camera.bend * (self.z**2 - (self.z + z) ** 2)
        return self.camera.point(self.x + self.mirror * x + bent, y, self.z + z)

    def fill(self, corners: Sequence[Sequence[float]], material: Material, shade: float = 1.0, facing: int = 0) -> None:
        """Paint a polygon of corners (x, y) or (x, y, z) in metres."""
        points = [self.point(*corner) for corner in corners]
        facing *= self.mirror
        self.sketch.polygon(points, material, self.z, instance=self.instance, shade=shade, facing=facing)

    def box(self, x0: float, x1: float, y0: float, y1: float, material: Material, shade: float = 1.0) -> None:
        """Paint an upright rectangle that faces the camera, in metres."""
        self.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], material, shade)

    def disc(self, x: float, y: float, rx: float, ry: float, material: Material, shade: float = 1.0) -> None:
        """Paint an upright ellipse that faces the camera: centre and radii in metres."""
        cx, cy = self.point(x, y)
        rx, ry = rx * self.metre, ry * self.metre
        corners = [(cx - rx, cy - ry), (cx + rx, cy + ry)]
        self.sketch.polygon(corners, material, self.z, instance=self.instance, shade=shade, oval=True)

    def at_least(self, metres: float, part: float) -> float:
        """Metres that look no smaller than a part of the picture."""
        return max(metres, part / self.metre)
