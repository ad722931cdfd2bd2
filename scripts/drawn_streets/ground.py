"""Sky, road, pavement and verge."""

from __future__ import annotations

from .drawing import NEAR, SIZE, Drawing
from .looks import mix
from .things import PAVEMENT, ROAD


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
