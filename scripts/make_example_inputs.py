"""Draw the example workflows' input pictures: street scenes and their label maps, into `workflows/inputs`, and what is
painted in the one that has a painter, into `workflows/paintings`.

A scene is a list of solid things in a street (metres; x to the right of the camera, y up, z ahead). Each is drawn
twice, once in the colours of a look and once in the colour of its class, so picture and label map agree to the pixel.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
INPUTS = ROOT / "workflows" / "inputs"
PAINTINGS = ROOT / "workflows" / "paintings"
PALETTES = ROOT / "amadapter_core" / "palettes"
# The segmentation ControlNets for SD1.5 know ADE20K's colours, networks for driving scenes those of Cityscapes.
SAME_IN_ADE20K = {"vegetation": "tree", "terrain": "grass", "pole": "streetlight", "traffic sign": "signboard"}

SIZE = 512
# Pictures are drawn larger and averaged, for smooth edges; label maps must not mix colours.
OVERSAMPLING = 3
CAMERA_HEIGHT = 2.2
FOCAL = 0.85
FAR = 90.0
NEAR = 2.4
ROAD, PAVEMENT, VERGE = 4.6, 7.0, 8.6

Colour = tuple[int, int, int]
Point = tuple[float, float]


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


class Drawing:
    """One canvas in both meanings: `shape` draws a thing, `detail` what only the picture shows."""

    def __init__(self, scene: Scene, classes: dict[str, Colour] | None) -> None:
        self.scene, self.classes, self.look = scene, classes, scene.look
        self.scale = OVERSAMPLING if classes is None else 1
        self.image = Image.new("RGB", (SIZE * self.scale,) * 2)
        self.pen = ImageDraw.Draw(self.image)
        self.random = random.Random(scene.seed)

    def project(self, x: float, y: float, z: float) -> Point:
        side = SIZE * self.scale
        vx, vy = self.scene.vanishing
        return (vx + FOCAL * x / z) * side, (vy - FOCAL * (y - CAMERA_HEIGHT) / z) * side

    def shape(self, name: str, colour: Colour, points: Sequence[Point]) -> None:
        self.pen.polygon(points, fill=self.fill(name, colour))

    def fill(self, name: str, colour: Colour) -> Colour:
        return colour if self.classes is None else self.classes[name]

    def detail(self, colour: Colour, points: Sequence[Point]) -> None:
        if self.classes is None:
            self.pen.polygon(points, fill=colour)

    def disc(self, name: str | None, colour: Colour, centre: Point, radius: float) -> None:
        """A disc of a class, or of none: then only the picture shows it."""
        if self.classes is not None and name is None:
            return
        x, y = centre
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=self.fill(name, colour))

    def hazy(self, colour: Colour, z: float, most: float = 0.75) -> Colour:
        return mix(colour, self.look.haze, most * min(1.0, z / FAR) ** 0.8)

    def finished(self) -> Image.Image:
        if self.classes is not None:
            return self.image
        return self.image.resize((SIZE, SIZE), Image.Resampling.BOX)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(round(p + (q - p) * share) for p, q in zip(a, b, strict=True))


def class_colours(palette: str) -> dict[str, Colour]:
    """Return the colours of a palette by Cityscapes' class names."""
    return {name: tuple(entry["colour"]) for name, entry in class_entries(palette).items()}


def class_ids(palette: str) -> dict[str, int]:
    """Return the ids of a palette by Cityscapes' class names."""
    return {name: entry["id"] for name, entry in class_entries(palette).items()}


def class_entries(palette: str) -> dict[str, dict]:
    listed = json.loads((PALETTES / f"{palette}.json").read_text(encoding="utf-8"))["classes"]
    entries = {entry["name"]: entry for entry in listed}
    return entries | {ours: entries[theirs] for ours, theirs in SAME_IN_ADE20K.items() if theirs in entries}


def draw(scene: Scene, classes: dict[str, Colour] | None = None) -> Image.Image:
    """Draw a scene: its picture or, given a colour for each class, its label map."""
    drawing = Drawing(scene, classes)
    draw_sky(drawing)
    draw_ground(drawing)
    for thing in sorted(scene.things, key=painting_order):
        # Whatever is random belongs to the thing: another one beside it changes nothing.
        drawing.random = random.Random(f"{scene.seed} {thing}")
        PAINTERS[type(thing)](drawing, thing)
    return drawing.finished()


