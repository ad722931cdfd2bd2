"""Procedural street scenes: any layout in any appearance.

A scene is drawn from two seeds. The layout says what stands where, the appearance says what it looks like. Two scenes
with the same appearance and other layouts are an exemplar and the ground truth of its transfer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .appearance import VOCABULARY, draw_appearance
from .layout import draw_layout
from .materials import CLASS_NAMES, PALETTE, Material
from .rendering import render

__all__ = ["CLASS_NAMES", "PALETTE", "SMALLEST", "VOCABULARY", "Material", "Scene", "scene"]

# Pixels: below this nothing but the largest things can be told.
SMALLEST = 32


@dataclass(frozen=True)
class Scene:
    """A street scene.

    :param image: [H, W, 3] uint8.
    :param ids: [H, W] uint8, train ids of the palette cityscapes19.
    :param instances: [H, W] int32, 0 where there is no object (sky, ground), else a number per object.
    :param materials: [H, W] int16, numbers of `Material`. Pixels of two scenes with one appearance correspond where
        their materials are equal.
    :param caption: time of day and weather, in words of `VOCABULARY`.
    """

    image: np.ndarray
    ids: np.ndarray
    instances: np.ndarray
    materials: np.ndarray
    caption: str


def scene(layout: int, appearance: int, size: tuple[int, int] = (128, 128)) -> Scene:
    """Draw a scene.

    :param layout: seed of what stands where, from 0.
    :param appearance: seed of what it looks like, from 0.
    :param size: (H, W) in pixels, at least 32 each. Pictures of other sizes show the same central square.
    :raises ValueError: a seed or a size that is no such number.
    """
    for name, seed in (("layout", layout), ("appearance", appearance)):
        if not _whole(seed) or seed < 0:
            raise ValueError(f"scene: {name} must be an integer from 0, got {seed!r}")
    if len(size) != 2 or not all(_whole(side) and side >= SMALLEST for side in size):
        raise ValueError(f"scene: size must be (height, width), integers of at least {SMALLEST}, got {size!r}")
    look = draw_appearance(int(appearance))
    image, ids, instances, materials = render(draw_layout(int(layout)), look, (int(size[0]), int(size[1])))
    return Scene(image, ids, instances, materials, look.caption)


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
