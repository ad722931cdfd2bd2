"""Pictures in folders, matched by the stem of their file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from ..picture_files import open_picture

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
TEXTS = (".txt",)


@dataclass(frozen=True)
class Matched:
    """What was found.

    :param items: by stem, in alphabetical order, the file of each role.
    :param missing: by role, the stems that other folders have and its own lacks.
    """

    items: dict[str, dict[str, Path]]
    missing: dict[str, list[str]]

    def complaints(self) -> list[str]:
        """One line per role with gaps."""
        return [f"{role}: {len(stems)} missing: {_some(stems)}" for role, stems in self.missing.items() if stems]


def match(places: Mapping[str, Path]) -> Matched:
    """Find the items that every place has.

    :param places: by role, a folder, or one file that serves every item.
    :raises FileNotFoundError: a place that is not there or holds no file of its kind.
    :raises ValueError: two files of one stem in a folder, or no item that all have.
    """
    files = {role: _files(role, Path(place).expanduser()) for role, place in places.items()}
    folders = {role: found for role, found in files.items() if isinstance(found, dict)}
    if not folders:
        raise ValueError(f"metrics: {', '.join(map(str, places.values()))} are files; give at least one folder")
    every = sorted(set().union(*folders.values()))
    missing = {role: [stem for stem in every if stem not in found] for role, found in folders.items()}
    common = [stem for stem in every if all(stem in found for found in folders.values())]
    if not common:
        listed = "; ".join(f"{role} {places[role]}: {_some(sorted(found))}" for role, found in folders.items())
        raise ValueError(f"metrics: no file name (without its ending) is in every folder: {listed}")
    items = {
        stem: {role: found[stem] if isinstance(found, dict) else found for role, found in files.items()}
        for stem in common
    }
    return Matched(items, missing)


def read_picture(path: Path) -> Tensor:
    """Read a picture as [1, 3, H, W] float 0..1, turned as its camera says; transparency is left out.

    :raises ValueError: not a picture.
    """
    try:
        picture = ImageOps.exif_transpose(open_picture(path)).convert("RGB")
    except ValueError as error:
        raise ValueError(f"metrics: {error}") from error
    return torch.from_numpy(np.array(picture)).movedim(-1, 0)[None].float() / 255


def _files(role: str, place: Path) -> dict[str, Path] | Path:
    if place.is_file():
        return place
    if not place.is_dir():
        raise FileNotFoundError(f"metrics: {role}: no folder {place.absolute()}")
    endings = TEXTS if role == "prompts" else PICTURES
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(
                f"metrics: {role}: {found[path.stem].name} and {path.name} in {place} have the same name; which of "
                "them is meant is not certain, move one away"
            )
        found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"metrics: {role}: no file ending in {', '.join(endings)} in {place.absolute()}")
    return found


def _some(stems: list[str], count: int = 5) -> str:
    return ", ".join(stems[:count]) + (f" and {len(stems) - count} more" if len(stems) > count else "")
