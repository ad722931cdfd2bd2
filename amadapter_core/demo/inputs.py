"""The input pictures of the demonstration's example workflows: held-out scenes, their label maps, masks of cars and
windows, and a folder of streets to find exemplars in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..label_maps import LabelMap
from ..palettes import Palette
from .seeds import HELD_OUT

if TYPE_CHECKING:
    from ..scenes import Scene

PREFIX = "am_demo_"
FIRST = HELD_OUT[-100_000]
"""Far from the triples that are measured."""

# Layout and appearance, counted from FIRST.
EXEMPLARS = {"exemplar_day": (14, 10), "exemplar_dusk": (7, 4)}
TARGETS = {"target_avenue": (9, 10), "target_park": (18, 10)}
MASKED = ("exemplar_day", "target_avenue")
ADDED = {"car": 14, "vegetation": 18}
"""What the edit paints into the avenue's map: the largest thing of a class of another layout."""
EDITED = "target_avenue_edited"
STREETS = "streets"
COUNT = 8
"""Pairs in the folder of streets; each has a layout and an appearance of its own."""


def write_inputs(folder: Path, size: tuple[int, int]) -> list[str]:
    """Write all pictures; what is there under their names is replaced.

    :param size: (H, W) in pixels.
    :return: the names of the files.
    """
    from ..scenes import scene
    from ..scenes.materials import Material

    palette = Palette.load("cityscapes19")
    scenes = {name: scene(FIRST + layout, FIRST + look, size) for name, (layout, look) in (EXEMPLARS | TARGETS).items()}
    maps = {name: drawn.ids for name, drawn in scenes.items()}
    maps[EDITED] = maps["target_avenue"].copy()
    for label, layout in ADDED.items():
        other = scene(FIRST + layout, FIRST, size)
        number = palette.id_of(label)
        maps[EDITED][_largest(other, number, 1)[0]] = number
    pictures = {name: Image.fromarray(drawn.image) for name, drawn in scenes.items() if name != "target_park"}
    pictures |= {f"{name}_{palette.name}": _picture(ids, palette) for name, ids in maps.items()}
    for name in MASKED:
        cars = sorted(_largest(scenes[name], palette.id_of("car"), 2), key=lambda mask: np.nonzero(mask)[1].mean())
        for side, mask in zip(("left", "right"), cars, strict=True):
            pictures[f"{name}_{side}_car"] = Image.fromarray(mask).convert("RGB")
        windows = [Material[part] for part in ("WINDOW_0", "WINDOW_1", "SHOPFRONT_0", "SHOPFRONT_1", "CAR_WINDOW")]
        pictures[f"{name}_windows"] = Image.fromarray(np.isin(scenes[name].materials, windows)).convert("RGB")
    for number in range(COUNT):
        street = scene(FIRST + 20 + number, FIRST + 20 + number, size)
        pictures[f"{STREETS}/images/street_{number}"] = Image.fromarray(street.image)
        pictures[f"{STREETS}/labels/street_{number}"] = _picture(street.ids, palette)
    for name, picture in pictures.items():
        path = folder / f"{PREFIX}{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, optimize=True)
    return sorted(f"{PREFIX}{name}.png" for name in pictures)


def _largest(drawn: Scene, label: int, count: int) -> Sequence[np.ndarray]:
    """Masks [H, W] of the largest things of a class."""
    numbers, pixels = np.unique(drawn.instances[(drawn.ids == label) & (drawn.instances > 0)], return_counts=True)
    chosen = numbers[np.argsort(-pixels, kind="stable")]
    if len(chosen) < count:
        raise ValueError(f"demo inputs: a scene has {len(chosen)} things of class {label}, expected {count}")
    return [(drawn.instances == number) & (drawn.ids == label) for number in chosen[:count]]


def _picture(ids: np.ndarray, palette: Palette) -> Image.Image:
    colours = LabelMap.from_ids(ids, palette).colours()[0]
    return Image.fromarray((colours * 255).round().byte().numpy())
