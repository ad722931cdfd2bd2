"""Procedural scenes as a data set, drawn on the fly or once and for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..palettes import Palette
from .config import Data
from .pairs import Example, Pairs
from .store import fill_store, store_folder


class Scenes(Pairs):
    """Procedural street scenes; see `amadapter_core.scenes`."""

    def __init__(self, data: Data):
        _check(data.appearances >= 1 and data.layouts >= 1, f"scenes: {data.appearances} appearances x {data.layouts}")
        self.data = data
        self.palette = Palette.load(data.palette)
        self.count = data.appearances * data.layouts if data.limit is None else data.limit
        _check(0 < self.count <= data.appearances * data.layouts, f"scenes: limit {data.limit}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        from ..scenes import scene

        # Every scene has a layout of its own, so that a layout says nothing about an appearance.
        layout = self.data.first + index
        appearance = self.data.first + index // self.data.layouts
        drawn = scene(layout, appearance, self.data.size)
        name = f"scene(layout={layout}, appearance={appearance})"
        return Example(drawn.image, drawn.ids, name, drawn.caption, drawn.materials)

    def partners(self, index: int) -> Sequence[int]:
        start = index // self.data.layouts * self.data.layouts
        return [i for i in range(start, min(start + self.data.layouts, self.count)) if i != index]

    def describe(self) -> dict[str, Any]:
        names = ("kind", "size", "layouts", "first")
        # A few pictures stand for the code that draws them: when it changes, so do they.
        drawn = [self[index] for index in sorted({0, self.count // 2, self.count - 1})]
        pictures = [hashlib.sha256(x.image.tobytes() + x.materials.tobytes()).hexdigest() for x in drawn]
        return {name: asdict(self.data)[name] for name in names} | {"count": self.count, "pictures": pictures}


class Kept(Pairs):
    """Scenes drawn once and read from a store ever after.

    :param folder: where stores lie.
    :param rank: of this process among `ranks` that draw together; `wait` is their meeting point.
    """

    def __init__(
        self, scenes: Scenes, folder: str | Path, rank: int = 0, ranks: int = 1, wait: Callable[[], None] = lambda: None
    ):
        self.scenes, self.palette = scenes, scenes.palette
        count, (h, w) = len(scenes), scenes.data.size
        shapes = {
            "image": ("uint8", (count, h, w, 3)),
            "ids": ("uint8", (count, h, w)),
            "materials": ("int16", (count, h, w)),
            "caption": ("<U96", (count,)),
        }

        def draw(arrays: dict[str, np.ndarray], rows: Sequence[int]) -> None:
            for row in rows:
                example = scenes[row]
                arrays["image"][row], arrays["ids"][row] = example.image, example.ids
                arrays["materials"][row], arrays["caption"][row] = example.materials, example.caption

        place = store_folder(folder, scenes.describe())
        self.arrays = fill_store(place, shapes, draw, count, rank, ranks, wait)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Example:
        image, ids, materials = (np.array(self.arrays[name][index]) for name in ("image", "ids", "materials"))
        return Example(image, ids, f"scene {index}", str(self.arrays["caption"][index]), materials)

    def partners(self, index: int) -> Sequence[int]:
        return self.scenes.partners(index)

    def describe(self) -> dict[str, Any]:
        return self.scenes.describe()


def _check(sound: bool, what: str) -> None:
    if not sound:
        raise ValueError(f"training data: {what}; expected at least one pair, and no more than there are")
