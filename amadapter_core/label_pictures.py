"""Label maps from picture files, which may hold colours or ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .label_maps import LabelMap, Palette
from .picture_files import open_picture

READINGS = ("auto", "colours", "ids")


def read_label_picture(
    path: str | Path,
    palette: Palette,
    *,
    reading: str = "auto",
    unknown: str = "error",
    tolerance: float = 0,
    offset: int = 0,
    void: Sequence[int] = (),
) -> LabelMap:
    """Read a picture file.

    :param reading: "colours", "ids" (grey pictures saved as RGB included), or "auto" to take what `holds_ids` finds.
    :param unknown: "error", "nearest" or "ignore"; ids have no nearest class, so there "nearest" is "error".
    :param tolerance: for colours, see `LabelMap.from_colours`.
    :param offset: for ids, see `LabelMap.from_ids`; likewise `void`.
    :raises ValueError: no picture, or one that does not hold what was asked for.
    """
    if reading not in READINGS:
        raise ValueError(f"read_label_picture: reading must be one of {', '.join(READINGS)}, got {reading!r}")
    try:
        picture = open_picture(path)
    except ValueError as error:
        raise ValueError(f"read_label_picture: {error}") from error
    try:
        if reading == "ids" or (reading == "auto" and holds_ids(picture, palette, offset=offset, void=void)):
            unknown = "error" if unknown == "nearest" else unknown
            return LabelMap.from_ids(_one_channel(picture), palette, unknown=unknown, offset=offset, void=void)
        return LabelMap.from_colours(picture, palette, unknown=unknown, tolerance=tolerance)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def holds_ids(picture: Image.Image, palette: Palette, *, offset: int = 0, void: Sequence[int] = ()) -> bool:
    """Whether a picture's values are label ids rather than colours.

    One channel holds ids, three hold colours. A picture with a colour table can be either: tools that make PNG files
    smaller number the colours as they come, and such indices look like ids. It holds ids when the table colours them
    as the palette does, or shows a colour that the palette does not have.
    """
    if picture.mode != "P":
        return picture.mode not in ("RGB", "RGBA")
    table = picture.getpalette() or []
    shown = {index: tuple(table[3 * index : 3 * index + 3]) for _, index in picture.getcolors(256)}
    colours = dict(zip(palette.ids, palette.colours, strict=True))
    if palette.ignore is not None:
        colours.setdefault(palette.ignore, palette.ignore_colour or (0, 0, 0))
    ids = {index: palette.ignore if index in void else index + offset for index in shown}
    if all(colours.get(ids[index]) == colour for index, colour in shown.items()):
        return True
    return not set(shown.values()) <= set(colours.values())


def _one_channel(picture: Image.Image) -> Image.Image:
    """A grey picture saved as RGB by its first channel; any other picture as it is."""
    if picture.mode not in ("RGB", "RGBA"):
        return picture
    red, green, blue = picture.split()[:3]
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else picture
