"""The plan of a street: how wide it is, where the camera stands, what kind of place it is."""

from __future__ import annotations

from dataclasses import dataclass

from .camera import Camera
from .dice import Dice

# Below this many floors on average, houses stand apart in gardens.
GARDENS = 2


@dataclass(frozen=True)
class Side:
    """One side of a street, metres from the middle of the road.

    :param sign: -1 on the left, 1 on the right.
    :param verge: where grass between road and pavement ends; equal to the kerb if there is none.
    :param pavement: where the pavement ends.
    :param front: where facades or hedges stand.
    """

    sign: int
    kerb: float
    verge: float
    pavement: float
    front: float
    park: bool


@dataclass(frozen=True)
class Street:
    """A street that leads away from the camera.

    :param half: metres from the middle of the road to the kerb.
    :param hand: on which side cars drive away from the camera.
    :param tall: the number of floors usual here.
    :param crossing: metres ahead where a street of 6 metres crosses, if one does.
    """

    camera: Camera
    half: float
    hand: int
    tall: float
    sides: tuple[Side, Side]
    crossing: float | None

    def crossed(self, z: float) -> bool:
        """Whether nothing may stand beside the road there."""
        return self.crossing is not None and self.crossing - 1 < z < self.crossing + 7


def random_street(dice: Dice) -> Street:
    """Draw the plan of a street."""
    half = dice.between(2.9, 4.9)
    on_pavement = dice.chance(0.15)
    camera = Camera(
        x=dice.pick((-1, 1)) * (half + 0.8) if on_pavement else dice.between(-0.6, 0.6) * half,
        height=dice.between(1.6, 2.6),
        focal=dice.between(0.74, 0.95),
        vanishing=(dice.between(-0.16, 0.16), dice.between(0.45, 0.60)),
        bend=dice.pick((0.0, 1.0)) * dice.between(-1, 1) * 0.0013,
    )
    hand = 1 if dice.chance(0.8) else -1
    tall = dice.weighted({1.7: 3, 3: 3, 4.5: 3, 7: 2})
    sides = (_random_side(dice, -1, half, tall), _random_side(dice, 1, half, tall))
    crossing = dice.between(13, 32) if dice.chance(0.4) else None
    return Street(camera, half, hand, tall, sides, crossing)


def _random_side(dice: Dice, sign: int, kerb: float, tall: float) -> Side:
    verge = kerb + (dice.between(1.2, 2.2) if dice.chance(0.35) else 0.0)
    pavement = verge + dice.between(1.9, 3.4)
    park = dice.chance(0.25)
    garden = tall < GARDENS
    front = pavement + (dice.between(0.8, 2.6) if park or garden or dice.chance(0.45) else 0.0)
    front += dice.between(0, 2.5) if garden else 0.0
    return Side(sign, kerb, verge, pavement, front, park)
