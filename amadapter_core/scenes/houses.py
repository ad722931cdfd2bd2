"""Buildings along the street: a long facade in perspective and the end wall that looks to the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .camera import Camera
from .dice import Dice
from .materials import Material
from .sketch import Point, Sketch

FLOOR = 3.1
# Parts of the picture: narrower bays have no windows (less than 2 pixels of 128), nor, below the other, frames.
_BAY = 0.028
_FRAMED = 0.05
# Nor have those that lie further aside than any picture shows.
_WIDE = 2.6


@dataclass(frozen=True)
class House:
    """A building.

    :param side: -1 on the left of the street, 1 on the right.
    :param front: metres from the middle of the road to the facade.
    :param near: metres ahead where it begins, `far` where it ends.
    :param slot: which of the two looks of an appearance it has.
    :param bay: metres from window to window.
    :param depth: metres from the facade to the back.
    """

    side: int
    front: float
    near: float
    far: float
    floors: int
    slot: int
    bay: float
    gabled: bool
    shop: bool
    depth: float

    @property
    def height(self) -> float:
        """In metres."""
        return self.floors * FLOOR + (0.6 if self.shop else 0.0)


def random_house(dice: Dice, side: int, front: float, near: float, tall: float) -> House:
    """Draw a house.

    :param tall: the number of floors usual in this street.
    """
    floors = max(1, round(tall * dice.between(0.6, 1.4)))
    return House(
        side=side,
        front=front + dice.pick((0.0, 0.0, 0.6, 1.2)),
        near=near,
        far=near + dice.between(8, 17),
        floors=floors,
        slot=dice.below(2),
        bay=dice.between(2.2, 3.4),
        gabled=floors <= 3 and dice.chance(0.7),
        shop=floors >= 2 and dice.chance(0.4),
        depth=dice.between(9, 14),
    )


def draw_house(sketch: Sketch, camera: Camera, house: House, instance: int, dice: Dice) -> None:
    """Paint a house over what is behind it."""
    x0, x1 = house.side * house.front, house.side * (house.front + house.depth)
    # A straight wall between two spots on a street that may bend: points along it are taken on the chord.
    turn0, turn1 = camera.bend * house.near**2, camera.bend * house.far**2
    length = house.far - house.near

    def along(u: float, y: float) -> Point:
        z = house.near + u
        chord = turn0 + (turn1 - turn0) * u / length
        return camera.point(x0 + chord - camera.bend * z * z, y, z)

    def across(u: float, y: float) -> Point:
        return camera.point(x0 + house.side * u, y, house.near)

    roof = Material.ROOF_0.slot(house.slot)
    top = house.height
    middle = (x0 + x1) / 2
    if house.gabled:
        ridge = top + 0.42 * house.depth
        ridge_near, ridge_far = camera.point(middle, ridge, house.near), camera.point(middle, ridge, house.far)
        gable = [across(0, top), across(house.depth, top), ridge_near]
        back = [ridge_near, ridge_far, along(length, top), along(0, top)]
        sketch.polygon(back, roof, house.near, instance=instance, facing=-house.side)
        sketch.polygon(gable, Material.WALL_0.slot(house.slot), house.near, instance=instance, shade=0.97)
    end = _Wall(sketch, house, instance, across, house.depth, 0, lambda u: house.near)
    facade = _Wall(sketch, house, instance, along, length, -house.side, lambda u: house.near + u)
    for wall in (end, facade):
        wall.draw(dice)
    if not house.gabled:
        parapet = [along(0, top), along(length, top), along(length, top + 0.5), along(0, top + 0.5)]
        sketch.polygon(parapet, roof, house.near, instance=instance, facing=-house.side)
        edge = [across(0, top), across(house.depth, top), across(house.depth, top + 0.5), across(0, top + 0.5)]
        sketch.polygon(edge, roof, house.near, instance=instance)


@dataclass(frozen=True)
class _Wall:
    """One wall of a house.

    :param at: (metres along the wall, metres up) to a point of the picture.
    :param facing: -1, 0 or 1, see Sketch.
    :param depth_at: metres along the wall to metres from the viewer.
    """

    sketch: Sketch
    house: House
    instance: int
    at: Callable[[float, float], Point]
    length: float
    facing: int
    depth_at: Callable[[float], float]

    def draw(self, dice: Dice) -> None:
        """Paint the wall, bay by bay from its far end."""
        house = self.house
        bays = max(1, round(self.length / house.bay))
        width = self.length / bays
        # Drawn whether the windows are seen or not, so that a house does not depend on where it stands.
        lots = [[dice.unit() for _ in range(house.floors)] for _ in range(bays)]
        for bay in reversed(range(bays)):
            u0, u1 = bay * width, (bay + 1) * width
            self._fill(u0, u1, 0, house.height, Material.WALL_0)
            x0, x1 = self.at(u0, 0)[0], self.at(u1, 0)[0]
            if abs(x1 - x0) >= _BAY and min(x0, x1) <= _WIDE and max(x0, x1) >= -_WIDE:
                self._bay(u0, width, lots[bay], framed=abs(x1 - x0) > _FRAMED, striped=bay % 2 == 0)

    def _bay(self, start: float, width: float, lots: Sequence[float], framed: bool, striped: bool) -> None:
        """Paint what is in one bay, from the ground up."""
        house, end = self.house, start + width
        left, right = start + 0.22 * width, end - 0.22 * width
        base = house.height - house.floors * FLOOR
        upper = base + FLOOR if house.shop else base
        self._fill(left, right, upper + 0.7, house.height - 0.5, Material.SPANDREL_0)
        for floor, lot in enumerate(lots):
            bottom = base + floor * FLOOR
            if floor:
                self._fill(start, end, bottom - 0.12, bottom + 0.22, Material.COURSE_0)
            if house.shop and not floor:
                margin = 0.08 * width
                self._fill(start + margin, end - margin, 0.5, FLOOR - 0.4, Material.SHOPFRONT_0, chance=lot)
                self._fill(start, end, FLOOR - 0.5, FLOOR + 0.35, Material.AWNING_0, shade=0.86 if striped else 1.0)
                continue
            if framed:
                edge = 0.09 * width
                self._fill(left - edge, right + edge, bottom + 0.72, bottom + 2.73, Material.FRAME_0)
            self._fill(left, right, bottom + 0.95, bottom + 2.55, Material.WINDOW_0, chance=lot)

    def _fill(self, u0: float, u1: float, y0: float, y1: float, part: Material, **how: float) -> None:
        points = [self.at(u0, y0), self.at(u1, y0), self.at(u1, y1), self.at(u0, y1)]
        material = part.slot(self.house.slot)
        self.sketch.polygon(points, material, self.depth_at(u0), instance=self.instance, facing=self.facing, **how)
