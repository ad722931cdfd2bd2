"""Finding files in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..text_files import read_json

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAPS = (".png", ".bmp", ".webp")
"""Files without loss, or that can be."""


def pictures_in(folder: str | Path) -> list[Path]:
    """All pictures in a folder and below it, in the order of their places.

    :raises FileNotFoundError: no such folder.
    :raises ValueError: no picture in it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"data set: no folder {folder.absolute()}; it should hold the pictures")
    found = files_in(folder, PICTURES)
    if not found:
        raise ValueError(f"data set: no picture in {folder.absolute()}; expected {', '.join(PICTURES)}")
    return [folder / place for place in found]


def maps_in(folder: Path) -> dict[str, Path]:
    """Label maps in a folder and below it, by their place there without the ending, "/" between folders.

    :raises FileNotFoundError: no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"data set: no folder {folder.absolute()}; it should hold the label maps")
    return {stem(place): folder / place for place in files_in(folder, MAPS)}


def files_in(folder: Path, endings: Sequence[str]) -> list[str]:
    """Places of files in a folder and below it; hidden ones, which some systems leave beside every file, are not."""
    found = []
    for path, _, names in os.walk(folder, followlinks=True):
        inside = os.path.relpath(path, folder)
        for name in names:
            if not name.startswith(".") and name.lower().endswith(tuple(endings)):
                found.append(os.path.normpath(os.path.join(inside, name)))
    return sorted(found, key=lambda place: place.split(os.sep))


def stem(place: str) -> str:
    """A place without its ending, "/" between folders."""
    return os.path.splitext(place)[0].replace(os.sep, "/")


def captions_in(root: Path) -> dict[str, str]:
    """`captions.json`, where there is one: prompts by the picture's name without its ending.

    :raises ValueError: something else in it.
    """
    path = root / "captions.json"
    if not path.is_file():
        return {}
    captions = read_json(path, f"data set: {path}")
    if not isinstance(captions, dict) or not all(isinstance(text, str) for text in captions.values()):
        raise ValueError(f"data set: {path} should map names of pictures, without their ending, to prompts")
    return captions