def draw_mask(scene: Scene, wanted: Thing) -> Image.Image:
    """Draw where one thing is visible: white on black."""
    names = class_colours("cityscapes19")
    black, white = (dict.fromkeys(names, (value,) * 3) for value in (0, 255))
    drawing = Drawing(scene, black)
    for thing in sorted(scene.things, key=painting_order):
        drawing.classes = white if thing == wanted else black
        PAINTERS[type(thing)](drawing, thing)
    return drawing.finished().convert("L")


def painting_order(thing: Thing) -> tuple[bool, float]:
    """From far to near; houses first, since everything else stands between them."""
    return not isinstance(thing, Block), -(thing.near if isinstance(thing, Block) else thing.z)


def draw_sky(drawing: Drawing) -> None:
    side = SIZE * drawing.scale
    if drawing.classes is not None:
        drawing.shape("sky", (0, 0, 0), [(0, 0), (side, 0), (side, side), (0, side)])
        return
    top, middle, bottom = drawing.look.sky
    horizon = drawing.scene.vanishing[1]
    for row in range(side):
        at = min(1.0, row / side / horizon)
        colour = mix(top, middle, at * 2) if at < 0.5 else mix(middle, bottom, at * 2 - 1)
        drawing.pen.line([(0, row), (side, row)], fill=colour)
    x, y, radius, colour = drawing.look.sun
    for ring in range(6, -1, -1):
        glow = mix(colour, drawing.image.getpixel((round(x * side), round(y * side))), ring / 7)
        drawing.disc(None, glow, (x * side, y * side), radius * side * (1 + ring * 0.28))
    for x, y, width in drawing.scene.clouds:
        for dx, dy, r in ((-0.34, 0.02, 0.16), (-0.12, -0.05, 0.22), (0.12, -0.02, 0.2), (0.34, 0.03, 0.14)):
            box = [(x + dx * width - r * width), (y + dy * width - r * width * 0.55)]
            box += [(x + dx * width + r * width), (y + dy * width + r * width * 0.55)]
            drawing.pen.ellipse([part * side for part in box], fill=drawing.look.clouds)


def draw_ground(drawing: Drawing) -> None:
    look, p = drawing.look, drawing.project
    bands = ((60.0, "terrain", look.grass), (PAVEMENT, "sidewalk", look.pavement), (ROAD, "road", look.road))
    for half, name, colour in bands:
        for z_near, z_far in strips():
            corners = [p(-half, 0, z_near), p(half, 0, z_near), p(half, 0, z_far), p(-half, 0, z_far)]
            drawing.shape(name, drawing.hazy(colour, z_near), corners)
    kerb = mix(look.pavement, (255, 255, 255), 0.25)
    for z_near, z_far in strips():
        for side in (-1, 1):
            at, width = side * ROAD, 0.18 * side
            strip = [p(at, 0, z_near), p(at + width, 0, z_near), p(at + width, 0, z_far), p(at, 0, z_far)]
            drawing.detail(drawing.hazy(kerb, z_near), strip)
    z = NEAR + 1.0
    while z < 60:
        dash = [p(-0.09, 0, z), p(0.09, 0, z), p(0.09, 0, z + 2.2), p(-0.09, 0, z + 2.2)]
        drawing.detail(drawing.hazy(look.lines, z), dash)
        z += 4.4


def strips() -> list[tuple[float, float]]:
    """The ground in pieces of depth, so that haze can grow with the distance."""
    edges = [1.5 * (400 / 1.5) ** (i / 28) for i in range(29)]
    return list(zip(edges[:-1], edges[1:], strict=True))[::-1]


def draw_block(drawing: Drawing, block: Block) -> None:
    p, look, rng = drawing.project, drawing.look, drawing.random
    at = block.side * block.setback
    away = block.side * (block.setback + 14)
    colour = look.facades[rng.randrange(len(look.facades))]
    near, far, height = max(block.near, NEAR - 0.6), block.far, block.height
    front = [p(at, 0, near), p(away, 0, near), p(away, height, near), p(at, height, near)]
    drawing.shape("building", drawing.hazy(mix(colour, (0, 0, 0), 0.22), near), front)
    steps = 10
    for i in range(steps):
        a, b = (near + (far - near) * (i + k) / steps for k in (0, 1))
        side = [p(at, 0, a), p(at, 0, b), p(at, height, b), p(at, height, a)]
        drawing.shape("building", drawing.hazy(colour, (a + b) / 2), side)
    floors = max(2, int(height / 3.2))
    columns = max(2, int((far - near) / 3.0))
    for floor in range(floors):
        y = 1.1 + floor * (height - 1.2) / floors
        for column in range(columns):
            z = near + (column + 0.28) * (far - near) / columns
            glass = look.windows[rng.randrange(len(look.windows))]
            pane = [p(at, y, z), p(at, y, z + 1.4), p(at, y + 1.5, z + 1.4), p(at, y + 1.5, z)]
            drawing.detail(drawing.hazy(glass, z), pane)
    rim = [p(at, height, near), p(at, height, far), p(at, height - 0.35, far), p(at, height - 0.35, near)]
    drawing.detail(drawing.hazy(mix(colour, (255, 255, 255), 0.3), near), rim)


