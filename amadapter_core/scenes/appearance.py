"""What a street looks like: light, weather and the colour of every material, drawn from the appearance's seed alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colours import Colour, hsv, mix, near, scale
from .dice import Dice
from .materials import Material
from .paints import draw_paints

_STREAM = 2

Sky = tuple[Colour, Colour, Colour]


@dataclass(frozen=True)
class Weather:
    """:param often: how often it occurs, relative to the others.
    :param words: how a caption says it.
    :param veil: how much of the sky's colour is lost to grey, `tint` the grey's tint.
    :param dim: brightness of the sky; `light` of what stands below it.
    :param haze: share of the light lost per metre.
    :param shadow: how dark shadows are, 0..1.
    :param contrast: how much brighter than the viewer's side what looks to the sun is.
    """

    often: float
    words: str
    veil: float
    tint: Colour
    dim: float
    light: float
    haze: float
    shadow: float
    contrast: float


WEATHERS = {
    "clear": Weather(4, "in clear weather", 0, (1, 1, 1), 1, 1, 0.0035, 0.42, 0.17),
    "cloudy": Weather(2, "under clouds", 0.5, (0.97, 1.0, 1.04), 0.9, 0.92, 0.005, 0.26, 0.06),
    "rain": Weather(2, "in the rain", 0.72, (0.92, 1.0, 1.08), 0.74, 0.8, 0.010, 0.2, 0.05),
    "fog": Weather(1, "in the fog", 0.78, (1.0, 1.0, 1.0), 0.96, 0.94, 0.026, 0.15, 0.03),
    "snow": Weather(1.5, "in the snow", 0.7, (0.98, 1.0, 1.04), 0.97, 0.95, 0.009, 0.2, 0.06),
}
TIMES = {"day": 5, "dusk": 2, "night": 2.5, "dawn": 2}
_TIME_WORDS = {"day": "by day", "dusk": "at dusk", "night": "at night", "dawn": "at dawn"}
# How strong lamps shine, 0..1.
_SHINE = {"day": 0.0, "dusk": 0.7, "night": 1.0, "dawn": 0.45}
_HEADLIGHT: Colour = (1.0, 0.97, 0.85)
_TAILLIGHT: Colour = (1.0, 0.16, 0.12)
# The colour of clouds in clear weather.
_CUMULUS = {"day": (1.0, 1.0, 1.0), "dusk": (0.98, 0.62, 0.55), "dawn": (1.0, 0.9, 0.86), "night": (0.3, 0.32, 0.45)}

# Every word of every caption.
VOCABULARY = tuple(
    dict.fromkeys(
        " ".join(["a street", *_TIME_WORDS.values(), *(weather.words for weather in WEATHERS.values())]).split()
    )
)


@dataclass(frozen=True)
class Orb:
    """Sun or moon: where it stands (y from the horizon upwards) and its radius, in picture sizes; radius 0 for none."""

    x: float
    y: float
    radius: float
    colour: Colour


@dataclass(frozen=True)
class Cloud:
    """A soft ellipse; x and y in picture sizes, y from the horizon upwards."""

    x: float
    y: float
    rx: float
    ry: float


@dataclass(frozen=True)
class Appearance:
    """The look of a street; colours are RGB 0..1, places in picture sizes.

    :param base: [M, 3] float32, the colour of each material in this light.
    :param lit: [M, 3] float32, the colour of the lit ones among alike shapes.
    :param lit_share: how many windows are lit.
    :param sky: colours at the top, half way and at the horizon.
    :param sides: [3] brightness of what looks to the left, to the viewer, to the right.
    :param haze: share of the light lost per metre.
    :param shadow: how dark shadows are, 0..1.
    :param sun_side: -1 or 1, what looks there is in the sun.
    :param cast: metres that high houses' shadows reach beyond the kerb, 0 for none.
    :param glow: how strong lamps shine, 0..1.
    :param wet: how much the road mirrors, 0..1.
    :param flakes: x, y and radius of snow flakes.
    :param streaks: x and y of rain.
    """

    time: str
    weather: str
    base: np.ndarray
    lit: np.ndarray
    lit_share: float
    sky: Sky
    orb: Orb
    stars: tuple[tuple[float, float], ...]
    clouds: tuple[Cloud, ...]
    cloud_colour: Colour
    cloud_opacity: float
    cloud_softness: float
    sides: np.ndarray
    haze: float
    shadow: float
    sun_side: int
    cast: float
    glow: float
    lamp_colour: Colour
    wet: float
    flakes: tuple[tuple[float, float, float], ...]
    streaks: tuple[tuple[float, float], ...]

    @property
    def caption(self) -> str:
        """Time of day and weather, as a prompt says them."""
        return f"a street {_TIME_WORDS[self.time]} {WEATHERS[self.weather].words}"


def draw_appearance(seed: int) -> Appearance:
    """Draw the look of a seed."""
    dice = Dice(_STREAM, seed)
    time = dice.weighted(TIMES)
    weather = dice.weighted({name: kind.often for name, kind in WEATHERS.items()})
    kind, night, clear = WEATHERS[weather], time == "night", weather == "clear"
    paints = draw_paints(dice, weather == "snow")
    light, sky, orb = _hour(dice, time)
    if not clear:
        light, sky, orb = _overcast(light, sky, orb, kind, night)
    base = np.zeros((len(Material), 3), np.float32)
    for material, colour in paints.items():
        base[material] = colour
    reflecting = base[Material.SIGN_RIM :] * 0.72
    base *= np.asarray(light, np.float32)
    lamp_colour = near(dice, dice.pick((38, 46, 210)), dice.between(0.25, 0.5), 1.0)
    lit = _lit(dice, base)
    for part, colour in (
        (Material.LAMP, lamp_colour),
        (Material.HEADLIGHT, _HEADLIGHT),
        (Material.TAILLIGHT, _TAILLIGHT),
    ):
        base[part] += min(1.0, 1.3 * _SHINE[time]) * (np.asarray(colour, np.float32) - base[part])
    if night:
        # Signs throw the cars' light back.
        base[Material.SIGN_RIM :] = reflecting
    sun_side = dice.pick((-1, 1))
    contrast = kind.contrast * (0.4 if night else 1) * sun_side
    if clear:
        cloud_colour, cloud_opacity = _CUMULUS[time], dice.between(0.7, 0.95)
    else:
        cloud_colour, cloud_opacity = scale(sky[1], 0.84 if weather == "rain" else 1.13), 0.7
    night_share, dusk_share = dice.between(0.3, 0.65), dice.between(0.25, 0.5)
    return Appearance(
        time=time,
        weather=weather,
        base=np.clip(base, 0, 1),
        lit=np.clip(lit, 0, 1),
        lit_share={"day": 0.0, "dusk": dusk_share, "night": night_share, "dawn": 0.2}[time],
        sky=sky,
        clouds=_clouds(dice, weather),
        stars=_scattered(dice, 70, (-1.6, 1.6), (0.1, 0.55)) if night and clear else (),
        orb=orb,
        cloud_colour=cloud_colour,
        cloud_opacity=cloud_opacity,
        cloud_softness=0.006 if clear else 0.03,
        sides=np.asarray([1 - contrast, 1, 1 + contrast], np.float32),
        haze=kind.haze * dice.between(0.8, 1.25),
        shadow=kind.shadow,
        sun_side=sun_side,
        cast=dice.between(2, 9) if clear and not night else 0.0,
        glow=_SHINE[time] * (1.0 if night else 0.7),
        lamp_colour=lamp_colour,
        wet=dice.between(0.3, 0.45) if weather == "rain" else 0.0,
        flakes=_scattered(dice, 170, (-1.5, 1.5), (-0.5, 1.5), (0.005, 0.0095)) if weather == "snow" else (),
        streaks=_scattered(dice, 120, (-1.5, 1.5), (-0.5, 1.5)) if weather == "rain" else (),
    )


def _lit(dice: Dice, base: np.ndarray) -> np.ndarray:
    """The same colours with light behind every pane."""
    lit = base.copy()
    for slot in (0, 1):
        lit[Material.WINDOW_0 + slot] = near(dice, dice.pick((44, 38, 50, 200)), 0.42, 0.98)
        lit[Material.SHOPFRONT_0 + slot] = near(dice, dice.pick((44, 36, 180)), 0.35, 1.0)
    return lit


def _hour(dice: Dice, time: str) -> tuple[Colour, Sky, Orb]:
    """The light, the sky, and sun or moon of a time of day in clear weather."""
    x, y = dice.between(-0.42, 0.42), dice.between(0.08, 0.34)
    if time == "day":
        hue = dice.between(198, 222)
        top = hsv(hue, dice.between(0.5, 0.75), dice.between(0.7, 0.95))
        sky = (top, mix(top, (0.8, 0.9, 1.0), 0.5), hsv(hue - 5, 0.1, 0.97))
        return (1.0, 0.99, 0.96), sky, Orb(x, y, 0.045 if dice.chance(0.4) else 0.0, (1.0, 0.97, 0.82))
    if time == "dusk":
        top = near(dice, dice.pick((250, 268, 230)), 0.55, 0.42)
        middle = near(dice, dice.pick((320, 300, 345)), 0.42, 0.66)
        bottom = near(dice, dice.pick((18, 28, 8)), 0.62, 0.97)
        orb = Orb(x, 0.5 * y, 0.05 if dice.chance(0.5) else 0.0, (1.0, 0.72, 0.42))
        return (0.82, 0.62, 0.62), (top, middle, bottom), orb
    if time == "dawn":
        top = near(dice, 212, 0.42, 0.76)
        middle = near(dice, dice.pick((200, 330, 180)), 0.16, 0.9)
        bottom = near(dice, dice.pick((48, 36, 340)), 0.32, 1.0)
        orb = Orb(x, 0.4 * y, 0.045 if dice.chance(0.5) else 0.0, (1.0, 0.92, 0.68))
        return (0.95, 0.84, 0.80), (top, middle, bottom), orb
    hue = dice.between(215, 262)
    sky = (hsv(hue, 0.68, 0.17), hsv(hue, 0.6, 0.27), hsv(hue - 8, 0.48, 0.42))
    return (0.52, 0.55, 0.72), sky, Orb(x, 0.1 + y, 0.032 if dice.chance(0.6) else 0.0, (0.96, 0.95, 0.86))


def _overcast(light: Colour, sky: Sky, orb: Orb, weather: Weather, night: bool) -> tuple[Colour, Sky, Orb]:
    """The same hour when the sky is covered."""
    # At night the lamps light the clouds.
    dim, bright = (1.15, 0.95) if night else (weather.dim, weather.light)
    grey = sum(sky[1]) / 3
    veil = tuple(min(1.0, grey * c) for c in weather.tint)
    covered = tuple(scale(mix(colour, veil, weather.veil), dim) for colour in sky)
    mean = sum(light) / 3
    softened = scale(mix(light, tuple(mean * c for c in weather.tint), 0.4), bright)
    return softened, covered, Orb(orb.x, orb.y, 0.0, orb.colour)


def _clouds(dice: Dice, weather: str) -> tuple[Cloud, ...]:
    """Heaps of ellipses in clear weather, else layers; wide enough for wide pictures."""
    clouds = []
    if weather == "clear":
        for _ in range(dice.below(6) + 2):
            x, y, size = dice.between(-1.4, 1.4), dice.between(0.14, 0.54), dice.between(0.045, 0.1)
            clouds.append(Cloud(x, y, 1.5 * size, 0.24 * size))
            for shift in (-0.7, -0.1, 0.5):
                r = size * dice.between(0.34, 0.6)
                clouds.append(Cloud(x + shift * size, y + 0.12 * size + 0.3 * r, 1.15 * r, 0.72 * r))
    elif weather != "fog":
        for _ in range(26):
            x, y, size = dice.between(-1.5, 1.5), dice.between(0.1, 0.56), dice.between(0.12, 0.3)
            clouds.append(Cloud(x, y, size, size * dice.between(0.12, 0.22)))
    return tuple(clouds)


def _scattered(dice: Dice, n: int, *ranges: tuple[float, float]) -> tuple[tuple[float, ...], ...]:
    """n points, each coordinate anywhere in its range."""
    return tuple(tuple(dice.between(low, high) for low, high in ranges) for _ in range(n))
