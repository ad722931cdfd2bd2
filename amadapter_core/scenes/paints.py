"""The colour of every material in white light."""

from __future__ import annotations

from collections.abc import Sequence

from .colours import Colour, mix, near, scale
from .dice import Dice
from .materials import Material

# hue in degrees, saturation, value
Tone = tuple[float, float, float]

MARKINGS: tuple[Tone, ...] = ((50, 0.06, 0.95), (46, 0.68, 0.93), (50, 0.06, 0.95), (30, 0.6, 0.95))
STONES: tuple[Tone, ...] = (
    (38, 0.16, 0.74),
    (210, 0.08, 0.7),
    (14, 0.3, 0.68),
    (260, 0.1, 0.66),
    (45, 0.3, 0.78),
    (165, 0.1, 0.64),
)
GRASSES: tuple[Tone, ...] = ((98, 0.5, 0.6), (80, 0.52, 0.64), (120, 0.42, 0.5), (52, 0.45, 0.74), (34, 0.4, 0.6))
# crown in the shade, crown in the light
FOLIAGE: tuple[tuple[Tone, Tone], ...] = (
    ((108, 0.55, 0.42), (96, 0.55, 0.6)),
    ((84, 0.58, 0.5), (76, 0.58, 0.7)),
    ((140, 0.45, 0.36), (128, 0.42, 0.5)),
    ((30, 0.72, 0.72), (42, 0.68, 0.9)),
    ((12, 0.72, 0.6), (22, 0.7, 0.8)),
    ((48, 0.65, 0.76), (54, 0.6, 0.92)),
    ((340, 0.32, 0.78), (345, 0.2, 0.95)),
    ((350, 0.6, 0.45), (358, 0.55, 0.62)),
    ((165, 0.36, 0.42), (158, 0.32, 0.58)),
)
TRUNKS: tuple[Tone, ...] = ((24, 0.42, 0.4), (20, 0.3, 0.28), (40, 0.1, 0.78), (16, 0.5, 0.48))
HEDGES: tuple[Tone, ...] = ((112, 0.52, 0.42), (88, 0.5, 0.5), (140, 0.4, 0.38), (10, 0.5, 0.45))
# which parts of a facade stand out from the wall, wall, trim
FACADES: tuple[tuple[str, Tone, Tone], ...] = (
    ("plain", (16, 0.52, 0.64), (30, 0.1, 0.9)),
    ("plain", (42, 0.36, 0.9), (20, 0.45, 0.6)),
    ("plain", (352, 0.3, 0.86), (0, 0.03, 0.97)),
    ("plain", (152, 0.26, 0.76), (60, 0.05, 0.95)),
    ("plain", (206, 0.3, 0.8), (210, 0.04, 0.97)),
    ("bands", (14, 0.58, 0.54), (36, 0.22, 0.88)),
    ("bands", (34, 0.2, 0.84), (16, 0.4, 0.52)),
    ("bands", (262, 0.18, 0.68), (50, 0.12, 0.92)),
    ("bands", (48, 0.56, 0.88), (20, 0.1, 0.95)),
    ("stripes", (40, 0.1, 0.9), (200, 0.42, 0.52)),
    ("stripes", (30, 0.12, 0.76), (14, 0.6, 0.6)),
    ("stripes", (210, 0.14, 0.56), (46, 0.6, 0.86)),
    ("stripes", (170, 0.3, 0.5), (60, 0.08, 0.9)),
    ("glass", (208, 0.26, 0.56), (210, 0.1, 0.86)),
    ("glass", (190, 0.16, 0.4), (30, 0.2, 0.7)),
    ("grid", (220, 0.06, 0.72), (24, 0.5, 0.56)),
    ("grid", (20, 0.36, 0.44), (42, 0.3, 0.84)),
    ("grid", (100, 0.2, 0.62), (90, 0.06, 0.9)),
)
PANES: tuple[Tone, ...] = ((208, 0.35, 0.48), (205, 0.25, 0.66), (220, 0.4, 0.3), (190, 0.3, 0.55))
CURTAIN_WALLS: tuple[Tone, ...] = ((200, 0.42, 0.72), (185, 0.35, 0.66), (225, 0.4, 0.5))
ROOFS: tuple[Tone, ...] = (
    (14, 0.58, 0.5),
    (10, 0.35, 0.36),
    (215, 0.16, 0.4),
    (28, 0.4, 0.42),
    (170, 0.25, 0.5),
    (0, 0.03, 0.62),
)
CAR_PAINTS: tuple[Tone, ...] = (
    (2, 0.82, 0.78),
    (216, 0.72, 0.68),
    (48, 0.82, 0.94),
    (0, 0.0, 0.93),
    (0, 0.0, 0.16),
    (140, 0.55, 0.46),
    (22, 0.8, 0.9),
    (190, 0.55, 0.72),
    (212, 0.06, 0.66),
    (285, 0.45, 0.5),
    (345, 0.6, 0.42),
    (70, 0.55, 0.75),
    (35, 0.25, 0.82),
)
CAR_WINDOWS: tuple[Tone, ...] = ((205, 0.4, 0.42), (200, 0.3, 0.62), (240, 0.25, 0.25), (180, 0.3, 0.5))
BUMPERS: tuple[Colour, ...] = ((0.18, 0.18, 0.2), (0.72, 0.73, 0.75), (0.32, 0.32, 0.34))
PLATES: tuple[Colour, ...] = ((0.95, 0.95, 0.92), (0.97, 0.85, 0.25), (0.85, 0.9, 0.97))
SKINS: tuple[Tone, ...] = ((24, 0.32, 0.92), (24, 0.45, 0.72), (22, 0.5, 0.5), (26, 0.38, 0.84))
HAIRS: tuple[Tone, ...] = (
    (20, 0.5, 0.2),
    (28, 0.55, 0.42),
    (42, 0.5, 0.8),
    (0, 0.0, 0.12),
    (14, 0.7, 0.55),
    (0, 0, 0.8),
)
CLOTHES: tuple[Tone, ...] = (
    (2, 0.75, 0.8),
    (218, 0.68, 0.66),
    (50, 0.75, 0.92),
    (150, 0.5, 0.5),
    (0, 0.0, 0.92),
    (0, 0.0, 0.22),
    (24, 0.75, 0.88),
    (285, 0.4, 0.6),
    (330, 0.5, 0.86),
    (185, 0.5, 0.66),
    (30, 0.4, 0.6),
)
TROUSERS: tuple[Tone, ...] = (
    (220, 0.5, 0.42),
    (220, 0.3, 0.24),
    (35, 0.3, 0.68),
    (0, 0.02, 0.3),
    (90, 0.25, 0.38),
    (10, 0.45, 0.4),
)
SHOES: tuple[Colour, ...] = ((0.12, 0.1, 0.1), (0.9, 0.9, 0.9), (0.4, 0.25, 0.15))
POLES: tuple[Tone, ...] = (
    (210, 0.06, 0.6),
    (220, 0.12, 0.28),
    (150, 0.4, 0.34),
    (25, 0.35, 0.36),
    (50, 0.04, 0.82),
)
# rim, face, symbol
SIGNS: tuple[tuple[Tone, Tone, Tone], ...] = (
    ((2, 0.85, 0.84), (0, 0.0, 0.97), (0, 0.0, 0.1)),
    ((216, 0.82, 0.72), (216, 0.82, 0.72), (0, 0.0, 0.98)),
    ((0, 0.0, 0.12), (50, 0.88, 0.98), (0, 0.0, 0.1)),
    ((0, 0.0, 0.96), (4, 0.86, 0.8), (0, 0.0, 0.98)),
    ((0, 0.0, 0.96), (150, 0.75, 0.5), (0, 0.0, 0.98)),
    ((0, 0.0, 0.96), (25, 0.85, 0.94), (0, 0.0, 0.12)),
    ((216, 0.8, 0.6), (0, 0.0, 0.97), (2, 0.85, 0.82)),
    ((0, 0.0, 0.96), (285, 0.5, 0.5), (50, 0.8, 0.97)),
)
SNOW: Colour = (0.94, 0.96, 1.0)


