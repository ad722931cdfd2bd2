"""The inputs that the nodes of label maps have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence

from comfy_api.v0_0_2 import io

from ..amadapter_core.class_names import names_in
from ..amadapter_core.hosts.comfy.folders import load_palette, palettes

CATEGORY = "AM-Adapter/label maps"
LABELS_TOOLTIP = "The label map: which class every pixel belongs to, with the palette's names and colours."


def palette_input() -> io.Combo.Input:
    """The table of classes. Built-in palettes and the user's own."""
    return io.Combo.Input(
        "palette",
        options=palettes(),
        default="cityscapes19",
        tooltip="The table of class names, ids and colours that the label map follows. Own tables are JSON files in "
        "models/am_adapter/palettes.",
    )


def unknown_input(kind: str, options: Sequence[str]) -> io.Combo.Input:
    """What becomes of colours or ids that the palette lacks."""
    meanings = {
        "error": "error stops and says which they are",
        "nearest": "nearest takes the class with the nearest colour",
        "ignore": "ignore leaves those pixels out",
    }
    return io.Combo.Input(
        "unknown",
        options=list(options),
        default="error",
        tooltip=f"What to do with {kind} that the palette does not have: "
        f"{'; '.join(meanings[option] for option in options)}.",
    )


def tolerance_input() -> io.Float.Input:
    """How far a colour may lie from the palette's."""
    return io.Float.Input(
        "tolerance",
        default=0.0,
        min=0.0,
        max=441.0,
        step=1.0,
        tooltip="How far a colour may lie from the palette's and still count as it, in steps of 0..255 (distance of "
        "red, green and blue together). 0 takes exact colours only; 10 to 30 mends JPEG files.",
    )


def offset_input() -> io.Int.Input:
    """Where the ids of the picture begin."""
    return io.Int.Input(
        "offset",
        default=0,
        min=-65535,
        max=65535,
        advanced=True,
        tooltip="Added to the ids of the picture, where its numbering starts elsewhere than the palette's. ADE20K and "
        "COCO-Stuff files that start at 0 need 1. Not used for colours.",
    )


def void_input() -> io.String.Input:
    """Ids that mean no class."""
    return io.String.Input(
        "void",
        default="",
        advanced=True,
        tooltip="Ids of the picture that mean unlabelled, separated by commas, before the offset is added: 255. Not "
        "used for colours.",
    )


def palette_state(name: str | None) -> str:
    """What changes when a user edits a palette file."""
    return "" if name is None else json.dumps(load_palette(name).to_dict())


def numbers_in(text: str) -> list[int]:
    """Read whole numbers separated by commas.

    :raises ValueError: when the text is something else.
    """
    try:
        return [int(number) for number in names_in(text)]
    except ValueError:
        raise ValueError(f'void is {text!r}, expected whole numbers separated by commas, such as "0, 255"') from None
