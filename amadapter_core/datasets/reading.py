"""What the files of a label map hold: ids, colours, or one mask per part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..label_maps import LabelMap, Palette
from ..picture_files import open_picture
from ..remapping import Remapping


class Reader(Protocol):
    """Turns the files of one label map into a label map of batch 1 in a palette."""

    def __call__(self, files: Sequence[Path], palette: Palette) -> LabelMap: ...


@dataclass(frozen=True)
class Ids:
    """One picture of class ids.

    :param offset: added to the ids of the file, see `LabelMap.from_ids`; likewise `void`.
    :param table: name of the palette whose ids the file holds. A palette of other ids gets them by class names, and
        what it leaves out belongs to no class. None: the ids are those of the palette, whichever it is.
    """

    offset: int = 0
    void: tuple[int, ...] = ()
    table: str | None = None

    def __call__(self, files: Sequence[Path], palette: Palette) -> LabelMap:
        own = palette if self.table is None else Palette.load(self.table)
        picture = open_picture(files[0])
        if (palette.ids, palette.ignore) == (own.ids, own.ignore):
            own = palette
        labels = LabelMap.from_ids(picture, own, offset=self.offset, void=self.void)
        return labels if own is palette else Remapping.by_name(own, palette)(labels)


@dataclass(frozen=True)
class Colours:
    """One picture in the palette's colours."""

    def __call__(self, files: Sequence[Path], palette: Palette) -> LabelMap:
        return LabelMap.from_colours(open_picture(files[0]), palette)


@dataclass(frozen=True)
class Parts:
    """One mask per part, in files whose names end in the part's: 00012_hair.png. Later classes lie over earlier ones.

    Pixels in no mask are of the palette's first class, the background.
    """

    def __call__(self, files: Sequence[Path], palette: Palette) -> LabelMap:
        parts = {path.stem.partition("_")[2]: path for path in files}
        foreign = sorted(set(parts) - set(palette.names))
        if foreign:
            raise ValueError(f"{files[0].parent} has masks of {', '.join(foreign)}, which {palette.name!r} does not")
        ids = None
        for label, name in zip(palette.ids, palette.names, strict=True):
            if name not in parts:
                continue
            mask = np.array(open_picture(parts[name]).convert("L")) != 0
            if ids is None:
                ids = np.full(mask.shape, palette.ids[0])
            if mask.shape != ids.shape:
                (h, w), (oh, ow) = mask.shape, ids.shape
                raise ValueError(f"{parts[name]} is {h} x {w}, other parts are {oh} x {ow} (height x width)")
            ids[mask] = label
        return LabelMap(torch.from_numpy(ids)[None], palette)
