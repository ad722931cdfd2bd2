"""Cars, from behind, from ahead and from the side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .dice import Dice
from .materials import Material
from .spot import Spot


@dataclass(frozen=True)
class Car:
    """A car.

    :param front: it comes towards the viewer.
    :param tall: 0 a saloon .. 1 a van.
    """

    slot: int
    front: bool
    tall: float
    width: float
    length: float


def random_car(dice: Dice, front: bool) -> Car:
    """Draw one of three builds."""
    tall = dice.weighted({0.0: 3, 0.3: 2, 1.0: 1}) + dice.between(0, 0.15)
    return Car(dice.below(2), front, tall, dice.between(0.93, 1.08), dice.between(3.8, 4.6))


def draw_car(spot: Spot, car: Car) -> None:
    """Paint a car from behind or from ahead, with the side that the viewer sees."""
    paint = Material.PAINT_0.slot(car.slot)
    half = 0.9 * car.width
    belt, roof = 0.92 + 0.12 * car.tall, 1.42 + 0.55 * car.tall
    # half the width of the cabin at its foot and at the roof
    waist = half * (0.84 + 0.1 * car.tall)
    crest = half * (0.64 + 0.24 * car.tall)
    far = car.length

    # the side that looks to the middle of the view
    s = -1 if spot.x > spot.camera.x else 1
    bonnet0, bonnet1 = (1.0, 0.3) if car.front else (0.45, 1.1)
    bonnet0 *= 1 - min(1.0, car.tall)
    flank = [(s * half, 0.25, 0), (s * half, 0.25, far), (s * half, belt, far), (s * half, belt, 0)]
    spot.fill(flank, paint, 0.8, s)
    for z in (0.75, far - 0.75):
        wheel = [(s * half, 0.33 + 0.33 * math.sin(a), z + 0.33 * math.cos(a)) for a in _TURN]
        spot.fill(wheel, Material.TYRE)
    foot, head = s * waist, s * crest
    cabin = [
        (foot, belt, bonnet0),
        (head, roof, bonnet0 + 0.5),
        (head, roof, far - bonnet1 - 0.4),
        (foot, belt, far - bonnet1),
    ]
    spot.fill(cabin, paint, 0.8, s)
    spot.fill(_shrunk(cabin, 0.86), Material.CAR_WINDOW, 0.9)
    spot.fill([(-waist, belt, bonnet0), (waist, belt, bonnet0), (half, belt, 0), (-half, belt, 0)], paint, 1.08)

    # the end that looks to the viewer, on its tyres
    for x in (-1, 1):
        spot.box(x * 0.62 * half, x * 0.94 * half, 0, 0.4, Material.TYRE)
    z0, z1 = bonnet0, bonnet0 + 0.4
    outer = [(-waist, belt, z0), (waist, belt, z0), (crest, roof, z1), (-crest, roof, z1)]
    spot.fill(outer, paint, 1.04)
    spot.fill(_shrunk(outer, 0.84), Material.CAR_WINDOW)
    body = [(-0.97, 0.24), (0.97, 0.24), (1.0, 0.62), (0.93, belt), (-0.93, belt), (-1.0, 0.62)]
    spot.fill([(x * half, y) for x, y in body], paint)
    spot.box(-0.97 * half, 0.97 * half, 0.22, 0.42, Material.BUMPER)
    light = Material.HEADLIGHT if car.front else Material.TAILLIGHT
    width = spot.at_least(0.3 * half, 0.013)
    high = spot.at_least(0.2, 0.013)
    for x in (-1, 1):
        spot.box(x * 0.95 * half, x * (0.95 * half - width), 0.6, 0.6 + high, light)
    if car.front:
        spot.box(-0.5 * half, 0.5 * half, 0.5, 0.66, Material.BUMPER)
    spot.box(-0.28 * half, 0.28 * half, 0.36, 0.54, Material.PLATE)


def draw_car_side(spot: Spot, car: Car) -> None:
    """Paint a car that crosses the view, from its side."""
    paint = Material.PAINT_0.slot(car.slot)
    half = car.length / 2
    belt, roof = 0.92, 1.42 + 0.5 * car.tall
    back = half * (0.72 + 0.25 * min(1.0, car.tall))
    body = [(-half, 0.25), (half, 0.25), (half, 0.72), (0.9 * half, belt), (-0.97 * half, belt), (-half, 0.72)]
    spot.fill(body, paint)
    cabin = [(-back, belt), (0.5 * half, belt), (0.2 * half, roof), (-0.85 * back, roof)]
    spot.fill(cabin, paint, 1.05)
    spot.fill(_shrunk(cabin, 0.84), Material.CAR_WINDOW)
    spot.box(-0.13 * half, -0.06 * half, belt, roof - 0.05, paint)
    spot.box(-half, half, 0.22, 0.36, Material.BUMPER)
    for x in (-0.62, 0.62):
        spot.disc(x * half, 0.33, 0.36, 0.36, Material.TYRE)
        spot.disc(x * half, 0.33, 0.17, 0.17, Material.PLATE, 0.7)
    spot.box(0.88 * half, half, 0.55, 0.78, Material.HEADLIGHT)
    spot.box(-half, -0.9 * half, 0.55, 0.78, Material.TAILLIGHT)


def _shrunk(outline: Sequence[Sequence[float]], share: float) -> list[tuple[float, ...]]:
    """An outline drawn in towards its middle."""
    middle = [sum(values) / len(outline) for values in zip(*outline, strict=True)]
    return [tuple(m + share * (v - m) for v, m in zip(corner, middle, strict=True)) for corner in outline]


_TURN = [2 * math.pi * i / 10 for i in range(10)]
