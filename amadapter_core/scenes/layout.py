"""What stands where: a street drawn from the layout's seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from .camera import NEAR, Camera
from .cars import draw_car, draw_car_side, random_car
from .dice import Dice
from .ground import draw_ground, draw_horizon
from .houses import House, draw_house, random_house
from .materials import Material
from .sketch import Point, Sketch
from .spot import Spot
from .street import GARDENS, Side, random_street
from .things import draw_bush, draw_lamp, draw_person, draw_sign, draw_tree

_STREAM = 1
# Added to the depth of what stands at the facades: it is painted before what stands in front of them.
_BEHIND = 1000.0
_FARTHEST = 1200.0


@dataclass(frozen=True)
class Shadow:
    """A soft dark patch on the ground: an ellipse around a point of the picture."""

    centre: Point
    radius: Point


@dataclass(frozen=True)
class Light:
    """A lamp that shines when it is dark.

    :param at: where in the picture.
    :param reach: how far its glow reaches, in picture sizes.
    :param kind: "lamp", "head" or "tail".
    """

    at: Point
    reach: float
    kind: str


@dataclass(frozen=True)
class Layout:
    """A street without colours.

    :param road_half: metres from the middle of the road to the kerb.
    :param houses: the houses along the street, whose shadows may fall into it.
    """

    sketch: Sketch
    camera: Camera
    road_half: float
    shadows: list[Shadow] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    houses: list[House] = field(default_factory=list)


def draw_layout(seed: int) -> Layout:
    """Draw the street of a seed."""
    return _Builder(Dice(_STREAM, seed)).build()


class _Builder:
    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.street = random_street(dice)
        self.camera = self.street.camera
        self.layout = Layout(Sketch(), self.camera, self.street.half)
        self.instances = 0
        # what is still to paint, the largest first
        self.things: list[tuple[float, Callable[[], None]]] = []
        self.cars: list[Point] = []

    def build(self) -> Layout:
        draw_horizon(self.layout.sketch, self.street, self.dice, self._instance)
        draw_ground(self.layout.sketch, self.street, self.dice)
        for side in self.street.sides:
            self._row(side)
        self._traffic()
        for side in self.street.sides:
            self._greenery(side)
            self._furniture(side)
        for _, paint in sorted(self.things, key=lambda thing: -thing[0]):
            paint()
        return self.layout

    def _instance(self) -> int:
        self.instances += 1
        return self.instances

    def _row(self, side: Side) -> None:
        """Houses with gaps between them, or a park behind a hedge."""
        dice, crossing = self.dice, self.street.crossing
        if side.park:
            self._hedge(side, dice.between(2, 5), 90)
            for _ in range(16):
                x, z = side.front + dice.between(1.5, 9), dice.between(7, 70)
                self._tree(side.sign * x, z, _FARTHEST)
            return
        z = dice.between(1.5, 7)
        while z < 95:
            house = random_house(dice, side.sign, side.front, z, self.street.tall)
            if crossing and house.far >= crossing - 1.5 and z <= crossing + 7.5:
                self._garden(side, z, crossing - 2)
                z = crossing + 7.6
                continue
            self.layout.houses.append(house)
            self.things.append((house.far + _BEHIND, partial(self._house, house)))
            z = house.far
            if dice.chance(0.75 if self.street.tall < GARDENS else 0.25):
                gap = dice.between(3, 9)
                self._garden(side, z, z + gap)
                z += gap

    def _house(self, house: House) -> None:
        draw_house(self.layout.sketch, self.camera, house, self._instance(), self.dice)

    def _garden(self, side: Side, near: float, far: float) -> None:
        """A garden between two houses."""
        if far - near < 1.5:
            return
        x = side.front + self.dice.between(1.0, 3.0)
        self._tree(side.sign * x, (near + far) / 2, _BEHIND)
        if self.dice.chance(0.5):
            self._hedge(side, near + 0.3, far - 0.3)

    def _hedge(self, side: Side, near: float, far: float) -> None:
        high, crossing = self.dice.between(0.9, 1.5), self.street.crossing
        pieces = [(near, far)]
        if crossing and near < crossing + 7 and far > crossing - 1:
            pieces = [(near, crossing - 1.5), (crossing + 7.5, far)]
        for z, end in pieces:
            instance = self._instance()
            while z < end:
                stop = min(end, z * 1.25 + 0.5)
                self.things.append((z + _BEHIND, partial(self._hedge_piece, side, z, stop, high, instance)))
                z = stop

    def _hedge_piece(self, side: Side, z: float, end: float, high: float, instance: int) -> None:
        at, paint = self.camera.point, self.layout.sketch.polygon
        x0, x1 = side.sign * (side.front + 0.2), side.sign * (side.front + 1.2)
        top = [at(x0, high, z), at(x1, high, z), at(x1, high, end), at(x0, high, end)]
        front = [at(x0, 0, z), at(x0, high, z), at(x0, high, end), at(x0, 0, end)]
        face = [at(x0, 0, z), at(x1, 0, z), at(x1, high, z), at(x0, high, z)]
        paint(top, Material.HEDGE_TOP, z, instance=instance)
        paint(face, Material.HEDGE, z, instance=instance)
        paint(front, Material.HEDGE, z, instance=instance, shade=0.94, facing=-side.sign)

    def _spot(self, x: float, z: float, mirror: int = 1) -> Spot:
        return Spot(self.layout.sketch, self.camera, x, z, self._instance(), mirror)

    def _shadow(self, x: float, z: float, wide: float, deep: float) -> None:
        """Lay a shadow of 2 * wide by 2 * deep metres on the ground."""
        left, right = self.camera.point(x - wide, 0, z)[0], self.camera.point(x + wide, 0, z)[0]
        near, far = self.camera.point(x, 0, max(NEAR, z - deep))[1], self.camera.point(x, 0, z + deep)[1]
        centre, radius = ((left + right) / 2, (near + far) / 2), ((right - left) / 2, (near - far) / 2)
        self.layout.shadows.append(Shadow(centre, radius))

    def _tree(self, x: float, z: float, behind: float = 0.0) -> None:
        spot = self._spot(x, z)
        self.things.append((z + behind, lambda: draw_tree(spot, self.dice)))
        self._shadow(x, z, 1.6, 1.0)

    def _traffic(self) -> None:
        """Cars in both lanes, at the kerbs and on the street that crosses."""
        dice, half, hand, crossing = self.dice, self.street.half, self.street.hand, self.street.crossing
        for lane, front in ((hand, False), (-hand, True)):
            z = dice.between(6.5, 15)
            for _ in range(dice.weighted({0: 2, 1: 4, 2: 3, 3: 2})):
                self._car(lane * 0.5 * half + dice.between(-0.3, 0.3), z, front)
                z += dice.between(6.5, 16)
        for side in self.street.sides:
            if half > 3.9 and dice.chance(0.4):
                z = dice.between(7, 14)
                for _ in range(dice.below(4) + 1):
                    self._car(side.sign * (half - 1.05), z, side.sign != hand)
                    z += dice.between(6, 9)
        if crossing and dice.chance(0.7):
            x = dice.between(-0.9, 0.9) * half
            car = random_car(dice, True)
            spot = self._spot(x, crossing + 3.0, dice.pick((-1, 1)))
            self.things.append((spot.z, lambda: draw_car_side(spot, car)))
            self._shadow(x, spot.z, 0.55 * car.length, 0.9)

    def _car(self, x: float, z: float, front: bool) -> None:
        if any(abs(z - other) < 5.5 and abs(x - there) < 2.0 for there, other in self.cars):
            return
        self.cars.append((x, z))
        car = random_car(self.dice, front)
        spot = self._spot(x, z)
        self.things.append((z, lambda: draw_car(spot, car)))
        self._shadow(x, z + 1.2, 1.25 * car.width, 2.2)
        for light in (-0.75, 0.75):
            at = self.camera.point(x + light * car.width, 0.7, z)
            self.layout.lights.append(Light(at, 0.55 * spot.metre, "head" if front else "tail"))

    def _greenery(self, side: Side) -> None:
        """A row of trees along one side."""
        dice = self.dice
        x = side.verge - 0.8 if side.verge > side.kerb else side.kerb + 0.7
        if dice.chance(0.62):
            z, step = dice.between(6, 11), dice.between(7, 14)
            while z < 75:
                if dice.chance(0.85) and not self.street.crossed(z):
                    self._tree(side.sign * x, z + 1.5)
                z += step

    def _furniture(self, side: Side) -> None:
        """Lamps, signs, people and bushes along one side; what is to be seen stands where the camera sees it."""
        dice, s = self.dice, side.sign
        if dice.chance(0.6):
            z, step = dice.between(5.5, 10), dice.between(13, 20)
            while z < 60:
                if not self.street.crossed(z):
                    self._lamp(s * (side.kerb + 0.45), z, -s)
                z += step
        x = s * (side.kerb + dice.between(0.45, 0.9))
        z = max(5.0, self.camera.enters(x, 0.07)) + dice.between(0, 3)
        for _ in range(dice.weighted({0: 1, 1: 4, 2: 2})):
            self._sign(x, z)
            z += dice.between(5, 12)
        for _ in range(dice.weighted({0: 1, 1: 2, 2: 3, 3: 2, 4: 1})):
            x = s * dice.between(side.verge + 0.4, side.pavement - 0.3)
            z = max(4.5, self.camera.enters(x)) + dice.between(0, 1) * dice.between(0, 11)
            self._person(x, z)
            if dice.chance(0.3):
                self._person(x + s * 0.1 + 0.75, z + dice.between(0.1, 0.4))
        if dice.chance(0.12):
            # on the road
            self._person(dice.between(-0.8, 0.8) * self.street.half, dice.between(8, 15))
        if side.front - side.pavement > 1.2 and not side.park:
            for _ in range(dice.below(4)):
                spot = self._spot(s * (side.pavement + 0.6), dice.between(6, 25))
                self.things.append((spot.z, partial(draw_bush, spot, dice)))

    def _lamp(self, x: float, z: float, towards: int) -> None:
        spot = self._spot(x, z, towards)

        def paint() -> None:
            at = draw_lamp(spot, self.dice)
            self.layout.lights.append(Light(at, 2.2 * spot.metre, "lamp"))

        self.things.append((z, paint))

    def _sign(self, x: float, z: float) -> None:
        spot, plate = self._spot(x, z), self._instance()
        self.things.append((z, lambda: draw_sign(spot, self.dice, plate)))

    def _person(self, x: float, z: float) -> None:
        spot = self._spot(x, z, self.dice.pick((-1, 1)))
        self.things.append((z, lambda: draw_person(spot, self.dice)))
        self._shadow(x, z, 0.5, 0.3)
