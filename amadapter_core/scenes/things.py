"""What stands in a street: people, trees, lamps and signs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .dice import Dice
from .materials import Material
from .sketch import Point
from .spot import THIN, Spot


def draw_person(spot: Spot, dice: Dice) -> None:
    """Paint someone who walks or stands."""
    slot = dice.below(2)
    top, trousers = Material.TOP_0.slot(slot), Material.TROUSERS_0.slot(slot)
    stride = dice.pick((0.1, 0.2, 0.3))
    coat = dice.chance(0.35)
    size = dice.between(1.0, 1.16)

    def box(x0: float, x1: float, y0: float, y1: float, material: Material, shade: float = 1.0) -> None:
        spot.box(size * x0, size * x1, size * y0, size * y1, material, shade)

    def fill(corners: Sequence[Point], material: Material, shade: float = 1.0) -> None:
        spot.fill([(size * x, size * y) for x, y in corners], material, shade)

    for x, shade in ((-stride, 0.85), (stride, 1.0)):
        fill([(0.6 * x - 0.12, 0.88), (0.6 * x + 0.12, 0.88), (x + 0.1, 0.08), (x - 0.1, 0.08)], trousers, shade)
        box(x - 0.11, x + 0.15, 0, 0.12, Material.SHOES)
    hem = 0.55 if coat else 0.82
    fill([(-0.27, hem), (0.27, hem), (0.3, 1.3), (0.2, 1.44), (-0.2, 1.44), (-0.3, 1.3)], top)
    for x in (-1, 1):
        swing = x * 0.5 * stride
        arm = [(x * 0.26, 1.38), (x * 0.37, 1.32), (x * 0.38 + swing, 0.84), (x * 0.27 + swing, 0.84)]
        fill(arm, top, 0.82)
        box(x * 0.27 + swing, x * 0.38 + swing, 0.74, 0.85, Material.SKIN)
    if dice.chance(0.4):
        box(-0.5, -0.22, 0.55, 0.95, Material.BAG)
    spot.disc(0, 1.62 * size, 0.17 * size, 0.2 * size, Material.HAIR)
    spot.disc(0.02 * size, 1.57 * size, 0.14 * size, 0.15 * size, Material.SKIN)


def draw_tree(spot: Spot, dice: Dice) -> None:
    """Paint a tree of one of four habits."""
    habit = dice.weighted({"round": 5, "wide": 2, "slim": 2, "fir": 2})
    height = dice.between(4.8, 7.5)
    if habit == "fir":
        _fir(spot, height)
        return
    rx = {"round": 0.3, "wide": 0.4, "slim": 0.17}[habit] * height * dice.between(0.85, 1.1)
    ry = {"round": 0.3, "wide": 0.26, "slim": 0.36}[habit] * height
    middle = height - ry
    trunk = spot.at_least(0.035 * height, THIN / 2)
    spot.fill([(-trunk, 0), (trunk, 0), (0.7 * trunk, middle), (-0.7 * trunk, middle)], Material.TRUNK)
    turn = dice.between(0, 2 * math.pi)
    lobes = [(turn + 2 * math.pi * i / 5, dice.between(0.5, 0.66)) for i in range(5)]
    for part, shade, up, grow in ((Material.CROWN, 0.82, -0.08, 1.0), (Material.CROWN, 1.0, 0.06, 0.86)):
        spot.disc(0, middle + up * ry, 0.8 * rx * grow, 0.8 * ry * grow, part, shade)
        for angle, radius in lobes:
            x, y = 0.52 * rx * math.cos(angle), 0.52 * ry * math.sin(angle)
            spot.disc(x, middle + y + up * ry, radius * rx * grow, radius * ry * grow, part, shade)
    for x, y, radius in ((-0.3, 0.42, 0.34), (0.26, 0.3, 0.3), (0.0, 0.62, 0.28)):
        spot.disc(x * rx, middle + y * ry, radius * rx, radius * ry, Material.CROWN_TOP)


def _fir(spot: Spot, height: float) -> None:
    trunk = spot.at_least(0.03 * height, THIN / 2)
    spot.box(-trunk, trunk, 0, 0.3 * height, Material.TRUNK)
    for low, high, width in ((0.14, 0.58, 0.24), (0.38, 0.8, 0.19), (0.6, 1.0, 0.13)):
        w, y0, y1 = width * height, low * height, high * height
        spot.fill([(-w, y0), (w, y0), (0, y1)], Material.FIR)
        # light on the upper half of each tier
        spot.fill([(-0.5 * w, (y0 + y1) / 2), (0.1 * w, (y0 + y1) / 2), (0, y1)], Material.FIR_TOP)


def draw_bush(spot: Spot, dice: Dice) -> None:
    """Paint a low shrub."""
    r = dice.between(0.6, 1.0)
    for x, y, size in ((-0.7, 0.45, 0.75), (0.7, 0.45, 0.75), (0, 0.7, 0.95)):
        spot.disc(x * r, y * r, size * r, size * r, Material.HEDGE, 0.88)
    for x, y, size in ((-0.55, 0.7, 0.45), (0.5, 0.65, 0.42), (0, 1.0, 0.55)):
        spot.disc(x * r, y * r, size * r, size * r, Material.HEDGE_TOP)


def draw_lamp(spot: Spot, dice: Dice) -> Point:
    """Paint a street lamp whose arm reaches over the road; return where its light is."""
    height = dice.between(5.2, 6.8)
    r = spot.at_least(0.09, THIN / 2)
    spot.box(-1.6 * r, 1.6 * r, 0, 0.5, Material.POLE, 0.85)
    spot.box(-r, r, 0, height, Material.POLE)
    if dice.chance(0.3):
        # a lantern on top
        spot.disc(0, height + 0.2, spot.at_least(0.36, 0.02), spot.at_least(0.36, 0.02), Material.LAMP)
        spot.box(-0.3, 0.3, height + 0.42, height + 0.6, Material.POLE, 0.8)
        return spot.point(0, height + 0.2)
    reach = dice.between(1.2, 2.0)
    thick = spot.at_least(0.14, 0.012)
    spot.box(-r, reach, height - thick, height, Material.POLE)
    spot.fill(
        [
            (reach - 0.9, height - thick),
            (reach + 0.15, height - thick),
            (reach, height - thick - spot.at_least(0.22, 0.014)),
            (reach - 0.75, height - thick - spot.at_least(0.22, 0.014)),
        ],
        Material.LAMP,
    )
    return spot.point(reach - 0.4, height - 0.3)


def draw_sign(spot: Spot, dice: Dice, plate_instance: int) -> None:
    """Paint a traffic sign on its post; post and plate are two objects."""
    r = spot.at_least(dice.between(0.5, 0.62), 0.042)
    shape = dice.weighted({"disc": 4, "triangle": 3, "square": 2, "diamond": 2, "octagon": 2, "board": 2})
    wide = 1.9 * r if shape == "board" else r
    y = spot.at_least(dice.between(2.3, 2.9), 0.1)
    post = spot.at_least(0.06, THIN / 2)
    for x in (-0.7 * wide, 0.7 * wide) if shape == "board" else (0.0,):
        spot.box(x - post, x + post, 0, y, Material.POLE)
    plate = Spot(spot.sketch, spot.camera, spot.x, spot.z, plate_instance, spot.mirror)
    _plate(plate, shape, wide, r, y)
    _symbol(plate, dice.weighted({"bar": 3, "arrow": 3, "post": 2, "dot": 2}), 0.5 * wide, 0.5 * r, y, shape)


def _plate(spot: Spot, shape: str, wide: float, r: float, y: float) -> None:
    for grow, material in ((1.0, Material.SIGN_RIM), (0.74, Material.SIGN_FACE)):
        if shape == "disc":
            spot.disc(0, y, r * grow, r * grow, material)
            continue
        outline = _PLATES[shape]
        spot.fill([(wide * grow * px, y + r * grow * py) for px, py in outline], material)


def _symbol(spot: Spot, kind: str, w: float, h: float, y: float, shape: str) -> None:
    if shape == "triangle":
        y, w, h = y - 0.2 * h, 0.55 * w, 0.7 * h
        kind = "post"
    if kind == "bar":
        spot.box(-0.95 * w, 0.95 * w, y - 0.32 * h, y + 0.32 * h, Material.SIGN_SYMBOL)
    elif kind == "post":
        spot.box(-0.35 * w, 0.35 * w, y - 0.8 * h, y + 0.8 * h, Material.SIGN_SYMBOL)
    elif kind == "dot":
        spot.disc(0, y, 0.7 * h, 0.7 * h, Material.SIGN_SYMBOL)
    else:
        head = [(-0.75 * w, y + 0.05 * h), (0.75 * w, y + 0.05 * h), (0, y + 0.95 * h)]
        spot.fill(head, Material.SIGN_SYMBOL)
        spot.box(-0.26 * w, 0.26 * w, y - 0.85 * h, y + 0.15 * h, Material.SIGN_SYMBOL)


_EIGHT = [(math.cos(math.pi * (i + 0.5) / 4), math.sin(math.pi * (i + 0.5) / 4)) for i in range(8)]
_PLATES = {
    "triangle": [(-1.1, -0.8), (1.1, -0.8), (0.0, 1.1)],
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "diamond": [(0.0, -1.15), (1.15, 0.0), (0.0, 1.15), (-1.15, 0.0)],
    "octagon": [(1.06 * x, 1.06 * y) for x, y in _EIGHT],
    "board": [(-1.0, -0.8), (1.0, -0.8), (1.0, 0.8), (-1.0, 0.8)],
}
