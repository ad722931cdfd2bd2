"""Tables from one palette to another as ComfyUI's user sees them: built in, by names, or files of their own."""

from __future__ import annotations

from pathlib import Path

from ...mappings import load_mapping, shipped_mapping
from ...palettes import Palette
from ...remapping import Remapping
from ...text_files import read_text
from . import folders

MAPPINGS = "mappings"
"""Folder in `models/am_adapter`."""
BUILT_IN, BY_NAME = "built-in", "class names"


def mappings() -> list[str]:
    """Names that `load` takes."""
    found = {path.name for folder in folders.folders() for path in (folder / MAPPINGS).glob("*.json")}
    return [BUILT_IN, BY_NAME, *sorted(found)]


def load(name: str, source: Palette, target: Palette) -> Remapping:
    """:raises FileNotFoundError: with the folders searched.
    :raises ValueError: no table between these palettes.
    """
    if name == BUILT_IN:
        return shipped_mapping(source, target)
    if name == BY_NAME:
        return Remapping.by_name(source, target)
    return load_mapping(find(name), source, target)


def find(name: str) -> Path:
    """:raises FileNotFoundError: with the folders searched."""
    searched = [folder / MAPPINGS for folder in folders.folders()]
    for folder in searched:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no table {name!r}: searched {', '.join(map(str, searched))}; choose another")


def state(name: str | None) -> str:
    """What changes when a user edits a table."""
    if name in (None, BUILT_IN, BY_NAME):
        return ""
    try:
        return read_text(find(name))
    except (FileNotFoundError, ValueError):
        return ""
