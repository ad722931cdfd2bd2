"""Pairs of picture and label map for a training run: a folder of them, or what is connected, written into one.

A run reads its pairs from files, so that it can go on later; what is connected is written once, lossless, under a
name that follows from its content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
from PIL import Image
from torch import Tensor

from ...label_maps import LabelMap, check_same_aspect
from ...palettes import Palette
from ...whole_files import write_whole
from .folders import load_palette

READINGS = ("ids", "colours")
_APPEARANCE = "connected"
"""Connected pictures share one sub-folder, so they count as one appearance."""


@dataclass(frozen=True)
class PairSource:
    """Where the pairs of a run come from.

    :param images: batches [B, H, W, 3] in 0..1, of any sizes.
    :param labels: as many label maps, in the same order.
    :param folder: with `images/` and `labels/`; a full path, or a place in ComfyUI's input folder. "" is none.
    :param palette: class table of the label maps in the folder, as `folders.load_palette` knows it.
    :param reading: whether those hold "ids" or "colours".
    """

    images: Sequence[Tensor]
    labels: Sequence[LabelMap]
    folder: str = ""
    palette: str = "cityscapes19"
    reading: str = "ids"

    def settings(self, run: Path) -> dict[str, Any]:
        """The settings of the data set, as `training.config.Data` has them.

        :param run: folder of the run.
        :raises ValueError: when there are no pairs, or pictures and label maps do not fit each other.
        """
        connected = bool(self.images or self.labels)
        if connected == bool(self.folder.strip()):
            raise ValueError(
                "there are both connected pictures and a folder; disconnect the pictures or empty folder"
                if connected
                else "there are no pairs; connect images and labels, or name a folder that has images/ and labels/"
            )
        if not connected:
            palette = _palette_setting(load_palette(self.palette), run)
            return {"root": str(folder_of(self.folder)), "palette": palette, "labels": self.reading}
        pictures, maps, palette = _pairs(self.images, self.labels)
        return {"root": str(_write(pictures, maps, run)), "palette": _palette_setting(palette, run), "labels": "ids"}


def folder_of(name: str) -> Path:
    """A folder by its full path, or its place in ComfyUI's input folder."""
    return Path(folder_paths.get_input_directory(), Path(name.strip()).expanduser()).resolve()


def folder_state(name: str) -> str:
    """What changes when the files of a folder do; "" where there is none."""
    if not name.strip():
        return ""
    files = [path for path in sorted(folder_of(name).rglob("*")) if path.is_file()]
    stamps = [f"{path}:{(state := path.stat()).st_mtime_ns}:{state.st_size}" for path in files]
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()


def _pairs(images: Sequence[Tensor], labels: Sequence[LabelMap]) -> tuple[list[np.ndarray], list[np.ndarray], Palette]:
    """Pictures [H, W, 3] uint8 and their ids [H, W], one by one."""
    pictures = [picture for batch in images for picture in batch[..., :3]]
    maps = [(batch, row) for batch in labels for row in range(batch.batch)]
    if len(pictures) != len(maps):
        raise ValueError(
            f"{len(pictures)} pictures with {len(maps)} label maps, expected one label map for each picture"
        )
    palette = labels[0].palette
    if any(batch.palette.to_dict() != palette.to_dict() for batch in labels):
        names = ", ".join(dict.fromkeys(batch.palette.name for batch in labels))
        raise ValueError(f"the label maps follow several palettes ({names}); read all of them in one")
    ids = []
    for number, (picture, (batch, row)) in enumerate(zip(pictures, maps, strict=True)):
        size = tuple(picture.shape[:2])
        check_same_aspect(f"picture {number}", size, batch, 1)
        if not bool(picture.isfinite().all()):
            raise ValueError(f"picture {number} holds values that are not finite; make it anew")
        one = LabelMap(batch.ids[row : row + 1], palette, batch.ignore).resize(*size).ids[0]
        if palette.ignore is not None and batch.ignore is not None:
            one = one.where(one != batch.ignore, palette.ignore)
        ids.append(one.numpy().astype(np.uint16 if one.max() > 255 else np.uint8))
    return [(picture.clamp(0, 1) * 255).round().byte().cpu().numpy() for picture in pictures], ids, palette


def _write(pictures: Sequence[np.ndarray], maps: Sequence[np.ndarray], run: Path) -> Path:
    """Write pairs as a data set of the kind `folder`, unless the same ones are there."""
    content = hashlib.sha256()
    for array in (*pictures, *maps):
        content.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    folder = run / f"pairs-{content.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for kind, arrays in (("images", pictures), ("labels", maps)):
        place = partial / kind / _APPEARANCE
        place.mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(place / f"{number:05}.png")
    os.replace(partial, folder)
    return folder


def _palette_setting(palette: Palette, run: Path) -> str:
    """A built-in palette's name, or the file that a copy of it was written to."""
    if palette.name in Palette.builtin_names() and Palette.load(palette.name) == palette:
        return palette.name
    text = json.dumps(palette.to_dict(), indent=1)
    path = run / f"palette-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    write_whole(path, text.encode())
    return str(path)
