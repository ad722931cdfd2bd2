"""Pictures, label maps and masks of scenes."""

from __future__ import annotations

import random

from PIL import Image

from .classes import class_colours
from .drawing import Drawing
from .ground import draw_ground, draw_sky
from .looks import Colour
from .objects import PAINTERS
from .things import Block, Scene, Thing

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


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
    black, white = (dict.fromkeys(class_colours("cityscapes19"), colour) for colour in (BLACK, WHITE))
    drawing = Drawing(scene, black)
    for thing in sorted(scene.things, key=painting_order):
        drawing.classes = white if thing == wanted else black
        PAINTERS[type(thing)](drawing, thing)
    return drawing.finished().convert("L")


def draw_windows(scene: Scene) -> Image.Image:
    """Draw where the windows of houses and cars are visible: white on black."""
    drawing = Drawing(scene, dict.fromkeys(class_colours("cityscapes19"), BLACK), WHITE)
    for thing in sorted(scene.things, key=painting_order):
        PAINTERS[type(thing)](drawing, thing)
    return drawing.finished().convert("L")


def painting_order(thing: Thing) -> tuple[bool, float]:
    """From far to near; houses first, since everything else stands between them."""
    return not isinstance(thing, Block), -(thing.near if isinstance(thing, Block) else thing.z)
