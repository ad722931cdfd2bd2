"""Colours as people choose them: hue, saturation and brightness around sorts of things."""

from __future__ import annotations

import colorsys

from .dice import Dice

Colour = tuple[float, float, float]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """:param hue: degrees; saturation and value 0..1. Returns RGB 0..1."""
    return colorsys.hsv_to_rgb((hue / 360) % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))


def near(dice: Dice, hue: float, saturation: float, value: float, hue_range: float = 8) -> Colour:
    """A colour close to one."""
    return hsv(
        hue + dice.between(-hue_range, hue_range),
        saturation * dice.between(0.85, 1.15),
        value * dice.between(0.93, 1.07),
    )


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a share of `b`."""
    return tuple(x + share * (y - x) for x, y in zip(a, b, strict=True))


def scale(colour: Colour, factor: float) -> Colour:
    """A colour (0..1) times a factor, at most white."""
    return tuple(min(1.0, factor * x) for x in colour)
