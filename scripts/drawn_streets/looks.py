"""The colours of a time of day."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """The colours of a time of day."""

    sky: tuple[Colour, Colour, Colour]  # from the top to the horizon
    clouds: Colour
    sun: tuple[float, float, float, Colour]  # x, y and radius as parts of the picture
    haze: Colour
    road: Colour
    lines: Colour
    pavement: Colour
    grass: Colour
    facades: tuple[Colour, ...]
    windows: tuple[Colour, ...]
    leaves: tuple[Colour, ...]
    trunk: Colour
    cars: tuple[Colour, ...]
    glass: Colour
    lights: Colour
    metal: Colour
    sign: Colour
    clothes: tuple[Colour, ...]
    skin: Colour


DAY = Look(
    sky=((70, 134, 214), (132, 185, 236), (216, 234, 245)),
    clouds=(250, 252, 255),
    sun=(0.82, 0.10, 0.045, (255, 246, 206)),
    haze=(205, 222, 234),
    road=(98, 100, 106),
    lines=(238, 236, 224),
    pavement=(186, 180, 170),
    grass=(126, 168, 84),
    facades=((214, 178, 138), (190, 112, 88), (226, 208, 176), (168, 152, 140)),
    windows=((92, 124, 150), (112, 146, 170), (78, 106, 132)),
    leaves=((62, 124, 58), (84, 148, 66), (112, 172, 80)),
    trunk=(104, 78, 56),
    cars=((196, 44, 44), (236, 236, 238), (44, 92, 168), (238, 186, 48)),
    glass=(70, 92, 112),
    lights=(206, 30, 30),
    metal=(120, 124, 128),
    sign=(38, 92, 176),
    clothes=((178, 54, 66), (50, 84, 140), (232, 190, 92)),
    skin=(222, 176, 146),
)
DUSK = Look(
    sky=((44, 40, 92), (148, 82, 128), (250, 160, 96)),
    clouds=(214, 118, 130),
    sun=(0.28, 0.40, 0.05, (255, 214, 140)),
    haze=(206, 126, 108),
    road=(52, 48, 66),
    lines=(226, 178, 116),
    pavement=(96, 80, 96),
    grass=(72, 78, 70),
    facades=((92, 66, 92), (76, 62, 100), (118, 76, 88), (66, 56, 82)),
    windows=((255, 208, 118), (70, 62, 92), (248, 184, 92), (58, 54, 84)),
    leaves=((46, 48, 58), (66, 60, 62), (96, 72, 64)),
    trunk=(44, 34, 42),
    cars=((62, 52, 84), (128, 40, 58), (40, 60, 92), (96, 88, 104)),
    glass=(28, 26, 44),
    lights=(255, 70, 50),
    metal=(48, 44, 60),
    sign=(88, 62, 128),
    clothes=((70, 48, 78), (52, 56, 86), (104, 62, 70)),
    skin=(150, 104, 100),
)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