def draw_paints(dice: Dice, snow: bool) -> dict[Material, Colour]:
    """Choose a colour for each material.

    :param snow: let snow lie on what looks up.
    :return: RGB 0..1.
    """
    m = Material
    paints: dict[Material, Colour] = {m.SKY: (0.5, 0.5, 0.5)}
    _ground(dice, paints)
    _plants(dice, paints)
    for slot, kind in enumerate(_two(dice, FACADES)):
        _facade(dice, paints, slot, kind)
    _cars(dice, paints)
    _people(dice, paints)
    paints[m.POLE] = near(dice, *dice.pick(POLES))
    paints[m.LAMP] = (0.9, 0.9, 0.86)
    for part, tone in zip((m.SIGN_RIM, m.SIGN_FACE, m.SIGN_SYMBOL), dice.pick(SIGNS), strict=True):
        paints[part] = near(dice, *tone)
    if snow:
        _snow(dice, paints)
    return paints


def _two(dice: Dice, kinds: Sequence) -> tuple:
    """Two kinds that differ."""
    first = dice.below(len(kinds))
    return kinds[first], kinds[(first + 1 + dice.below(len(kinds) - 1)) % len(kinds)]


def _ground(dice: Dice, paints: dict[Material, Colour]) -> None:
    m = Material
    paints[m.ROAD] = near(dice, dice.pick((220, 235, 30, 260)), dice.between(0.03, 0.16), dice.between(0.3, 0.5))
    paints[m.MARKING] = near(dice, *dice.pick(MARKINGS))
    paints[m.PAVEMENT] = near(dice, *dice.pick(STONES))
    paints[m.KERB] = scale(paints[m.PAVEMENT], dice.pick((1.18, 0.72)))
    paints[m.GRASS] = near(dice, *dice.pick(GRASSES))
    paints[m.HILL] = mix(paints[m.GRASS], near(dice, 215, 0.35, 0.65), 0.45)
    paints[m.SKYLINE] = near(dice, dice.pick((215, 250, 25, 190)), 0.2, dice.between(0.5, 0.72))


