"""What lies flat or far away: the horizon, grass, pavements, the road and its markings."""

from __future__ import annotations

from collections.abc import Callable

from .camera import FAR, NEAR
from .dice import Dice
from .materials import Material
from .sketch import Point, Sketch
from .street import Street

# The horizon is painted this far to both sides, in picture sizes.
_WIDE = 2.6
_HORIZONS = (("skyline",), ("hills",), ("skyline", "trees"), ("hills", "trees"), ("hills", "skyline"))


def draw_horizon(sketch: Sketch, street: Street, dice: Dice, instance: Callable[[], int]) -> None:
    """Paint hills, a skyline or far trees, and grass below them.

    :param instance: gives a new object its number.
    """
    horizon = street.camera.vanishing[1]
    kinds = dice.pick(_HORIZONS)
    if "hills" in kinds:
        ridge = [(x / 4, horizon - dice.between(0.015, 0.085)) for x in range(-11, 12)]
        sketch.polygon([(-2.75, 1.0), *_smooth(ridge), (2.75, 1.0)], Material.HILL, 260.0)
    if "skyline" in kinds:
        x = -_WIDE
        while x < _WIDE:
            width, height = dice.between(0.035, 0.1), dice.between(0.03, 0.17)
            top, number = horizon - height, instance()
            tower = [(x, horizon + 0.02), (x, top), (x + width, top), (x + width, horizon + 0.02)]
            sketch.polygon(tower, Material.SKYLINE, 150.0, shade=dice.between(0.9, 1.08), instance=number)
            if dice.chance(0.25):
                step = [(x + 0.3 * width, top), (x + 0.3 * width, top - 0.03)]
                step += [(x + 0.7 * width, top - 0.03), (x + 0.7 * width, top)]
                sketch.polygon(step, Material.SKYLINE, 150.0, instance=number)
            x += width + dice.pick((0.0, 0.0, 0.03, 0.1))
    if "trees" in kinds:
        x = -_WIDE
        while x < _WIDE:
            r = dice.between(0.02, 0.045)
            box = [(x - r, horizon - r), (x + r, horizon + r)]
            sketch.polygon(box, Material.TREELINE, 120.0, shade=dice.between(0.92, 1.06), oval=True)
            x += 1.1 * r
    sketch.polygon([(-30, horizon + 0.004), (30, horizon + 0.004), (30, 30), (-30, 30)], Material.GRASS)


def draw_ground(sketch: Sketch, street: Street, dice: Dice) -> None:
    """Paint pavements, the road, a street that crosses it, kerbs and markings."""
    strip, crossing, half = street.camera.strip, street.crossing, street.half
    for side in street.sides:
        inner, outer = side.sign * side.verge, side.sign * side.pavement
        sketch.polygon(strip(inner, outer), Material.PAVEMENT)
        z = NEAR + 2.0
        while z < 22:
            sketch.polygon(strip(inner, outer, z, z + 0.02 + 0.012 * z), Material.PAVEMENT, shade=0.9)
            z += 2.0
    sketch.polygon(strip(-half, half), Material.ROAD)
    pieces = [(NEAR, FAR)]
    if crossing:
        sketch.polygon(strip(-60, 60, crossing - 1.6, crossing + 7.6), Material.PAVEMENT)
        sketch.polygon(strip(-half, half, crossing - 2, crossing + 8), Material.ROAD)
        sketch.polygon(strip(-60, 60, crossing, crossing + 6), Material.ROAD)
        pieces = [(NEAR, crossing), (crossing + 6, FAR)]
    for side in street.sides:
        for near, far in pieces:
            kerb = strip(side.sign * (side.kerb - 0.04), side.sign * (side.kerb + 0.26), near, far)
            sketch.polygon(kerb, Material.KERB)
    _draw_markings(sketch, street, dice)


def _draw_markings(sketch: Sketch, street: Street, dice: Dice) -> None:
    half, crossing = street.half, street.crossing

    def line(x: float, near: float, far: float, wide: float) -> None:
        if crossing and near < crossing + 6.5 and far > crossing - 0.5:
            return
        sketch.polygon(street.camera.strip(x - wide / 2, x + wide / 2, near, far), Material.MARKING)

    lanes = dice.weighted({"dashed": 5, "solid": 2, "three": 2, "none": 1})
    period, phase = dice.between(4, 7), dice.unit()
    middles = {"none": (), "three": (-half / 3, half / 3)}.get(lanes, (0.0,))
    for x in middles:
        z = NEAR + phase * period
        while z < 80:
            line(x, z, z + (period if lanes == "solid" else 0.5 * period), 0.18)
            z += period
    if dice.chance(0.4):
        for x in (0.45 - half, half - 0.45):
            for near, far in ((NEAR, 12), (12, 40), (40, FAR)):
                line(x, near, far, 0.14)
    if dice.chance(0.35):
        # a zebra crossing
        z = crossing - 4.5 if crossing else dice.between(6, 14)
        n = round(half * 2 / 1.1)
        for i in range(n):
            line(-half + (i + 0.5) * 2 * half / n, z, z + 3.0, 0.55)


def _smooth(points: list[Point]) -> list[Point]:
    """Cut the corners of a line twice (Chaikin)."""
    for _ in range(2):
        cut = []
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            cut += [(0.75 * x0 + 0.25 * x1, 0.75 * y0 + 0.25 * y1), (0.25 * x0 + 0.75 * x1, 0.25 * y0 + 0.75 * y1)]
        points = cut
    return points
