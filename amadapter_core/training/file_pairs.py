"""Pairs in files: plain folders, BDD100K and Cityscapes as unpacked.

What is wrong with a data set is said when it is opened, or when the file at fault is read, with its name: pictures
without a label map, an empty folder, ids that the class table does not have, sizes that differ.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..label_maps import LabelMap, Palette
from .config import Data
from .pairs import Example, Pairs

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
NEIGHBOURS = 10
"""Cityscapes' pictures of one city come in the order they were taken; so many in a row count as one appearance."""


class Files(Pairs):
    """Pictures and label maps in files.

    :param files: picture, label map and group of each; a group shares its appearance, None belongs to no group.
    :param captions: by the picture's name without its ending.
    :param translate: ids as they stand in the files to the palette's.
    """

    def __init__(
        self,
        data: Data,
        files: Sequence[tuple[Path, Path, str | None]],
        captions: dict[str, str] | None = None,
        translate: dict[int, int] | None = None,
    ):
        self.data = data
        self.palette = Palette.load(data.palette)
        self.files = list(files[: data.limit])
        self.captions = captions or {}
        self.translate = translate
        self._groups: dict[str, list[int]] = defaultdict(list)
        for index, (_, _, group) in enumerate(self.files):
            if group is not None:
                self._groups[group].append(index)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        picture, labels, _ = self.files[index]
        with Image.open(picture) as opened:
            image = np.array(opened.convert("RGB"))
        ids = self._ids(labels)
        if ids.shape != image.shape[:2]:
            raise ValueError(
                f"training data: {picture} is {image.shape[0]} x {image.shape[1]} and its label map {labels} "
                f"{ids.shape[0]} x {ids.shape[1]} (height x width); make both one size, the map without interpolation"
            )
        return Example(image, ids, str(picture), self.captions.get(picture.stem, self.data.caption))

    def _ids(self, path: Path) -> np.ndarray:
        try:
            with Image.open(path) as opened:
                if self.data.labels == "colours":
                    labels = LabelMap.from_colours(opened, self.palette)
                elif self.translate is None:
                    labels = LabelMap.from_ids(opened, self.palette)
                else:
                    # What the class table leaves out belongs to no class.
                    table = np.full(256, self.palette.ignore)
                    table[list(self.translate)] = list(self.translate.values())
                    labels = LabelMap.from_ids(table[np.array(opened)], self.palette)
        except ValueError as error:
            raise ValueError(f"training data: {path}: {error}") from error
        ids = labels.ids[0].numpy()
        return ids.astype(np.uint8) if 0 <= ids.min() and ids.max() < 256 else ids.astype(np.int32)

    def partners(self, index: int) -> Sequence[int]:
        group = self.files[index][2]
        return [] if group is None else [i for i in self._groups[group] if i != index]

    def describe(self) -> dict[str, Any]:
        stamps = [[str(p), p.stat().st_mtime_ns, p.stat().st_size] for pair in self.files for p in pair[:2]]
        return {"kind": self.data.kind, "palette": self.palette.to_dict(), "labels": self.data.labels, "files": stamps}


def open_folder(data: Data, root: Path) -> Files:
    """`images/` and `labels/` with the same names inside; files of one sub-folder share their appearance."""
    pictures, labels = root / "images", _by_stem(root / "labels")
    found = []
    for picture in _pictures(pictures):
        place = picture.relative_to(pictures)
        group = str(place.parent) if place.parent.name else None
        found.append((picture, labels.get(str(place.with_suffix(""))), group))
    return Files(data, _complete(found, pictures, root / "labels"), _captions(root))


def open_bdd100k(data: Data, root: Path) -> Files:
    """BDD100K as unpacked: the 10k pictures and the masks of semantic segmentation."""
    pictures, masks = root / "images" / "10k" / data.split, root / "labels" / "sem_seg" / "masks" / data.split
    labels = _by_stem(masks)
    found = [(picture, labels.get(picture.stem), None) for picture in _pictures(pictures)]
    return Files(data, _complete(found, pictures, masks), _captions(root))


def open_cityscapes(data: Data, root: Path) -> Files:
    """Cityscapes as unpacked: leftImg8bit and gtFine, with train ids where they were made, else with label ids."""
    pictures, fine = root / "leftImg8bit" / data.split, root / "gtFine" / data.split
    labels = _by_stem(fine)
    train_ids = any(name.endswith("_labelTrainIds") for name in labels)
    ending = "labelTrainIds" if train_ids else "labelIds"
    found, taken = [], defaultdict(int)
    for picture in _pictures(pictures):
        city = picture.parent.name
        name = picture.stem.removesuffix("_leftImg8bit")
        group = f"{city} {taken[city] // NEIGHBOURS}"
        taken[city] += 1
        found.append((picture, labels.get(f"{city}/{name}_gtFine_{ending}"), group))
    own, full = Palette.load(data.palette), Palette.load("cityscapes34")
    translate = None
    if not train_ids and own.name != full.name:
        translate = {full.id_of(name): own.id_of(name) for name in own.names if name in full.names}
    return Files(data, _complete(found, pictures, fine), _captions(root), translate)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"training data: no folder {folder.absolute()}; it should hold the pictures")
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PICTURES)
    if not found:
        raise ValueError(f"training data: no picture in {folder.absolute()}; expected {', '.join(PICTURES)}")
    return found


def _by_stem(folder: Path) -> dict[str, Path]:
    """Label maps by their place in the folder, without the ending."""
    if not folder.is_dir():
        raise FileNotFoundError(f"training data: no folder {folder.absolute()}; it should hold the label maps")
    return {
        str(file.relative_to(folder).with_suffix("")): file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in (".png", ".bmp", ".webp")
    }


def _complete(found: list[tuple[Path, Path | None, str | None]], pictures: Path, labels: Path) -> list[Any]:
    alone = [picture.name for picture, label, _ in found if label is None]
    if alone:
        raise ValueError(
            f"training data: {len(alone)} of {len(found)} pictures in {pictures} have no label map of their name in "
            f"{labels}: {', '.join(alone[:5])}{' ...' if len(alone) > 5 else ''}; add them, or remove the pictures"
        )
    return found


def _captions(root: Path) -> dict[str, str]:
    """`captions.json`, where there is one: prompts by the picture's name without its ending."""
    path = root / "captions.json"
    if not path.is_file():
        return {}
    captions = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(captions, dict) or not all(isinstance(text, str) for text in captions.values()):
        raise ValueError(f"training data: {path} should map names of pictures, without their ending, to prompts")
    return captions
