"""Houses, cars, trees, lamps, signs and people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .drawing import NEAR, Drawing
from .looks import mix
from .things import Block, Car, Lamp, Person, Point, Sign, Thing, Tree


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
            drawing.window(drawing.hazy(glass, z), pane)
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
    drawing.window(drawing.hazy(look.glass, car.z), at([(-0.78, 0.96), (0.78, 0.96), (0.58, 1.42), (-0.58, 1.42)]))
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