def _plants(dice: Dice, paints: dict[Material, Colour]) -> None:
    m = Material
    crown, top = dice.pick(FOLIAGE)
    paints[m.CROWN], paints[m.CROWN_TOP] = near(dice, *crown), near(dice, *top)
    paints[m.FIR] = near(dice, dice.pick((152, 128, 170)), 0.42, 0.38)
    paints[m.FIR_TOP] = scale(paints[m.FIR], 1.35)
    paints[m.TREELINE] = scale(mix(paints[m.CROWN], paints[m.HILL], 0.3), 0.85)
    paints[m.TRUNK] = near(dice, *dice.pick(TRUNKS))
    paints[m.HEDGE] = near(dice, *dice.pick(HEDGES))
    paints[m.HEDGE_TOP] = scale(paints[m.HEDGE], 1.32)


def _facade(dice: Dice, paints: dict[Material, Colour], slot: int, kind: tuple[str, Tone, Tone]) -> None:
    """Colour one look of houses: which parts stand out from the wall makes it brick, glass or stripes."""
    m = Material
    pattern = kind[0]
    wall, trim = near(dice, *kind[1]), near(dice, *kind[2])
    glass = near(dice, *dice.pick(PANES))
    spandrel = course = wall
    if pattern == "stripes":
        spandrel = trim
    elif pattern == "bands":
        course = trim
    elif pattern == "glass":
        glass = near(dice, *dice.pick(CURTAIN_WALLS))
        spandrel, course = mix(glass, trim, 0.45), trim
    elif pattern == "grid":
        spandrel, course = mix(wall, trim, 0.75), trim
    else:
        course = scale(wall, 0.9)
    paints[m.WALL_0.slot(slot)] = wall
    paints[m.SPANDREL_0.slot(slot)] = spandrel
    paints[m.COURSE_0.slot(slot)] = course
    paints[m.FRAME_0.slot(slot)] = trim
    paints[m.WINDOW_0.slot(slot)] = glass
    paints[m.SHOPFRONT_0.slot(slot)] = mix(glass, (0.9, 0.95, 1.0), 0.15)
    paints[m.AWNING_0.slot(slot)] = near(dice, *dice.pick(CLOTHES))
    paints[m.ROOF_0.slot(slot)] = near(dice, *dice.pick(ROOFS))


def _cars(dice: Dice, paints: dict[Material, Colour]) -> None:
    m = Material
    for slot, tone in enumerate(_two(dice, CAR_PAINTS)):
        paints[m.PAINT_0.slot(slot)] = near(dice, *tone, 6)
    paints[m.CAR_WINDOW] = near(dice, *dice.pick(CAR_WINDOWS))
    paints[m.TYRE] = (0.1, 0.1, 0.12)
    paints[m.BUMPER] = dice.pick(BUMPERS)
    paints[m.HEADLIGHT] = (0.93, 0.93, 0.86)
    paints[m.TAILLIGHT] = (0.78, 0.1, 0.1)
    paints[m.PLATE] = dice.pick(PLATES)


def _people(dice: Dice, paints: dict[Material, Colour]) -> None:
    m = Material
    paints[m.SKIN] = near(dice, *dice.pick(SKINS), 3)
    paints[m.HAIR] = near(dice, *dice.pick(HAIRS))
    for slot, tone in enumerate(_two(dice, CLOTHES)):
        paints[m.TOP_0.slot(slot)] = near(dice, *tone)
        paints[m.TROUSERS_0.slot(slot)] = near(dice, *dice.pick(TROUSERS))
    paints[m.SHOES] = dice.pick(SHOES)
    paints[m.BAG] = near(dice, *dice.pick(CLOTHES))


def _snow(dice: Dice, paints: dict[Material, Colour]) -> None:
    m = Material
    cover = {
        m.GRASS: 0.9,
        m.HILL: 0.8,
        m.PAVEMENT: 0.72,
        m.KERB: 0.6,
        m.ROAD: dice.between(0.25, 0.6),
        m.CROWN_TOP: 0.88,
        m.CROWN: 0.25,
        m.FIR_TOP: 0.85,
        m.FIR: 0.12,
        m.HEDGE_TOP: 0.9,
        m.HEDGE: 0.2,
        m.TREELINE: 0.5,
        m.ROOF_0: 0.85,
        m.ROOF_1: 0.85,
        m.SKYLINE: 0.25,
    }
    for material, share in cover.items():
        paints[material] = mix(paints[material], SNOW, share)
