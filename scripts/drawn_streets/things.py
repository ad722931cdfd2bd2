"""What stands in a street, in metres: x to the right of the camera, y up, z ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .looks import Look

Point = tuple[float, float]
ROAD, PAVEMENT, VERGE = 4.6, 7.0, 8.6
"""Where the road, the pavement and the verge end, to either side of the middle."""


@dataclass(frozen=True)
class Block:
    """A house along the street, from `near` to `far`; `side` is -1 for the left and 1 for the right."""

    side: int
    near: float
    far: float
    height: float
    setback: float = VERGE


@dataclass(frozen=True)
class Car:
    x: float
    z: float
    colour: int = 0


@dataclass(frozen=True)
class Tree:
    x: float
    z: float
    height: float = 6.0


@dataclass(frozen=True)
class Lamp:
    x: float
    z: float


@dataclass(frozen=True)
class Sign:
    x: float
    z: float


@dataclass(frozen=True)
class Person:
    x: float
    z: float
    clothes: int = 0


Thing = Block | Car | Tree | Lamp | Sign | Person


@dataclass(frozen=True)
class Scene:
    """A street: where it vanishes (part of the width, of the height), what stands in it, and how it looks."""

    look: Look
    things: Sequence[Thing]
    vanishing: Point = (0.5, 0.47)
    clouds: Sequence[tuple[float, float, float]] = ()  # x, y, width as parts of the picture
    seed: int = 0
