"""Classes as people write them: names in any case, or ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .palettes import Palette


def names_in(text: str) -> list[str]:
    """Take apart a list of classes, one per line or separated by commas."""
    return [name.strip() for name in re.split(r"[,\n]", text) if name.strip()]


def class_id(text: str, palette: Palette, present: Callable[[], Sequence[str]] | None = None) -> int:
    """Return the id of a class.

    :param text: its name, in any case, or its id; a class that is named like a number goes by its name.
    :param present: asked for the names to list when there is no such class; default: all of the palette.
    :raises ValueError: no such class, or several that differ in case only.
    """
    if text in palette.names:
        return palette.id_of(text)
    alike = [name for name in palette.names if name.casefold() == text.casefold()]
    if len(alike) == 1:
        return palette.id_of(alike[0])
    if re.fullmatch(r"-?[0-9]+", text):
        return palette.id_of(int(text))
    listed = "it has" if present is None else "present in the label map:"
    raise ValueError(
        f"palette {palette.name!r} has no class {text!r}; {listed} "
        f"{', '.join(palette.names if present is None else present()) or 'none'}"
    )


def plain_name(name: str) -> str:
    """A class name without what tables spell differently: the first of several synonyms, small, words by spaces."""
    return " ".join(re.split(r"[\s_-]+", re.split(r"[,;/]", name)[0].strip().casefold()))
