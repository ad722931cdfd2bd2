"""The view along a street, metres to picture coordinates."""

from __future__ import annotations

from dataclasses import dataclass

from .sketch import Point

NEAR = 0.5
FAR = 150.0


@dataclass(frozen=True)
class Camera:
    """A camera that looks along a street.

    :param x: metres right of the middle of the road.
    :param height: metres above it.
    :param focal: picture sizes per unit of width over depth.
    :param vanishing: where a straight street vanishes; its y is the horizon.
    :param bend: how fast the street turns; positive to the right.
    """

    x: float
    height: float
    focal: float
    vanishing: Point
    bend: float

    def point(self, x: float, y: float, z: float) -> Point:
        """Project a point: metres right of the middle of the road, up, and ahead."""
        return (
            self.vanishing[0] + self.focal * ((x - self.x) / z + self.bend * z),
            self.vanishing[1] + self.focal * (self.height - y) / z,
        )

    def strip(self, left: float, right: float, near: float = NEAR, far: float = FAR) -> list[Point]:
        """Outline the ground between two lines along the street."""
        steps = 14 if near < 2 and far > 60 else 5
        zs = [near * (far / near) ** (i / steps) for i in range(steps + 1)]
        return [self.point(left, 0, z) for z in zs] + [self.point(right, 0, z) for z in reversed(zs)]

    def enters(self, x: float, margin: float = 0.03) -> float:
        """How far ahead a line along the street comes into the central square, at least NEAR."""
        aside = x - self.x
        edge = (0.5 - margin) * (1 if aside > 0 else -1) - self.vanishing[0]
        return max(NEAR, self.focal * aside / edge)
