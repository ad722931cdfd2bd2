"""What a pixel is made of: the identity that corresponds between two scenes of one appearance.

A material belongs to one class. Names that end in _0 and _1 are two slots: an appearance gives each its own look, a
layout says which objects have which. Numbers are stable: new materials go to the end.
"""

from __future__ import annotations

from enum import IntEnum, auto

import numpy as np

from ..palettes import Palette


class Material(IntEnum):
    """The value of a pixel in `Scene.materials`."""

    SKY = 0
    ROAD = auto()
    MARKING = auto()
    PAVEMENT = auto()
    KERB = auto()
    GRASS = auto()
    HILL = auto()
    SKYLINE = auto()
    TREELINE = auto()
    WALL_0 = auto()
    WALL_1 = auto()
    # between the windows of one column
    SPANDREL_0 = auto()
    SPANDREL_1 = auto()
    # a band around the house between two floors
    COURSE_0 = auto()
    COURSE_1 = auto()
    FRAME_0 = auto()
    FRAME_1 = auto()
    WINDOW_0 = auto()
    WINDOW_1 = auto()
    SHOPFRONT_0 = auto()
    SHOPFRONT_1 = auto()
    AWNING_0 = auto()
    AWNING_1 = auto()
    ROOF_0 = auto()
    ROOF_1 = auto()
    CROWN = auto()
    CROWN_TOP = auto()
    FIR = auto()
    FIR_TOP = auto()
    TRUNK = auto()
    HEDGE = auto()
    HEDGE_TOP = auto()
    PAINT_0 = auto()
    PAINT_1 = auto()
    CAR_WINDOW = auto()
    TYRE = auto()
    BUMPER = auto()
    HEADLIGHT = auto()
    TAILLIGHT = auto()
    PLATE = auto()
    SKIN = auto()
    HAIR = auto()
    TOP_0 = auto()
    TOP_1 = auto()
    TROUSERS_0 = auto()
    TROUSERS_1 = auto()
    SHOES = auto()
    BAG = auto()
    POLE = auto()
    LAMP = auto()
    SIGN_RIM = auto()
    SIGN_FACE = auto()
    SIGN_SYMBOL = auto()

    def slot(self, number: int) -> Material:
        """The same part in slot 0 or 1; call it on the part's slot 0."""
        return Material(self + number)


PALETTE = "cityscapes19"

# A material's class is that of the last name here that does not come after it.
_FIRST_OF_CLASS = {
    Material.SKY: "sky",
    Material.ROAD: "road",
    Material.PAVEMENT: "sidewalk",
    Material.GRASS: "terrain",
    Material.SKYLINE: "building",
    Material.TREELINE: "vegetation",
    Material.WALL_0: "building",
    Material.CROWN: "vegetation",
    Material.PAINT_0: "car",
    Material.SKIN: "person",
    Material.POLE: "pole",
    Material.SIGN_RIM: "traffic sign",
}


def _class_ids() -> np.ndarray:
    palette = Palette.load(PALETTE)
    ids = np.zeros(len(Material), np.uint8)
    for first, name in _FIRST_OF_CLASS.items():
        ids[first:] = palette.id_of(name)
    return ids


# [M] uint8: the train id of each material.
CLASS_IDS = _class_ids()
CLASS_NAMES = tuple(dict.fromkeys(_FIRST_OF_CLASS.values()))