def draw_car(drawing: Drawing, car: Car) -> None:
    """A car seen from behind."""
    look = drawing.look
    paint = drawing.hazy(look.cars[car.colour % len(look.cars)], car.z)
    dark, shade = drawing.hazy((24, 24, 28), car.z), mix(paint, (0, 0, 0), 0.3)

    def at(points: Sequence[Point]) -> list[Point]:
        return [drawing.project(car.x + x, y, car.z) for x, y in points]

    drawing.detail(
        mix(drawing.hazy(look.road, car.z), (0, 0, 0), 0.4), at([(-1.1, 0), (1.1, 0), (1.0, 0.22), (-1.0, 0.22)])
    )
    for side in (-1, 1):
        drawing.shape("car", dark, at([(side * 0.92, 0), (side * 0.6, 0), (side * 0.6, 0.4), (side * 0.92, 0.4)]))
    drawing.shape("car", paint, at([(-0.98, 0.22), (0.98, 0.22), (1.0, 0.92), (-1.0, 0.92)]))
    drawing.shape("car", paint, at([(-0.94, 0.9), (0.94, 0.9), (0.68, 1.5), (-0.68, 1.5)]))
    drawing.detail(drawing.hazy(look.glass, car.z), at([(-0.78, 0.96), (0.78, 0.96), (0.58, 1.42), (-0.58, 1.42)]))
    drawing.detail(shade, at([(-0.98, 0.22), (0.98, 0.22), (0.98, 0.44), (-0.98, 0.44)]))
    for side in (-1, 1):
        lamp = [(side * 0.95, 0.62), (side * 0.62, 0.62), (side * 0.62, 0.82), (side * 0.95, 0.82)]
        drawing.detail(drawing.hazy(look.lights, car.z, 0.3), at(lamp))
    drawing.detail(drawing.hazy((236, 236, 230), car.z), at([(-0.26, 0.5), (0.26, 0.5), (0.26, 0.66), (-0.26, 0.66)]))


def draw_tree(drawing: Drawing, tree: Tree) -> None:
    look, rng, p = drawing.look, drawing.random, drawing.project
    unit = p(1, 0, tree.z)[0] - p(0, 0, tree.z)[0]
    foot, crown = tree.height * 0.4, tree.height * 0.68
    width = 0.16
    trunk = [p(tree.x - width, 0, tree.z), p(tree.x + width, 0, tree.z)]
    trunk += [p(tree.x + width * 0.7, foot + 0.6, tree.z), p(tree.x - width * 0.7, foot + 0.6, tree.z)]
    drawing.shape("vegetation", drawing.hazy(look.trunk, tree.z), trunk)
    bulk = tree.height * 0.2
    places = [(-0.75, -0.25), (0.75, -0.3), (-0.4, 0.5), (0.45, 0.45), (0, 0.05), (0, 0.95)]
    for dx, dy in places:
        centre = p(tree.x + dx * bulk, crown + dy * bulk, tree.z)
        drawing.disc("vegetation", drawing.hazy(look.leaves[0], tree.z), centre, unit * bulk)
    for tone, (reach, count) in enumerate(((0.42, 26), (0.3, 22)), start=1):
        for _ in range(count):
            dx, dy = places[rng.randrange(len(places))]
            angle, distance = rng.random() * math.tau, rng.random() * 0.62
            x = tree.x + (dx + math.cos(angle) * distance - 0.08 * tone) * bulk
            y = crown + (dy + math.sin(angle) * distance + 0.12 * tone) * bulk
            drawing.disc(None, drawing.hazy(look.leaves[tone], tree.z), p(x, y, tree.z), unit * bulk * reach * 0.6)


def draw_lamp(drawing: Drawing, lamp: Lamp) -> None:
    look, p = drawing.look, drawing.project
    metal = drawing.hazy(look.metal, lamp.z)
    inward = -math.copysign(1.0, lamp.x)
    for x0, y0, x1, y1 in (
        (-0.09, 0, 0.09, 6.2),
        (0, 6.05, inward * 1.5, 6.25),
        (inward * 0.9, 5.85, inward * 1.6, 6.08),
    ):
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        drawing.shape("pole", metal, [p(lamp.x + x, y, lamp.z) for x, y in corners])


