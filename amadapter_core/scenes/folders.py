"""Scenes as files, in the folders of BDD100K or Cityscapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..palettes import Palette
from ..picture_files import write_picture
from ..text_files import read_json
from ..whole_files import write_whole
from . import PALETTE, Scene, scene
from .appearance import draw_appearance

FORMATS = ("bdd100k", "cityscapes")
# What a folder's scenes have in common; a folder that is written on must agree.
RECORD = "scenes.json"
CAPTIONS = "captions.json"
# One appearance in so many is held out for validation.
VAL_EVERY = 10


@dataclass(frozen=True)
class Item:
    """A scene of a folder.

    :param layout: its seeds, as `scene` takes them; likewise `appearance`.
    :param split: "train" or "val".
    """

    layout: int
    appearance: int
    split: str

    @property
    def name(self) -> str:
        """The name of its files, without ending."""
        return f"appearance{self.appearance:06d}_layout{self.layout:06d}"


def items(count: int, layouts_per_appearance: int = 4, seed: int = 0) -> list[Item]:
    """List the first scenes of a folder.

    Every scene has a layout of its own, so that a layout tells nothing about an appearance. Which split an appearance
    belongs to does not depend on the count: a folder can be continued.
    """
    listed = []
    for number in range(count):
        group = number // layouts_per_appearance
        split = "val" if group % VAL_EVERY == 1 else "train"
        listed.append(Item(seed + number, seed + group, split))
    return listed


def write_folder(
    root: str | Path,
    count: int,
    size: tuple[int, int] = (256, 256),
    form: str = "bdd100k",
    *,
    layouts_per_appearance: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> int:
    """Write scenes as pictures and label maps; what is there already is kept.

    Beside them lie `captions.json`, the caption of every picture by its name without the ending, and `scenes.json`,
    what the scenes have in common.

    :param count: how many scenes the folder should hold in the end.
    :param size: (H, W) in pixels.
    :param form: "bdd100k" or "cityscapes".
    :param layouts_per_appearance: how many scenes share an appearance.
    :param seed: of the first layout and the first appearance.
    :param progress: called after each scene.
    :return: how many scenes were drawn; the others were there.
    :raises ValueError: numbers out of range, or a folder of other scenes.
    """
    here, root = "write_folder", Path(root)
    if form not in FORMATS:
        raise ValueError(f"{here}: format must be one of {', '.join(FORMATS)}, got {form!r}")
    least = {"count": 1, "layouts_per_appearance": 1, "seed": 0}
    for name, value in (("count", count), ("layouts_per_appearance", layouts_per_appearance), ("seed", seed)):
        if value < least[name]:
            raise ValueError(f"{here}: {name} must be an integer from {least[name]}, got {value}")
    scene(seed, seed, size)  # a bad size shows before anything is written
    _claim(root, {"format": form, "size": list(size), "layouts_per_appearance": layouts_per_appearance, "seed": seed})
    place = {"bdd100k": _bdd100k, "cityscapes": _cityscapes}[form]
    listed = [(item, place(root, item)) for item in items(count, layouts_per_appearance, seed)]
    captions = {files.image.stem: draw_appearance(item.appearance).caption for item, files in listed}
    _write_json(root / CAPTIONS, _read_json(root / CAPTIONS) | captions)
    drawn = 0
    for done, (item, files) in enumerate(listed, 1):
        if not all(path.is_file() for path in files.paths):
            _write_scene(files, scene(item.layout, item.appearance, size))
            drawn += 1
        progress(done, count)
    return drawn


@dataclass(frozen=True)
class _Files:
    """Where a scene goes; a format has not all of them."""

    image: Path
    colours: Path
    train_ids: Path
    label_ids: Path | None = None

    @property
    def paths(self) -> list[Path]:
        return [path for path in (self.image, self.colours, self.train_ids, self.label_ids) if path]


def _bdd100k(root: Path, item: Item) -> _Files:
    labels = root / "labels" / "sem_seg"
    return _Files(
        image=root / "images" / "10k" / item.split / f"{item.name}.jpg",
        colours=labels / "colormaps" / item.split / f"{item.name}.png",
        train_ids=labels / "masks" / item.split / f"{item.name}.png",
    )


def _cityscapes(root: Path, item: Item) -> _Files:
    # An appearance is a city: pictures of one city are taken under one light.
    city = f"appearance{item.appearance:06d}"
    fine = root / "gtFine" / item.split / city
    return _Files(
        image=root / "leftImg8bit" / item.split / city / f"{item.name}_leftImg8bit.png",
        colours=fine / f"{item.name}_gtFine_color.png",
        train_ids=fine / f"{item.name}_gtFine_labelTrainIds.png",
        label_ids=fine / f"{item.name}_gtFine_labelIds.png",
    )


def _write_scene(files: _Files, drawn: Scene) -> None:
    palette = Palette.load(PALETTE)
    colours = np.zeros((256, 3), np.uint8)
    colours[list(palette.ids)] = palette.colours
    write_picture(Image.fromarray(drawn.image), files.image)
    write_picture(Image.fromarray(colours[drawn.ids]), files.colours)
    write_picture(Image.fromarray(drawn.ids), files.train_ids)
    if files.label_ids:
        full = Palette.load("cityscapes34")
        numbers = np.zeros(256, np.uint8)
        numbers[list(palette.ids)] = [full.id_of(name) for name in palette.names]
        write_picture(Image.fromarray(numbers[drawn.ids]), files.label_ids)


def _claim(root: Path, record: dict[str, object]) -> None:
    """Note what a folder's scenes have in common, or check that it holds just such scenes."""
    path = root / RECORD
    found = _read_json(path)
    if not found:
        root.mkdir(parents=True, exist_ok=True)
        _write_json(path, record)
    elif found != record:
        raise ValueError(
            f"write_folder: {root} holds other scenes: {path.name} says {found}, asked for were {record}; "
            "choose another folder, or ask for the same"
        )


def _read_json(path: Path) -> dict[str, object]:
    """What a file holds, nothing if there is none."""
    if not path.is_file():
        return {}
    found = read_json(path, f"write_folder: {path}")
    if not isinstance(found, dict):
        raise ValueError(f"write_folder: {path}: expected a JSON object, got {type(found).__name__}; remove it")
    return found


def _write_json(path: Path, value: dict[str, object]) -> None:
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())
