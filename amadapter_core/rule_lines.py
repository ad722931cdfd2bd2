"""Rules about classes as people write them, one per line, taken apart: `target @layers operator value  # comment`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .class_names import names_in
from .limits import RULES_CHARACTERS, check_limit

EVERY_OTHER = "*"
NOTHING = "none"
LAYERS = ("down", "mid", "up", "0", "1", "2", "3")
"""Blocks of the UNet, and how often the latent is halved at a layer."""


@dataclass(frozen=True)
class Line:
    """A line of rules, taken apart.

    :param text: without comment; `number` counts from 1; `forms` is what was expected.
    :param layers: behind the @, see `ClassRule`.
    """

    text: str
    number: int
    forms: str
    target: str = ""
    layers: tuple[str, ...] = ()
    operator: str = ""
    value: str = ""

    def wrong(self, why: str) -> ValueError:
        """The error that names the line and the forms it may have, to be raised."""
        return ValueError(f"rules: line {self.number}, {self.text!r}: {why}; expected {self.forms}")


def lines_of(text: str, operators: Sequence[str], forms: str, known_layers: Sequence[str] = LAYERS) -> Iterator[Line]:
    """Take rules apart, `target @layers operator value` each.

    :param forms: the rules there are, for messages.
    :param known_layers: names of the layers that there are.
    :raises ValueError: a line that is no rule: its number, its text and what was expected.
    """
    check_limit("rules: the text", len(text), RULES_CHARACTERS, "characters", "write fewer rules")
    operator = "|".join(map(re.escape, operators))
    for number, commented in enumerate(text.splitlines(), 1):
        line = Line(commented.partition("#")[0].strip(), number, forms)
        if not line.text:
            continue
        pieces = [piece.strip() for piece in re.split(f"({operator})", line.text)]
        if len(pieces) != 3 or not pieces[0] or not pieces[2]:
            raise line.wrong("this is no rule")
        target, at, where = (piece.strip() for piece in pieces[0].partition("@"))
        layers = tuple(name.casefold() for name in names_in(where))
        if not target or (at and not layers) or not set(layers) <= set(known_layers):
            raise line.wrong(f"{where!r} names no layers; there are {', '.join(known_layers) or 'none'}")
        yield replace(line, target=target, layers=layers, operator=pieces[1], value=pieces[2])