def draw_sign(drawing: Drawing, sign: Sign) -> None:
    look, p = drawing.look, drawing.project
    corners = [(-0.06, 0), (0.06, 0), (0.06, 2.6), (-0.06, 2.6)]
    drawing.shape("pole", drawing.hazy(look.metal, sign.z), [p(sign.x + x, y, sign.z) for x, y in corners])
    for name, colour, reach in (("traffic sign", look.sign, 0.42), (None, mix(look.sign, (255, 255, 255), 0.85), 0.2)):
        radius = p(reach, 0, sign.z)[0] - p(0, 0, sign.z)[0]
        drawing.disc(name, drawing.hazy(colour, sign.z), p(sign.x, 2.8, sign.z), radius)


def draw_person(drawing: Drawing, person: Person) -> None:
    look, p = drawing.look, drawing.project

    def at(points: Sequence[Point]) -> list[Point]:
        return [p(person.x + x, y, person.z) for x, y in points]

    trousers = drawing.hazy(mix(look.glass, (0, 0, 0), 0.3), person.z)
    for side in (-1, 1):
        drawing.shape(
            "person", trousers, at([(side * 0.02, 0.9), (side * 0.2, 0.9), (side * 0.2, 0), (side * 0.06, 0)])
        )
    coat = drawing.hazy(look.clothes[person.clothes % len(look.clothes)], person.z)
    drawing.shape("person", coat, at([(-0.27, 0.8), (0.27, 0.8), (0.24, 1.45), (-0.24, 1.45)]))
    radius = p(0.14, 0, person.z)[0] - p(0, 0, person.z)[0]
    drawing.disc("person", drawing.hazy(look.skin, person.z), p(person.x, 1.6, person.z), radius)


PAINTERS: dict[type, Callable[[Drawing, Thing], None]] = {
    Block: draw_block,
    Car: draw_car,
    Tree: draw_tree,
    Lamp: draw_lamp,
    Sign: draw_sign,
    Person: draw_person,
}

DAY_STREET = Scene(
    look=DAY,
    vanishing=(0.46, 0.47),
    clouds=((0.22, 0.12, 0.2), (0.55, 0.2, 0.14)),
    seed=1,
    things=(
        Block(-1, 40, 62, 11),
        Block(-1, 24, 39, 15),
        Block(-1, 9, 22, 12),
        Block(1, 46, 70, 10),
        Block(1, 20, 44, 13),
        Tree(7.8, 15),
        Tree(7.8, 26),
        Tree(-7.8, 20, 5.5),
        Lamp(-5.6, 17),
        Lamp(5.6, 24),
        Sign(5.4, 10.5),
        Person(-5.9, 13, 0),
        Person(-6.5, 14, 1),
        Person(6.0, 16, 2),
        Car(-2.2, 15, 1),
        Car(2.2, 9.0, 0),
        Car(2.0, 20, 2),
    ),
)

DUSK_STREET = Scene(
    look=DUSK,
    vanishing=(0.55, 0.49),
    clouds=((0.75, 0.14, 0.22), (0.45, 0.08, 0.14), (0.5, 0.3, 0.1)),
    seed=2,
    things=(
        Block(-1, 50, 72, 8),
        Block(-1, 14, 26, 9),
        Block(1, 42, 66, 14),
        Block(1, 25, 40, 18),
        Block(1, 9, 23, 13),
        Tree(-7.8, 30, 6.5),
        Tree(-7.8, 14.5, 5.0),
        Tree(7.8, 28, 5.0),
        Lamp(5.6, 16),
        Lamp(-5.6, 19),
        Sign(-5.3, 15),
        Person(5.9, 14, 1),
        Person(-6.1, 11.5, 0),
        Car(-2.2, 8.6, 1),
        Car(2.2, 13, 2),
        Car(-2.0, 22, 3),
    ),
)

WIDE_AVENUE = Scene(
    look=replace(DAY, facades=((198, 190, 182), (172, 158, 150), (210, 196, 170))),
    vanishing=(0.5, 0.45),
    clouds=((0.62, 0.13, 0.24), (0.3, 0.22, 0.16)),
    seed=3,
    things=(
        Block(-1, 34, 60, 16),
        Block(-1, 12, 30, 10),
        Block(1, 30, 60, 12),
        Block(1, 10, 26, 16),
        Tree(-7.8, 16, 5.6),
        Tree(-7.8, 25, 6.0),
        Tree(7.8, 26, 6.0),
        Lamp(5.6, 18),
        Sign(-5.4, 12.5),
        Person(6.1, 12.5, 0),
        Car(2.3, 11.5, 3),
        Car(-2.1, 18, 0),
    ),
)

