"""A palette for the class table of a segmentation network, which has no colours."""

from __future__ import annotations

from collections.abc import Mapping

from .class_names import plain_name
from .palettes import Colour, Palette

IGNORE = 255
KNOWN_SHARE = 0.75
"""Share of a network's classes that a built-in palette must have for its colours to be used."""


def palette_of(classes: Mapping[int, str], name: str, ignore: int = IGNORE) -> Palette:
    """Make a palette of a network's classes.

    The network's ids stay. Of several synonyms the first names the class, since class lists are written with commas;
    where two classes would have one name, their ids are added. Colours are those of the built-in palette that has most
    of the classes, so that ADE20K looks as ADE20K does; the others get colours that nothing else has.

    :param classes: name of each class by its id.
    :param name: of the palette.
    :param ignore: id of pixels of no class, if no class has it.
    """
    first = {label: text.split(",")[0].strip() or str(label) for label, text in classes.items()}
    taken = [text for text in first.values()]
    names = {label: text if taken.count(text) == 1 else f"{text} ({label})" for label, text in first.items()}
    known = _known_colours(list(first.values()))
    colours: dict[int, Colour] = {}
    used = set(known.values())
    spare = (colour for colour in map(voc_colour, range(1, 1 << 24)) if colour not in used)
    for label, text in first.items():
        colours[label] = known.get(plain_name(text)) or next(spare)
    return Palette(
        name=name,
        source="the class table of the network",
        names=tuple(names.values()),
        ids=tuple(names),
        colours=tuple(colours.values()),
        ignore=None if ignore in names else ignore,
        ignore_colour=None,
    )


def voc_colour(number: int) -> Colour:
    """The colour of a number in PASCAL VOC's map: its bits spread over the channels, from the highest on."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return (channels[0], channels[1], channels[2])


def _known_colours(names: list[str]) -> dict[str, Colour]:
    """Colours by plain name, of the built-in palette that has most of the names; none where no palette has enough."""
    tables = []
    for palette in map(Palette.load, Palette.builtin_names()):
        colours: dict[str, Colour] = {}
        for name, colour in zip(palette.names, palette.colours, strict=True):
            colours.setdefault(plain_name(name), colour)
        share = sum(plain_name(name) in colours for name in names) / len(names)
        tables.append((share, colours))
    share, colours = max(tables, key=lambda table: table[0])
    return colours if share >= KNOWN_SHARE else {}
