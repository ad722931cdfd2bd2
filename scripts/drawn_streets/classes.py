"""Colours and ids of classes by Cityscapes' names, in any palette."""

from __future__ import annotations

import json
from pathlib import Path

from .looks import Colour

PALETTES = Path(__file__).resolve().parents[2] / "amadapter_core" / "palettes"
# The segmentation ControlNets for SD1.5 know ADE20K's colours, networks for driving scenes those of Cityscapes.
SAME_IN_ADE20K = {"vegetation": "tree", "terrain": "grass", "pole": "streetlight", "traffic sign": "signboard"}


def class_colours(palette: str) -> dict[str, Colour]:
    """Return the colours of a palette by Cityscapes' class names."""
    return {name: tuple(entry["colour"]) for name, entry in class_entries(palette).items()}


def class_ids(palette: str) -> dict[str, int]:
    """Return the ids of a palette by Cityscapes' class names."""
    return {name: entry["id"] for name, entry in class_entries(palette).items()}


def class_entries(palette: str) -> dict[str, dict]:
    listed = json.loads((PALETTES / f"{palette}.json").read_text(encoding="utf-8"))["classes"]
    entries = {entry["name"]: entry for entry in listed}
    return entries | {ours: entries[theirs] for ours, theirs in SAME_IN_ADE20K.items() if theirs in entries}