PARK_ROAD = Scene(
    look=DAY,
    vanishing=(0.42, 0.5),
    seed=4,
    things=(
        Block(-1, 44, 66, 9),
        Block(1, 13, 34, 11),
        Block(1, 40, 66, 15),
        Tree(-7.8, 9.5, 6.5),
        Tree(-7.9, 14, 5.8),
        Tree(-7.8, 20, 6.5),
        Tree(-7.8, 29, 6.0),
        Tree(-8.4, 38, 6.0),
        Tree(7.8, 12, 5.0),
        Lamp(-5.6, 16),
        Person(5.8, 10, 2),
        Person(6.3, 10.6, 0),
        Car(-2.2, 10, 2),
        Car(2.2, 16, 1),
    ),
)

# The same avenue after an edit: a car more on the left, a tree in front of the house on the right.
EDITED_AVENUE = replace(WIDE_AVENUE, things=(*WIDE_AVENUE.things, Car(-2.2, 9.0, 1), Tree(7.7, 15.5, 7.0)))

MASKS = {
    "exemplar_day_white_car": (DAY_STREET, Car(-2.2, 15, 1)),
    "exemplar_day_red_car": (DAY_STREET, Car(2.2, 9.0, 0)),
    "target_avenue_left_car": (WIDE_AVENUE, Car(-2.1, 18, 0)),
    "target_avenue_right_car": (WIDE_AVENUE, Car(2.3, 11.5, 3)),
}


# Strokes of a round brush, as a user would paint a street: class, diameter, corners of the line.
STROKES = (
    ("building", 130, ((30, 120), (40, 250), (110, 230), (60, 150))),
    ("building", 100, ((480, 90), (470, 260), (400, 250), (440, 160))),
    ("sidewalk", 80, ((40, 490), (212, 334))),
    ("sidewalk", 80, ((472, 490), (300, 334))),
    ("road", 150, ((160, 490), (256, 390), (352, 490), (220, 490))),
    ("road", 70, ((256, 420), (256, 328))),
    ("pole", 8, ((138, 360), (138, 190))),
    ("vegetation", 26, ((395, 350), (395, 250))),
    ("vegetation", 90, ((370, 215), (420, 190), (400, 240))),
    ("car", 46, ((168, 420), (226, 420))),
    ("car", 34, ((180, 398), (214, 398))),
    ("car", 26, ((290, 345), (318, 345))),
    ("car", 18, ((296, 332), (312, 332))),
    ("person", 16, ((440, 400), (440, 430))),
    ("person", 14, ((440, 386), (440, 386))),
)


def draw_painting(palette: str) -> Image.Image:
    """Paint a street in class ids, as the Semantic Painter keeps it: grey, 16 bits."""
    numbers = class_ids(palette)
    picture = Image.new("L", (SIZE, SIZE), numbers["sky"])
    brush = ImageDraw.Draw(picture)
    brush.rectangle((0, 290, SIZE, SIZE), fill=numbers["terrain"])
    for name, size, corners in STROKES:
        brush.line(corners, fill=numbers[name], width=size)
        for x, y in corners:
            brush.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=numbers[name])
    return picture.convert("I;16")


def main() -> None:
    INPUTS.mkdir(parents=True, exist_ok=True)
    PAINTINGS.mkdir(parents=True, exist_ok=True)
    pictures = {"exemplar_day": DAY_STREET, "exemplar_dusk": DUSK_STREET, "target_avenue": WIDE_AVENUE}
    label_maps = pictures | {"target_park": PARK_ROAD, "target_avenue_edited": EDITED_AVENUE}
    for name, scene in pictures.items():
        draw(scene).save(INPUTS / f"am_{name}.png", optimize=True)
    for palette in ("cityscapes19", "ade20k150"):
        colours = class_colours(palette)
        for name, scene in label_maps.items():
            draw(scene, colours).save(INPUTS / f"am_{name}_{palette}.png", optimize=True)
        draw_painting(palette).save(PAINTINGS / f"street_{palette}.png", optimize=True)
    for name, (scene, thing) in MASKS.items():
        draw_mask(scene, thing).save(INPUTS / f"am_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
