"""Made label maps of streets, by the thousand: crude, but with the classes, shares and places that streets have."""

from __future__ import annotations

import numpy as np

from ..palettes import Palette

PALETTE = "cityscapes19"
SIZE = (256, 512)


def made_labels(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """
    Draw a label map.

    :param seed: from 0; the same gives the same.
    :param size: (H, W).
    :return: [H, W] uint8, ids of PALETTE.
    """
    dice, (h, w) = np.random.default_rng([17, seed]), size
    palette = Palette.load(PALETTE)
    ids = np.full(size, palette.id_of("sky"), np.uint8)
    horizon = round(h * dice.uniform(0.35, 0.6))
    vanishing = w * dice.uniform(0.3, 0.7)
    town = dice.uniform(0, 1)

    def box(name: str, left: float, width: float, top: float, bottom: float) -> None:
        a, b = sorted((round(top), round(bottom)))
        ids[max(0, a) : max(0, b), max(0, round(left)) : max(0, round(left + width))] = palette.id_of(name)

    left = 0.0
    while left < w:
        width = w * dice.uniform(0.03, 0.2)
        name = "building" if dice.random() < town else "vegetation"
        if dice.random() < 0.85:
            box(name, left, width, horizon - h * dice.exponential(0.18), horizon + h * 0.08)
        left += width
    # The ground: each row's borders run to the vanishing point.
    depth = (np.arange(h) - horizon).clip(0) / max(1, h - horizon)
    across = np.arange(w)[None]
    ground = np.arange(h) >= horizon
    verge = "terrain" if dice.random() > town else "sidewalk"
    road, pavement = w * dice.uniform(0.4, 1.1), w * dice.uniform(0.1, 0.5)
    offset = np.abs(across - vanishing - depth[:, None] * w * dice.uniform(-0.2, 0.2))
    ids[ground] = palette.id_of("terrain" if verge == "terrain" else "building")
    ids[ground[:, None] & (offset < (road + pavement) * depth[:, None])] = palette.id_of(verge)
    ids[ground[:, None] & (offset < road * depth[:, None])] = palette.id_of("road")
    for name, most, height, slim in (
        ("pole", 5, 0.5, 0.04),
        ("traffic sign", 3, 0.12, 1.0),
        ("traffic light", 2, 0.14, 0.5),
        ("fence", 2, 0.15, 3.0),
        ("wall", 1, 0.2, 3.0),
        ("person", 6, 0.3, 0.4),
        ("bicycle", 2, 0.2, 1.2),
        ("car", 8, 0.25, 1.4),
        ("truck", 1, 0.4, 1.5),
        ("bus", 1, 0.4, 1.8),
    ):
        for _ in range(dice.integers(0, most + 1)):
            near = dice.uniform(0.1, 1)
            foot, tall = horizon + near * (h - horizon) * 0.8, h * height * near
            box(name, w * dice.uniform(-0.05, 1), tall * slim, foot - tall, foot)
    ids[round(h * dice.uniform(0.9, 1.02)) :] = palette.ignore  # the bonnet
    return ids
